"""Every replicated command and its bytes.

A command carries what chance or time decided: the proposer's choice of nodes, its reckoning of cluster time, wall
time for display.  Ids, generations and node numbers are drawn from replicated counters inside ``apply``, so two
proposers never draw the same.  An entry of the log is

======  =====  =================================================
offset  bytes  meaning
======  =====  =================================================
0       1      code of the command, from the literal table below
1       8      cluster time in ms as the proposer reckons it
9       1      version of the command's layout
10             its fields, as the codec lists them
======  =====  =================================================

AllocateChunks and ReplaceChunk carry no operation: asking again answers the same by their very nature (a generation
that was replaced already is answered with the one that replaced it), so nothing of them is remembered.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dfs.metaserver import commands_moving, commands_rebuilding, commands_together
from dfs.metaserver.commands_moving import MovingCommand
from dfs.metaserver.commands_rebuilding import RebuildingCommand
from dfs.metaserver.commands_together import Nodes, TogetherCommand, commit_fields, nodes_field, operation_fields
from dfs.metaserver.packing import (
    ID16,
    SHA256,
    U8,
    U16,
    U32,
    U64,
    Codec,
    Fields,
    Malformed,
    Many,
    Optional,
    UnknownVersion,
)
from dfs.metaserver.records import name_text, short_text
from dfs.protocol.messages import ChunkCommit, Operation

MAX_PLACEMENTS = 64  # chunks allocated by one command
MAX_COMMITS = 256  # of CommitChunks, AddReplicas, RemoveReplicas, CollectGarbage


@frozen
class CreateUpload:
    """``placements[i]`` are the node numbers proposed for index i, primary first; () where none could be found."""

    operation: Operation
    name: str
    size: int | None
    chunk_size: int
    replication: int
    quorum: int
    wall_ms: int
    placements: tuple[Nodes, ...]


@frozen
class ResumeUpload:
    """Raises the epoch; placements are proposed for the first indexes that are not committed."""

    operation: Operation
    file_id: int
    placements: tuple[Nodes, ...]


@frozen
class AllocateChunks:
    """Placements proposed for the indexes from ``first_index``."""

    file_id: int
    epoch: int
    first_index: int
    placements: tuple[Nodes, ...]


@frozen
class ReplaceChunk:
    """The write of ``generation`` failed; ``nodes`` are proposed for the next."""

    file_id: int
    epoch: int
    index: int
    generation: int
    nodes: Nodes


@frozen
class CommitChunks:
    """Each is judged alone; answered with CommitOutcomes."""

    commits: tuple[ChunkCommit, ...]


@frozen
class AddReplicas:
    """Late and copied replicas; recorded where generation, length and SHA-256 are the committed ones."""

    replicas: tuple[ChunkCommit, ...]


@frozen
class Lost:
    """A replica recorded under ``number`` that its node does not hold (or holds corrupt)."""

    file_id: int
    index: int
    number: int


@frozen
class RemoveReplicas:
    """Strike off what is still recorded under that very number, which is at most ``as_of`` (S06)."""

    node: int
    as_of: int
    items: tuple[Lost, ...]


@frozen
class CommitFile:
    operation: Operation
    file_id: int
    epoch: int
    size: int
    count: int
    digest: bytes
    wall_ms: int


@frozen
class AbortUpload:
    operation: Operation
    file_id: int
    epoch: int


@frozen
class DeleteFile:
    """Exactly one of name and file_id; by file_id it ends an upload too."""

    operation: Operation
    name: str | None
    file_id: int | None


@frozen
class ExpireUpload:
    """The lease lapsed long ago; nothing happens if the upload was resumed meanwhile (another epoch)."""

    file_id: int
    epoch: int


@frozen
class RegisterNode:
    name: str
    incarnation: bytes
    address: str
    rack: str


@frozen
class NodeDied:
    node: int


@frozen
class NodeReturned:
    node: int


@frozen
class PinMember:
    """A metadata member's first contact: its incarnation is pinned, another one is refused from then on (R35)."""

    name: str
    incarnation: bytes


@frozen
class AdvanceTime:
    """Carries nothing but the envelope's cluster time."""


@frozen
class Freed:
    """A node that holds nothing of a garbage file's chunk any more."""

    index: int
    node: int


@frozen
class CollectGarbage:
    """Takes nodes off the chunks of a garbage file; a chunk without nodes goes, and with the last chunk the file."""

    file_id: int
    freed: tuple[Freed, ...]


@frozen
class RaiseIncarnation:
    """After a restore or rebuild: ids issued from now on were never issued before."""

    incarnation: int


@frozen
class BeginHistory:
    """A cluster's first command: chance decides what its file ids and generations begin with, so that they are not
    those of an older history of the same key whose metadata was lost (S16)."""

    incarnation: int
    history: int


