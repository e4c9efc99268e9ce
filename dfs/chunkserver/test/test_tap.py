"""What ``twistd dfs-chunk`` is given, and what it refuses."""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.config import TABLE
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.tap import Options, check_port, check_start, config_of
from dfs.disk.errors import NotFound
from dfs.disk.real import RealDisk
from dfs.protocol.errors import Forbidden
from dfs.protocol.trust import write_key_file
from dfs.runtime.errors import SettingError

KEY = b"k" * 32


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = RealDisk()
        self.folder = os.path.abspath(self.mktemp())
        self.disk.make_folders(self.folder)
        write_key_file(self.disk, f"{self.folder}/cluster.key", KEY)
        names = ("config", "key-file", "rack", *(setting.flag.removeprefix("--") for setting in TABLE))
        self.flags: dict[str, Any] = dict.fromkeys(names)
        self.flags |= {
            "data": f"{self.folder}/data",
            "listen": "tcp:7100",
            "advertise": "127.0.0.1:7100",
            "node-id": "chunk-1",
        }

    def config(self, environment: dict[str, str] | None = None, **flags: str) -> tuple[Any, str]:
        given = {name.replace("_", "-"): value for name, value in flags.items()}
        return config_of(self.flags | given, environment or {}, self.disk)

    def test_order_of_places(self) -> None:
        """A flag wins over the environment, that over the file, that over the default; the key lies beside the data."""
        file = self.disk.open(f"{self.folder}/dfs.toml", create=True)
        file.pwrite([b'meta = "h:1"\ndurability = "none"\nrepair_streams = 7\n'], 0)
        file.close()
        config, log_format = self.config({"DFS_REPAIR_STREAMS": "5"}, config=f"{self.folder}/dfs.toml", meta="h:2,h:3")
        self.assertEqual((config.meta, config.durable, config.copies, config.key), (("h:2", "h:3"), False, 5, KEY))
        self.assertEqual(log_format, "text")

    def test_refusals(self) -> None:
        """What cannot be used is refused with a sentence that names it."""
        self.assertIn("--meta", str(self.assertRaises(SettingError, self.config)))
        self.assertRaises(SettingError, self.config, meta="nonsense")
        self.assertRaises(SettingError, self.config, meta="h:1", advertise="here")
        self.assertRaises(SettingError, self.config, meta="h:1", node_id="a/b")
        self.assertRaises(NotFound, self.config, meta="h:1", key_file=f"{self.folder}/none")
        self.assertRaises(NotFound, self.config, meta="h:1", config=f"{self.folder}/none")
        file = self.disk.open(f"{self.folder}/bad.key", create=True)
        file.pwrite([b"short"], 0)
        file.close()
        self.assertRaises(Forbidden, self.config, meta="h:1", key_file=f"{self.folder}/bad.key")

    def test_missing_options(self) -> None:
        """twistd itself tells of a missing option."""
        self.assertRaises(usage.UsageError, Options().parseOptions, ["--data", self.folder])

    def test_check_start(self) -> None:
        """The check before the start refuses a folder in use, and gives a good one back."""
        config, _ = self.config(meta="h:1")
        reactor = MemoryReactor()
        check_start(config, reactor, self.disk)
        lock = self.disk.lock(f"{config.data}/lock")
        self.assertRaises(RefusedStart, check_start, config, reactor, self.disk)
        lock.release()

    def test_check_port(self) -> None:
        """A port that is taken and an endpoint that is none are refused."""
        from twisted.internet import reactor

        real: Any = reactor
        port = real.listenTCP(0, Factory(), interface="127.0.0.1")
        listen = f"tcp:{port.getHost().port}:interface=127.0.0.1"
        self.assertIn("in use", str(self.assertRaises(RefusedStart, check_port, listen, real)))
        port.stopListening()
        self.assertRaises(RefusedStart, check_port, "nonsense", real)


class PluginTests(SynchronousTestCase):
    def test_twistd_knows_it(self) -> None:
        """The plugin is found and loads."""
        (maker,) = [one for one in getPlugins(IServiceMaker) if one.tapname == "dfs-chunk"]
        self.assertIs(maker.options, Options)
