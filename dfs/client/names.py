"""What users may ask for: names, and how much at once."""

from __future__ import annotations

from dfs.client.errors import BadName, BadRequest
from dfs.protocol.values import MAX_NAME

MAX_PARALLEL = 64


def check_name(name: str) -> None:
    """A name is 1 to 4,096 bytes of UTF-8 without NUL (S44).  Raises BadName."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise BadName("a name must be UTF-8", "give another one with --name") from None
    if not encoded:
        raise BadName("a name must not be empty", "give one with --name")
    if len(encoded) > MAX_NAME:
        raise BadName(f"the name has {len(encoded)} bytes; at most {MAX_NAME} are allowed", "use a shorter name")
    if b"\x00" in encoded:
        raise BadName("a name must not contain NUL", "give another one with --name")


def check_parallel(parallel: int) -> None:
    """Raises BadRequest."""
    if not 1 <= parallel <= MAX_PARALLEL:
        raise BadRequest(f"{parallel} chunks in flight are not from 1 to {MAX_PARALLEL}")
