"""What rebuilds a namespace from chunk servers alone.  See :mod:`dfs.protocol.messages`.

Whoever asks holds the cluster's key and speaks as a metadata server: an operator's command, or a metadata server.
"""

from __future__ import annotations

from attrs import frozen

from dfs.protocol.messages_chunks import HeldReplica
from dfs.protocol.messages_metadata import CommittedChunk
from dfs.protocol.values import Description, FileId, Generation


@frozen
class ListReplicas:
    """A page of what a chunk server holds: at most ``limit`` replicas with (file_id, index) above ``after``, 12 bytes
    as in an Inventory; a page may pass the limit by the generations of one chunk."""

    after: bytes
    limit: int


@frozen
class DescribedReplica:
    """``description`` is None where the replica does not name its file (footer version 1)."""

    held: HeldReplica
    description: Description | None


@frozen
class ReplicaPage:
    """``upto`` is the last position that the page covers, 12 x ff at the end.  ``founding`` is that of the cluster that
    the server stays with, b"" before its first; ``unreadable`` counts replicas left out, whose footer was not read."""

    node: str
    founding: bytes
    upto: bytes
    replicas: tuple[DescribedReplica, ...]
    unreadable: int


@frozen
class AdoptCluster:
    """Leave the cluster of the founding ``former``, whose metadata is lost, for that of ``founding``.  A server refuses
    while it hears a leader of the former one, and ends once it has done it: it is started again."""

    former: bytes
    founding: bytes


@frozen
class BeginRebuild:
    """``file_id`` and ``generation`` are the highest that chunk servers hold.  Only an empty namespace begins a rebuild
    once, and from then on every id that it issues is far above both."""

    file_id: FileId
    generation: Generation


@frozen
class RecoverFile:
    """A part of a file that chunk servers hold whole: the chunks from ``first_index`` on, at most ``MAX_RECOVERED``.
    With the last part the name appears; parts come in order and may come again.  ``digest`` is
    :func:`dfs.protocol.values.file_digest`."""

    file_id: FileId
    name: str
    size: int
    chunk_size: int
    replication: int
    count: int
    digest: bytes
    created_ms: int
    first_index: int
    chunks: tuple[CommittedChunk, ...]


@frozen
class Recovered:
    """``new``: whether the part told anything that was not recorded before."""

    new: bool
