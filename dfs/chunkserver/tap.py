"""``twistd dfs-chunk``: options, the checks before the start, the service.

What can be checked before twistd goes to the background is checked here, so that a refused
start prints one sentence and exits 1 with and without ``-n``: settings, key, folder and its
lock, port.  The service checks again when it starts.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from dfs.chunkserver.config import TABLE, ChunkServerConfig, shared_settings
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import open_folder
from dfs.chunkserver.node import ChunkServer
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.protocol.errors import DFSError
from dfs.protocol.limits import MAX_NODE_NAME
from dfs.protocol.trust import read_key_file
from dfs.protocol.values import cluster_id_of
from dfs.runtime.clock import install_monotonic
from dfs.runtime.dial import parse_address
from dfs.runtime.errors import SettingError
from dfs.runtime.exiting import end_process
from dfs.runtime.garbage import spare_garbage_collector
from dfs.runtime.logging import log_json
from dfs.runtime.options import DURABILITY, LOG_FORMAT, META, QUARANTINE, REPAIR_STREAMS, SCRUB_PERIOD, SEGMENTS
from dfs.runtime.real import real_runtime

MAX_FILE = 1 << 20


class Options(usage.Options):
    """The command line of ``twistd dfs-chunk``."""

    synopsis = "[options]"
    longdesc = "A chunk server: stores replicas of chunks in one folder and serves them."
    optParameters = [
        ["data", None, None, "Folder of the replicas; made if it is missing."],
        ["listen", None, None, "Endpoint to listen on, as in tcp:7100:interface=127.0.0.1."],
        ["advertise", None, None, "host:port by which others reach this server."],
        ["node-id", None, None, "Name of this node, as in chunk-1; it stays with the folder."],
        ["rack", None, "", "Rack of this server, for placement."],
        ["key-file", None, None, "The cluster's key file; DFS_KEY_FILE, or cluster.key beside the data folder."],
        ["config", None, None, "TOML file of settings."],
        *[[setting.flag.removeprefix("--"), None, None, setting.help] for setting in TABLE],
    ]

    def postOptions(self) -> None:
        """Refuse what is missing, and choose the log's format while twistd still listens."""
        for name in ("data", "listen", "advertise", "node-id"):
            if not self[name]:
                raise usage.UsageError(f"--{name} is missing")
        try:
            self.config, log_format = config_of(self, dict(os.environ), RealDisk())
        except (SettingError, RefusedStart, DFSError, DiskError) as error:
            refuse(str(error))
        if log_format == "json":
            log_json(self.parent)


def refuse(sentence: str) -> None:
    """End the process with one sentence on stderr and exit code 1."""
    raise SystemExit(f"dfs-chunk: {sentence}")


def config_of(options: Any, environment: dict[str, str], disk: IDisk) -> tuple[ChunkServerConfig, str]:
    """The configuration and the log's format, from flags, environment, file, defaults.
    Raises SettingError, RefusedStart, DFSError, DiskError."""
    name = options["node-id"]
    if len(name.encode()) > MAX_NODE_NAME or not name.isprintable() or "/" in name:
        raise SettingError(f"--node-id: {name!r} is no name of a node")
    data = os.path.abspath(options["data"])
    file_name = options["config"] or ""
    file_text = read_text(disk, os.path.abspath(file_name)) if file_name else ""
    flags = {setting.key: options[setting.flag.removeprefix("--")] for setting in TABLE}
    settings = shared_settings(flags, environment, file_text, file_name)
    meta = tuple(str(address) for address in settings[META])
    if not meta:
        raise SettingError("no metadata nodes are named: give --meta host:port,... or set DFS_META")
    advertise = str(parse_address(options["advertise"]))
    beside = os.path.join(os.path.dirname(data), "cluster.key")
    key_file = os.path.abspath(options["key-file"] or environment.get("DFS_KEY_FILE") or beside)
    key = read_key_file(disk, key_file)
    config = ChunkServerConfig(
        node=name,
        data=data,
        listen=options["listen"],
        advertise=advertise,
        meta=meta,
        key=key,
        rack=options["rack"] or "",
        durable=settings[DURABILITY] == "sync",
        copies=settings[REPAIR_STREAMS],
        scrub_period=settings[SCRUB_PERIOD],
        quarantine=settings[QUARANTINE],
        segments=settings[SEGMENTS] == "on",
    )
    return config, settings[LOG_FORMAT]


def read_text(disk: IDisk, path: str) -> str:
    """A settings file's text.  Raises DiskError, SettingError."""
    file = disk.open(path, writable=False)
    try:
        return file.pread(MAX_FILE, 0).decode()
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not UTF-8: {error}") from error
    finally:
        file.close()


def check_start(config: ChunkServerConfig, reactor: Any, disk: IDisk) -> None:
    """Try folder, lock and port, and give them back.  Raises RefusedStart."""
    open_folder(disk, config.data, config.node, cluster_id_of(config.key)).lock.release()
    check_port(config.listen, reactor)


def check_port(listen: str, reactor: Any) -> None:
    """Bind the port once.  Raises RefusedStart."""
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.error import CannotListenError
    from twisted.internet.protocol import Factory
    from twisted.python.failure import Failure

    outcome: list[Any] = []
    try:
        endpoint: Any = serverFromString(reactor, listen)
    except (ValueError, TypeError, KeyError) as error:
        raise RefusedStart(f"--listen: {listen!r} is no endpoint; write tcp:7100:interface=127.0.0.1") from error
    endpoint.listen(Factory()).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].trap(CannotListenError)
        reason: Any = outcome[0].value
        raise RefusedStart(f"{listen} cannot be listened on ({reason.socketError}): is it in use?")
    outcome[0].stopListening()


def makeService(options: Options) -> IService:
    """The chunk server, checked as far as can be before the start."""
    from twisted.internet import reactor

    install_monotonic(reactor)
    spare_garbage_collector(reactor)
    disk = RealDisk()
    try:
        check_start(options.config, reactor, disk)
    except RefusedStart as error:
        refuse(str(error))

    def fatal(sentence: str) -> None:
        """The start was refused after all, or metadata will not have us: stop in order, and exit 1."""
        print(f"dfs-chunk: {sentence}", file=sys.__stderr__)
        end_process(reactor)

    return ChunkServer(options.config, real_runtime(reactor), disk, fatal)
