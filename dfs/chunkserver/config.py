"""What a chunk server is started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from dfs.protocol.interfaces import SPOKEN
from dfs.runtime.options import DURABILITY, LOG_FORMAT, META, QUARANTINE, REPAIR_STREAMS, SCRUB_PERIOD, SEGMENTS
from dfs.runtime.settings import Setting, Settings, resolve

TABLE: tuple[Setting[Any], ...] = (META, DURABILITY, REPAIR_STREAMS, SCRUB_PERIOD, QUARANTINE, SEGMENTS, LOG_FORMAT)
"""The shared settings that a chunk server looks at."""


@frozen
class ChunkServerConfig:
    """``data`` is an absolute path; ``listen`` an endpoint string; ``advertise`` the host:port that others use;
    ``meta`` the host:port of the metadata nodes; ``key`` the cluster key, 32 bytes.  ``reserve``: bytes that
    writes leave free.  ``scrub_period``: seconds from one reading of every replica to the next, 0 is never;
    ``quarantine``: seconds that a replica is kept aside before it may be deleted; ``segments``: small replicas are
    packed, in segments of at most ``segment_size`` bytes; ``compaction``: seconds from one segment whose space is given
    back to the next; ``versions``: of the protocol, the lowest and the highest that it speaks, what the release knows
    (S39)."""

    node: str
    data: str
    listen: str
    advertise: str
    meta: tuple[str, ...]
    key: bytes
    rack: str = ""
    durable: bool = True
    copies: int = 2
    reserve: int = 64 << 20
    scrub_period: float = 14 * 86400.0
    quarantine: float = 86400.0
    segments: bool = True
    segment_size: int = 64 << 20
    compaction: float = 30.0
    versions: tuple[int, int] = SPOKEN


def shared_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], file_text: str, file_name: str
) -> Settings:
    """The values of TABLE.  Raises SettingError with a sentence."""
    return resolve(TABLE, flags, environment, file_text, file_name)
