"""Names and folders of a chunk server's data folder.

::

    DATA/identity                                    who this folder belongs to
    DATA/lock                                        held by the one process that uses it
    DATA/numbers                                     the reservation of add and remove numbers
    DATA/founding                                    which cluster of the key it belongs to
    DATA/scrub                                       how far the scrub has come
    DATA/sync-failed.<boot>                          left by a failed sync; a start refuses until the next reboot
    DATA/chunks/a/b/<chunk id hex>.<generation>.chunk    a replica; a, b: first two hex digits of the chunk id
    DATA/chunks/a/b/<...>.<generation>.<16 hex>.tmp      a write in progress
    DATA/segments/<8 digits>.seg                     many small replicas (see dfs.chunkserver.records)
    DATA/segments/<8 digits>.sum                     what one holds (see dfs.chunkserver.summaries)
    DATA/quarantine/<name>.<reason>.<...>.<16 hex>   what was set aside (see dfs.chunkserver.quarantine)

The 16 x 16 folders are made and synced when the store is formatted, so that a
write never has to sync a chain of parents.  A temporary name has 64 random bits
and is opened exclusively: two writers of one chunk never share a file (S08).
"""

from __future__ import annotations

import re

from attrs import frozen

from dfs.protocol.values import ChunkRef, chunk_id

HEX = "0123456789abcdef"
_CHUNK = re.compile(r"([0-9a-f]{64})\.([0-9]{1,20})\.chunk")
_TEMPORARY = re.compile(r"[0-9a-f]{64}\.[0-9]{1,20}\.[0-9a-f]{16}\.tmp")


@frozen
class Layout:
    """Paths under ``root`` for a folder of cluster ``cluster`` (16 bytes)."""

    root: str
    cluster: bytes

    @property
    def chunks(self) -> str:
        return f"{self.root}/chunks"

    @property
    def segments(self) -> str:
        """The folder of packed replicas; it is made with the first."""
        return f"{self.root}/segments"

    def segment(self, name: str) -> str:
        """The path of a segment."""
        return f"{self.segments}/{name}"

    def summary(self, number: int) -> str:
        """The path of a segment's summary."""
        return f"{self.segments}/{number:08d}.sum"

    @property
    def quarantine(self) -> str:
        return f"{self.root}/quarantine"

    @property
    def numbers(self) -> str:
        return f"{self.root}/numbers"

    @property
    def scrub(self) -> str:
        """Where the scrub stands."""
        return f"{self.root}/scrub"

    def folder(self, ref: ChunkRef) -> str:
        """The folder that a replica lives in."""
        name = chunk_id(self.cluster, ref.file_id, ref.index).hex()
        return f"{self.chunks}/{name[0]}/{name[1]}"

    def name(self, ref: ChunkRef) -> str:
        """The file name of a replica."""
        return f"{chunk_id(self.cluster, ref.file_id, ref.index).hex()}.{ref.generation}.chunk"

    def path(self, ref: ChunkRef) -> str:
        """The path of a replica."""
        return f"{self.folder(ref)}/{self.name(ref)}"

    def temporary(self, ref: ChunkRef, nonce: bytes) -> str:
        """The path of one write in progress; ``nonce`` is 8 random bytes of that write alone (S08)."""
        stem = self.name(ref).removesuffix(".chunk")
        return f"{self.folder(ref)}/{stem}.{nonce.hex()}.tmp"

    def set_aside(self, name: str, reason: str, nonce: bytes) -> str:
        """A fresh path in the quarantine; a long foreign name is cut to fit."""
        return f"{self.quarantine}/{name[:150]}.{reason}.{nonce.hex()}"


def chunk_folders(root: str) -> list[str]:
    """The 256 folders that hold replicas, in order."""
    return [f"{root}/chunks/{first}/{second}" for first in HEX for second in HEX]


def is_chunk(name: str) -> bool:
    """Whether a file name is a replica's."""
    return _CHUNK.fullmatch(name) is not None


def generation_of(name: str) -> int | None:
    """The generation in a replica's file name; None for any other name."""
    found = _CHUNK.fullmatch(name)
    return None if found is None else int(found[2])


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a write in progress."""
    return _TEMPORARY.fullmatch(name) is not None
