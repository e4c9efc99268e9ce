"""The command line of twistd dfs-meta: what is refused before anything runs."""

from __future__ import annotations

import os
import socket

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.real import RealDisk
from dfs.metaserver.options import Options, Times, parse_peers
from dfs.protocol.trust import write_key_file
from dfs.runtime.errors import SettingError


class OptionsTests(SynchronousTestCase):
    """On real files and a real port, as the user meets it."""

    def setUp(self) -> None:
        self.patch(os, "environ", {name: text for name, text in os.environ.items() if not name.startswith("DFS_")})
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.key = f"{self.folder}/key"
        write_key_file(RealDisk(), self.key, bytes(range(32)))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def arguments(self, **changed: str | None) -> list[str]:
        values: dict[str, str | None] = {
            "data": f"{self.folder}/data",
            "listen": f"tcp:{self.port}:interface=127.0.0.1",
            "node-id": "meta-1",
            "peers": f"meta-1=127.0.0.1:{self.port}",
            "key-file": self.key,
        }
        values |= {name.replace("_", "-"): value for name, value in changed.items()}
        return [f"--{name}={value}" for name, value in values.items() if value is not None]

    def parse(self, **changed: str | None) -> Options:
        options = Options()
        options.parseOptions(self.arguments(**changed))
        return options

    def refusal(self, **changed: str | None) -> str:
        refused = self.assertRaises(SystemExit, self.parse, **changed)
        sentence = str(refused.code)
        self.assertTrue(sentence.startswith("dfs-meta: "), sentence)
        self.assertNotIn("\n", sentence)
        return sentence

    def test_good(self) -> None:
        """Flags, settings and defaults become one configuration."""
        config = self.parse(dead_after="5", suspect_after="2")["meta_config"]
        self.assertEqual((config.node, config.dead_after, config.heartbeat_interval), ("meta-1", 5.0, 1.0))
        self.assertEqual((config.folder, config.cluster_key), (f"{self.folder}/data", bytes(range(32))))

    def test_dead_after_alone(self) -> None:
        """Setting DFS_DEAD_AFTER alone is enough: the other times give way to it, and only then."""
        config = self.parse(dead_after="5")["meta_config"]
        self.assertEqual((config.dead_after, config.suspect_after, config.heartbeat_interval), (5.0, 2.5, 1.25))
        self.assertEqual(Times(3.0, 10.0, 30.0).effective(), Times(3.0, 10.0, 30.0))
        self.assertEqual(Times(3.0, 10.0, 10.0).effective(), Times(2.5, 5.0, 10.0))
        self.assertEqual(Times(20.0, 29.0, 30.0).effective(), Times(10.0, 29.0, 30.0))

    def test_refusals(self) -> None:
        """Each mistake is one sentence that names what to change, and exit code 1."""
        for words, changed in (
            ("--data is needed", {"data": None}),
            ("--key-file", {"key_file": "/nonexistent/key"}),
            ("none of --peers", {"node_id": "meta-7"}),
            ("1, 3 or 5", {"peers": f"meta-1=127.0.0.1:{self.port},meta-2=h:1"}),
            ("host:port", {"peers": "meta-1=nowhere"}),
            ("Unknown endpoint", {"listen": "nonsense:1"}),
            ("is not a duration", {"dead_after": "soon"}),
            ("--advertise", {"advertise": "127.0.0.1:1"}),
            ("cannot be read", {"config": "/nonexistent/file"}),
            ("not recognized", {"dat_a": "x"}),
        ):
            self.assertIn(words, self.refusal(**changed))

    def test_join(self) -> None:
        """One that joins says where it is reached and who is there already: as many as there are, itself or not; it
        founds nothing (S28)."""
        options = Options()
        there = self.arguments(peers="meta-1=h:1,meta-2=h:2", node_id="meta-4", advertise=f"127.0.0.1:{self.port}")
        options.parseOptions([*there, "--join"])
        config = options["meta_config"]
        self.assertEqual((config.join, config.address), (True, f"127.0.0.1:{self.port}"))
        self.assertEqual(config.raft().founding_payload(), b"")
        for missing, arguments in (
            ("--advertise is needed", self.arguments(peers="meta-1=h:1", node_id="meta-4")),
            ("names nobody", self.arguments(peers=",", node_id="meta-4", advertise="h:4")),
            ("is not the address of meta-1", self.arguments(peers="meta-1=h:1", advertise="h:4")),
        ):
            refused = self.assertRaises(SystemExit, Options().parseOptions, [*arguments, "--join"])
            self.assertIn(missing, str(refused.code))

    def test_busy_port(self) -> None:
        """A port in use is found before the process goes to the background."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen(1)
            self.assertIn("cannot listen", self.refusal())

    def test_folder_in_use(self) -> None:
        """S19: a second process on one folder is refused before it goes to the background."""
        os.makedirs(f"{self.folder}/data")
        lock = RealDisk().lock(f"{self.folder}/data/LOCK")
        self.addCleanup(lock.release)
        self.assertIn("in use by another process", self.refusal())

    def test_not_a_key(self) -> None:
        """A key file without a key is refused with what to do."""
        with open(self.key, "w", encoding="ascii") as file:
            file.write("no key\n")
        self.assertIn("holds no cluster key", self.refusal())

    def test_peers(self) -> None:
        """Members are named once and at different addresses."""
        self.assertEqual(list(parse_peers("a=h:1,b=h:2,c=h:3")), ["a", "b", "c"])
        for text in ("a=h:1,a=h:2,b=h:3", "a=h:1,b=h:1,c=h:3", "a", ""):
            self.assertRaises(SettingError, parse_peers, text)

    def test_plugin(self) -> None:
        """twistd finds dfs-meta: a plugin that fails to import merely vanishes."""
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "dfs-meta"]
        self.assertEqual(len(makers), 1)
        self.assertIs(makers[0].options, Options)
