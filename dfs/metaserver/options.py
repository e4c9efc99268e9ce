"""Command line of ``twistd dfs-meta``, and the checks made before the process forks."""

from __future__ import annotations

import os

from attrs import evolve, frozen
from twisted.logger import Logger

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.metaserver.checking import check_folder
from dfs.metaserver.config import MetaConfig
from dfs.protocol.errors import DFSError
from dfs.protocol.trust import read_key_file
from dfs.runtime.daemon import DaemonOptions, check_node_name, check_port_free, setting_flags
from dfs.runtime.dial import parse_address
from dfs.runtime.errors import SettingError
from dfs.runtime.options import (
    DEAD_AFTER,
    HEARTBEAT_INTERVAL,
    LEASE,
    LOG_FORMAT,
    MOVE_RATE,
    NODE_MOVE_RATE,
    REPAIR_STREAMS,
    SETTLE_AFTER,
    STORE,
    SUSPECT_AFTER,
    UPLOAD_TTL,
    WRITE_QUORUM,
)
from dfs.runtime.settings import Settings

MEMBERS = (1, 3, 5)
SETTINGS = (
    STORE,
    HEARTBEAT_INTERVAL,
    SUSPECT_AFTER,
    DEAD_AFTER,
    WRITE_QUORUM,
    LEASE,
    UPLOAD_TTL,
    REPAIR_STREAMS,
    MOVE_RATE,
    NODE_MOVE_RATE,
    SETTLE_AFTER,
    LOG_FORMAT,
)


_log = Logger()


@frozen
class Times:
    """Seconds between reports of a chunk server, and of its silence until it is suspect and dead."""

    heartbeat: float
    suspect: float
    dead: float

    def effective(self) -> Times:
        """So that setting one of them alone is enough: suspect comes before dead, and at least three reports are due
        within the time until a server is dead, two until it is suspect."""
        suspect = self.suspect if self.suspect < self.dead else self.dead / 2
        return evolve(self, heartbeat=min(self.heartbeat, suspect / 2, self.dead / 3), suspect=suspect)


class Options(DaemonOptions):
    """After parsing, ``self["meta_config"]`` is the MetaConfig."""

    program = "dfs-meta"
    synopsis = "[options]"
    longdesc = "A metadata server: one of the 1, 3 or 5 that keep names, chunks, places and node health through Raft."
    optParameters = [
        ["data", "d", None, "Folder of this node's log and tables; made if it is new."],
        ["listen", "l", None, "Where to listen, as in tcp:7000:interface=127.0.0.1; default: the advertised port."],
        ["advertise", "a", None, "host:port at which others reach this node; default: its address among --peers."],
        ["node-id", "n", None, "This node's name, one of --peers unless it joins."],
        ["peers", "p", None, "All founders, this node included: meta-1=host:port,meta-2=host:port,..."],
        ["key-file", "k", None, "The cluster's key (dfs init makes one)."],
        ["config", "c", None, "A TOML file with settings."],
        *setting_flags(SETTINGS),
    ]

    optFlags = [
        ["join", "j", "Found no cluster: wait to be let in by `dfs meta add`; --peers then names who is there already. "
         "A folder that holds a member already is that member, with or without this flag."],
    ]  # fmt: skip

    def check(self, settings: Settings) -> None:
        """See DaemonOptions."""
        config = self.meta_config(settings, RealDisk())
        check_folder(config, RealDisk())
        check_port_free(config.listen)
        self["meta_config"] = config

    def meta_config(self, settings: Settings, disk: IDisk) -> MetaConfig:
        """Raises SettingError with a sentence."""
        data, node, peers_text, key_file = self.required("data", "node-id", "peers", "key-file")
        join = bool(self["join"])
        peers = parse_peers(peers_text, founding=not join)
        advertise = self["advertise"] or peers.get(check_node_name(node), "")
        if node not in peers and not join:
            raise SettingError(f"--node-id {node} is none of --peers ({', '.join(peers)})")
        if not advertise:
            raise SettingError(f"--advertise is needed: where the others reach {node}, as host:port")
        if str(parse_address(advertise)) != peers.get(node, advertise):
            raise SettingError(f"--advertise {advertise} is not the address of {node} in --peers, {peers[node]}")
        asked = Times(settings[HEARTBEAT_INTERVAL], settings[SUSPECT_AFTER], settings[DEAD_AFTER])
        times = asked.effective()
        if times != asked:
            _log.info(
                "as {dead} is {after:g} s, a server reports each {beat:g} s and is suspect after {suspect:g} s",
                dead=DEAD_AFTER.name, after=times.dead, beat=times.heartbeat, suspect=times.suspect,
            )  # fmt: skip
        return MetaConfig(
            node=node,
            peers=peers,
            join=join,
            advertise=str(parse_address(advertise)),
            listen=self["listen"] or f"tcp:{parse_address(advertise).port}",
            folder=os.path.abspath(data),
            cluster_key=read_key(disk, os.path.abspath(key_file)),
            store=settings[STORE],
            write_quorum=settings[WRITE_QUORUM],
            heartbeat_interval=times.heartbeat,
            suspect_after=times.suspect,
            dead_after=times.dead,
            lease=settings[LEASE],
            upload_ttl=settings[UPLOAD_TTL],
            repair_streams=settings[REPAIR_STREAMS],
            move_rate=settings[MOVE_RATE],
            node_move_rate=settings[NODE_MOVE_RATE],
            settle_after=settings[SETTLE_AFTER],
        )


def parse_peers(text: str, founding: bool = True) -> dict[str, str]:
    """``name=host:port,...`` as addresses by name; ``founding``: they are all that there are.  Raises SettingError."""
    peers: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = part.partition("=")
        if not equals:
            raise SettingError(f"--peers: {part!r} is not name=host:port")
        if check_node_name(name) in peers:
            raise SettingError(f"--peers: {name} is named twice")
        peers[name] = str(parse_address(address))
    if not peers:
        raise SettingError("--peers names nobody")
    if founding and len(peers) not in MEMBERS:
        raise SettingError(f"--peers: a cluster is founded with 1, 3 or 5 metadata servers, not {len(peers)}")
    if len(set(peers.values())) < len(peers):
        raise SettingError("--peers: two members have the same address")
    return peers


def read_key(disk: IDisk, path: str) -> bytes:
    """The cluster's key.  Raises SettingError."""
    try:
        return read_key_file(disk, path)
    except DFSError as error:
        raise SettingError(f"{error.message}; {error.hint}") from None
    except DiskError as error:
        raise SettingError(f"--key-file: {error}") from None
