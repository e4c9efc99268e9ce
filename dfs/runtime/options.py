"""The settings that all daemons and the command share: one literal table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from dfs.runtime.dial import Address, parse_addresses
from dfs.runtime.errors import SettingError
from dfs.runtime.settings import Setting
from dfs.runtime.units import format_size, parse_duration, parse_size


@frozen
class WriteQuorum:
    """How many replicas must be durable before a chunk is acknowledged (S05).

    :ivar kind: ``majority``, ``all`` or ``count``; ``count`` is set with the last only.
    """

    kind: str
    count: int = 0

    def of(self, replication: int) -> int:
        """The quorum for a replication, at least 1 and at most ``replication``."""
        if self.kind == "majority":
            return replication // 2 + 1
        return replication if self.kind == "all" else min(self.count, replication)

    def __str__(self) -> str:
        return str(self.count) if self.kind == "count" else self.kind


def parse_write_quorum(text: str) -> WriteQuorum:
    """``majority``, ``all`` or a number from 1 on."""
    if text in ("majority", "all"):
        return WriteQuorum(text)
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 255:
        return WriteQuorum("count", int(text))
    raise SettingError(f"{text!r} is not a write quorum: write majority, all or a number from 1 to 255")


def positive_duration(text: str) -> float:
    """A duration above 0."""
    seconds = parse_duration(text)
    if seconds <= 0:
        raise SettingError(f"{text!r} must be more than 0")
    return seconds


def count(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds, both included."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise SettingError(f"{text!r} must be a whole number from {least} to {most}")

    return parse


def size(least: int, most: int) -> Callable[[str], int]:
    """A parser of sizes within bounds, both included."""

    def parse(text: str) -> int:
        found = parse_size(text)
        if least <= found <= most:
            return found
        raise SettingError(f"{text!r} must be from {format_size(least)} to {format_size(most)}")

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of a few words."""

    def parse(text: str) -> str:
        if text in choices:
            return text
        raise SettingError(f"{text!r} must be one of {', '.join(choices)}")

    return parse


META: Setting[tuple[Address, ...]] = Setting(
    "DFS_META", parse_addresses, "", "Metadata nodes, host:port separated by commas."
)
HEARTBEAT_INTERVAL: Setting[float] = Setting(
    "DFS_HEARTBEAT_INTERVAL",
    positive_duration,
    "3",
    "How often a chunk server reports to the metadata nodes.",
    "seconds",
)
SUSPECT_AFTER: Setting[float] = Setting(
    "DFS_SUSPECT_AFTER", positive_duration, "10", "Silence after which a chunk server gets no new chunks.", "seconds"
)
DEAD_AFTER: Setting[float] = Setting(
    "DFS_DEAD_AFTER", positive_duration, "30", "Silence after which its chunks are copied elsewhere.", "seconds"
)
CHUNK_SIZE: Setting[int] = Setting(
    "DFS_CHUNK_SIZE", size(64 * 1024, 64 * 1024 * 1024), "4MiB", "Size of the chunks of new files.", "bytes"
)
REPLICATION: Setting[int] = Setting("DFS_REPLICATION", count(1, 15), "3", "Copies of each chunk of new files.")
WRITE_QUORUM: Setting[WriteQuorum] = Setting(
    "DFS_WRITE_QUORUM",
    parse_write_quorum,
    "majority",
    "Copies that must be durable before a chunk is acknowledged: majority, all or a number.",
)
QUARANTINE: Setting[float] = Setting(
    "DFS_QUARANTINE",
    parse_duration,
    "86400",
    "How long a replica that is to be deleted is kept aside first.",
    "seconds",
)
DURABILITY: Setting[str] = Setting(
    "DFS_DURABILITY",
    one_of("sync", "none"),
    "sync",
    "sync: acknowledged means on disk. none: a power cut may lose acknowledged files; for experiments.",
)
PATIENCE: Setting[float] = Setting(
    "DFS_PATIENCE",
    positive_duration,
    "30",
    "How long a command goes on without progress before it gives up.",
    "seconds",
)
UPLOAD_TTL: Setting[float] = Setting(
    "DFS_UPLOAD_TTL", positive_duration, "86400", "How long an abandoned upload is kept for resuming.", "seconds"
)
LEASE: Setting[float] = Setting(
    "DFS_LEASE",
    positive_duration,
    "60",
    "How long an upload counts as alive after the last sign of its writer.",
    "seconds",
)
STORE: Setting[str] = Setting(
    "DFS_STORE",
    one_of("auto", "berkeleydb", "semidbm"),
    "auto",
    "Engine of the tables; auto takes Berkeley DB where it is installed.",
)
PARALLEL: Setting[int] = Setting(
    "DFS_PARALLEL", count(1, 64), "4", "Chunks in flight at once in an upload or download."
)
REPAIR_STREAMS: Setting[int] = Setting(
    "DFS_REPAIR_STREAMS", count(1, 64), "2", "Repair copies in flight at once on each chunk server."
)
READ_FROM: Setting[str] = Setting(
    "DFS_READ_FROM",
    one_of("leader", "any"),
    "leader",
    "Metadata nodes that answer reads of names and places: the leader or any; both see all that was acknowledged.",
)
MOVE_RATE: Setting[int] = Setting(
    "DFS_MOVE_RATE", size(0, 1 << 50), "0", "Bytes a second that all copies between chunk servers take; 0 is no limit."
)
NODE_MOVE_RATE: Setting[int] = Setting(
    "DFS_NODE_MOVE_RATE", size(0, 1 << 50), "100MiB", "The same of one chunk server, sent and received; 0 is no limit."
)
SETTLE_AFTER: Setting[float] = Setting(
    "DFS_SETTLE_AFTER",
    parse_duration,
    "10m",
    "How long after a chunk server came back from the dead nothing is trimmed because of it.",
)
SCRUB_PERIOD: Setting[float] = Setting(
    "DFS_SCRUB_PERIOD",
    parse_duration,
    "14d",
    "How often a chunk server reads and verifies each of its replicas; 0 is never.",
)
SEGMENTS: Setting[str] = Setting(
    "DFS_SEGMENTS",
    one_of("on", "off"),
    "on",
    "on: a chunk server packs chunks of up to 64 KiB into segment files, many to one sync; off: each gets its file.",
)
LOG_FORMAT: Setting[str] = Setting("DFS_LOG_FORMAT", one_of("text", "json"), "text", "Format of the daemons' logs.")

SHARED: tuple[Setting[Any], ...] = (
    META,
    HEARTBEAT_INTERVAL,
    SUSPECT_AFTER,
    DEAD_AFTER,
    CHUNK_SIZE,
    REPLICATION,
    WRITE_QUORUM,
    QUARANTINE,
    DURABILITY,
    PATIENCE,
    UPLOAD_TTL,
    LEASE,
    STORE,
    PARALLEL,
    READ_FROM,
    REPAIR_STREAMS,
    MOVE_RATE,
    NODE_MOVE_RATE,
    SETTLE_AFTER,
    SCRUB_PERIOD,
    SEGMENTS,
    LOG_FORMAT,
)
"""All of the above, in the order of doc/configuration.md."""
