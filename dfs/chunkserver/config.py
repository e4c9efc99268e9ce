"""What a chunk server is started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from dfs.runtime.options import DURABILITY, LOG_FORMAT, META, REPAIR_STREAMS
from dfs.runtime.settings import Setting, resolve

TABLE: tuple[Setting[Any], ...] = (META, DURABILITY, REPAIR_STREAMS, LOG_FORMAT)
"""The shared settings that a chunk server looks at."""


@frozen
class ChunkServerConfig:
    """``data`` is an absolute path; ``listen`` an endpoint string; ``advertise`` the host:port that others use;
    ``meta`` the host:port of the metadata nodes; ``key`` the cluster key, 32 bytes.  ``reserve``: bytes that
    writes leave free."""

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


def shared_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], file_text: str, file_name: str
) -> tuple[tuple[str, ...], bool, int, str]:
    """(metadata addresses, durable, copies at once, log format).  Raises SettingError with a sentence."""
    settings = resolve(TABLE, flags, environment, file_text, file_name)
    addresses = tuple(str(address) for address in settings[META])
    return addresses, settings[DURABILITY] == "sync", settings[REPAIR_STREAMS], settings[LOG_FORMAT]
