"""The client's tree of errors: what travels (dfs.protocol.errors) and what is local.

Every one is a :class:`DFSError` with a sentence, a hint what to do next and the
exit code that the command line gives it.
"""

from __future__ import annotations

from dfs.protocol.errors import (
    BadRequest,
    Cancelled,
    DFSError,
    FileExists,
    FileNotFound,
    Forbidden,
    ReplicaCorrupt,
    SessionExpired,
    StaleEpoch,
    Unavailable,
    UploadGone,
    WrongCluster,
)

__all__ = [
    "BadName",
    "BadRequest",
    "Cancelled",
    "ChunkUnreachable",
    "ChunkUnreadable",
    "DFSError",
    "FileExists",
    "FileNotFound",
    "Forbidden",
    "LocalFileChanged",
    "LocalFileError",
    "OutputExists",
    "ReplicaCorrupt",
    "SessionExpired",
    "StaleEpoch",
    "Unavailable",
    "UploadGone",
    "WrongCluster",
]


class BadName(BadRequest):
    """No file can have this name (S44)."""

    exit_code = 2


class LocalFileError(DFSError):
    """A file or folder of this machine cannot be read or written."""


class LocalFileChanged(LocalFileError):
    """The file changed while it was read, or since its upload began (S40)."""


class OutputExists(LocalFileError):
    """The download's target is there already."""

    exit_code = 4


class ChunkUnreadable(DFSError):
    """Every replica of a chunk failed; the sentence names file, chunk and what was tried where (S42)."""

    exit_code = 6


class ChunkUnreachable(ChunkUnreadable):
    """No replica of a chunk could be reached at all: the bytes may be fine, the nodes are not."""

    exit_code = 5