Command = (
    CreateUpload
    | ResumeUpload
    | AllocateChunks
    | ReplaceChunk
    | CommitChunks
    | AddReplicas
    | RemoveReplicas
    | CommitFile
    | AbortUpload
    | DeleteFile
    | ExpireUpload
    | RegisterNode
    | NodeDied
    | NodeReturned
    | PinMember
    | AdvanceTime
    | CollectGarbage
    | RaiseIncarnation
    | BeginHistory
    | MovingCommand
    | TogetherCommand
    | RebuildingCommand
)

placements_field = Many(nodes_field, MAX_PLACEMENTS)
lost_fields = Fields(Lost, ("file_id", U64), ("index", U32), ("number", U64))
freed_fields = Fields(Freed, ("index", U32), ("node", U32))

#: The literal table: code -> codec.  Codes are never reused.
BY_CODE: dict[int, Codec[Any]] = {
    1: Codec(
        CreateUpload,
        1,
        ("operation", operation_fields),
        ("name", name_text),
        ("size", Optional(U64)),
        ("chunk_size", U32),
        ("replication", U8),
        ("quorum", U8),
        ("wall_ms", U64),
        ("placements", placements_field),
    ),
    2: Codec(ResumeUpload, 1, ("operation", operation_fields), ("file_id", U64), ("placements", placements_field)),
    3: Codec(
        AllocateChunks,
        1,
        ("file_id", U64),
        ("epoch", U32),
        ("first_index", U32),
        ("placements", placements_field),
    ),
    4: Codec(
        ReplaceChunk,
        1,
        ("file_id", U64),
        ("epoch", U32),
        ("index", U32),
        ("generation", U64),
        ("nodes", nodes_field),
    ),
    5: Codec(CommitChunks, 1, ("commits", Many(commit_fields, MAX_COMMITS))),
    6: Codec(AddReplicas, 1, ("replicas", Many(commit_fields, MAX_COMMITS))),
    7: Codec(RemoveReplicas, 1, ("node", U32), ("as_of", U64), ("items", Many(lost_fields, MAX_COMMITS))),
    8: Codec(
        CommitFile,
        1,
        ("operation", operation_fields),
        ("file_id", U64),
        ("epoch", U32),
        ("size", U64),
        ("count", U32),
        ("digest", SHA256),
        ("wall_ms", U64),
    ),
    9: Codec(AbortUpload, 1, ("operation", operation_fields), ("file_id", U64), ("epoch", U32)),
    10: Codec(
        DeleteFile, 1, ("operation", operation_fields), ("name", Optional(name_text)), ("file_id", Optional(U64))
    ),
    11: Codec(ExpireUpload, 1, ("file_id", U64), ("epoch", U32)),
    12: Codec(
        RegisterNode,
        1,
        ("name", short_text),
        ("incarnation", ID16),
        ("address", short_text),
        ("rack", short_text),
    ),
    13: Codec(NodeDied, 1, ("node", U32)),
    14: Codec(NodeReturned, 1, ("node", U32)),
    15: Codec(PinMember, 1, ("name", short_text), ("incarnation", ID16)),
    16: Codec(AdvanceTime, 1),
    17: Codec(CollectGarbage, 1, ("file_id", U64), ("freed", Many(freed_fields, MAX_COMMITS))),
    18: Codec(RaiseIncarnation, 1, ("incarnation", U16)),
    19: Codec(BeginHistory, 1, ("incarnation", U16), ("history", U32)),
    **commands_moving.BY_CODE,
    **commands_together.BY_CODE,
    **commands_rebuilding.BY_CODE,
}
CODE_OF = {codec.cls: code for code, codec in BY_CODE.items()}


class NotUnderstood(Exception):
    """A newer leader wrote this entry.  To skip it would be to diverge: the node stops and is upgraded (S39)."""


def encode_command(time_ms: int, command: Command) -> bytes:
    """The payload to propose.  Raises Malformed where a limit is broken."""
    code = CODE_OF[type(command)]
    return code.to_bytes(1, "big") + time_ms.to_bytes(8, "big") + BY_CODE[code].encode(command)


def decode_command(payload: bytes) -> tuple[int, Command]:
    """(cluster time in ms, the command).  Raises NotUnderstood for an unknown code or version, Malformed else."""
    codec = BY_CODE.get(payload[0])
    if codec is None:
        raise NotUnderstood(f"command {payload[0]} is not known to this version: upgrade this node")
    if len(payload) < 10:
        raise Malformed("cut")
    try:
        command: Command = codec.decode(payload, 9)
    except UnknownVersion as error:
        raise NotUnderstood(f"command {payload[0]}, {error}: upgrade this node") from error
    return int.from_bytes(payload[1:9], "big"), command
