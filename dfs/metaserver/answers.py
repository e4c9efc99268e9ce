"""What ``apply`` answers: bytes that are remembered and replayed, and that the proposer turns back into values.

An answer is one byte, then: 0 a DFSError (code, sentence, hint), else a codec's bytes.  Placements travel without
grants: the leader's shell signs those when it answers.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dfs.metaserver.packing import FLAG, ID16, SHA256, U8, U16, U32, U64, Codec, Fields, Malformed, Many, Optional, Text
from dfs.metaserver.records import name_text, short_text
from dfs.protocol.errors import BY_CODE as ERRORS
from dfs.protocol.errors import DFSError, InternalError
from dfs.protocol.limits import MAX_HINT, MAX_SENTENCE, MAX_TOGETHER
from dfs.protocol.messages import (
    CommitOutcome,
    CommitOutcomes,
    CommitRefusal,
    CommittedChunk,
    Done,
    FileInfo,
    FilesCommitted,
    FinishOutcome,
    GrantedUpload,
    Placement,
    Placements,
    Refusal,
    UploadGranted,
    UploadOutcome,
    UploadsFinished,
    UploadsGranted,
)
from dfs.protocol.values import FileId, Generation, Target

LEASE_MS = 60_000  # a lease says that a writer is alive


@frozen
class NodeRegistered:
    """``returned``: it was dead.  ``joined``: it was never seen before."""

    node: int
    joined: bool
    returned: bool


@frozen
class MemberPinned:
    """The incarnation that is pinned now (the command's own, or the former one: then the member is refused)."""

    incarnation: bytes


@frozen
class Changed:
    """Whether anything changed, and how many items did."""

    count: int


@frozen
class Retired:
    """Which of the retirements were taken (by place), and the log index that did it."""

    index: int
    taken: tuple[int, ...]


@frozen
class Collected:
    """``finished``: nothing of the file is left."""

    finished: bool


@frozen
class Failure:
    """A DFSError as bytes."""

    code: int
    message: str
    hint: str


def _outcomes(raw: tuple[int, ...]) -> CommitOutcomes:
    return CommitOutcomes(tuple(map(CommitOutcome, raw)))


def _placement(
    index: int, generation: int, targets: tuple[Target, ...], quorum: int, committed: CommittedChunk | None
) -> Placement:
    return Placement(index, generation, targets, quorum, None, committed)  # type: ignore[arg-type]  # a NewType


def _finished(raw: tuple[int, ...]) -> UploadsFinished:
    return UploadsFinished(tuple(map(FinishOutcome, raw)))


def _granted_upload(file_id: FileId, generation: Generation) -> GrantedUpload:
    return GrantedUpload(file_id, generation, bytes(32))


def _uploads_granted(
    lease_ms: int, targets: tuple[Target, ...], quorum: int, outcomes: tuple[UploadOutcome, ...]
) -> UploadsGranted:
    return UploadsGranted(lease_ms, targets, quorum, 0, outcomes)


target_fields = Fields(Target, ("node", U32), ("name", short_text), ("address", short_text), ("parent", U8))
committed_fields = Fields(CommittedChunk, ("index", U32), ("generation", U64), ("length", U32), ("sha256", SHA256))
placement_fields = Fields(
    _placement,
    ("index", U32),
    ("generation", U64),
    ("targets", Many(target_fields, 16)),
    ("quorum", U8),
    ("committed", Optional(committed_fields)),
)
granted_codec = Codec(
    UploadGranted,
    1,
    ("file_id", U64),
    ("epoch", U32),
    ("lease_ms", U32),
    ("chunk_size", U32),
    ("replication", U8),
    ("size", Optional(U64)),
    ("degraded", FLAG),
    ("placements", Many(placement_fields, 64)),
)
refusal_fields = Fields(Refusal, ("code", U16), ("message", Text(MAX_SENTENCE)), ("hint", Text(MAX_HINT)))
granted_upload_fields = Fields(_granted_upload, ("file_id", U64), ("generation", U64))
outcome_fields = Fields(
    UploadOutcome, ("granted", Optional(granted_upload_fields)), ("refusal", Optional(refusal_fields))
)
uploads_granted_codec = Codec(
    _uploads_granted,
    1,
    ("lease_ms", U32),
    ("targets", Many(target_fields, 16)),
    ("quorum", U8),
    ("outcomes", Many(outcome_fields, MAX_TOGETHER)),
)
commit_refusal_fields = Fields(CommitRefusal, ("refusal", Optional(refusal_fields)))
failure_codec = Codec(Failure, 1, ("code", U8), ("message", Text(4096)), ("hint", Text(4096)))

#: The literal table: first byte -> (class, codec); 0 is a Failure.
BY_CODE: dict[int, tuple[type[Any], Codec[Any]]] = {
    1: (Done, Codec(Done, 1)),
    2: (UploadGranted, granted_codec),
    3: (Placements, Codec(Placements, 1, ("placements", Many(placement_fields, 64)))),
    4: (CommitOutcomes, Codec(_outcomes, 1, ("outcomes", Many(U8, 256)))),
    5: (
        FileInfo,
        Codec(
            FileInfo,
            1,
            ("name", name_text),
            ("file_id", U64),
            ("size", U64),
            ("digest", SHA256),
            ("replication", U8),
            ("chunk_size", U32),
            ("count", U32),
            ("created_ms", U64),
        ),
    ),
    6: (NodeRegistered, Codec(NodeRegistered, 1, ("node", U32), ("joined", FLAG), ("returned", FLAG))),
    7: (MemberPinned, Codec(MemberPinned, 1, ("incarnation", ID16))),
    8: (Changed, Codec(Changed, 1, ("count", U16))),
    9: (Collected, Codec(Collected, 1, ("finished", FLAG))),
    10: (UploadsGranted, uploads_granted_codec),
    11: (FilesCommitted, Codec(FilesCommitted, 1, ("outcomes", Many(commit_refusal_fields, MAX_TOGETHER)))),
    12: (UploadsFinished, Codec(_finished, 1, ("outcomes", Many(U8, MAX_TOGETHER)))),
    20: (Retired, Codec(Retired, 1, ("index", U64), ("taken", Many(U16, 256)))),
}
_CODE_OF = {cls: (code, codec) for code, (cls, codec) in BY_CODE.items()}


def encode_answer(answer: object) -> bytes:
    """A value of the table, or a DFSError."""
    if isinstance(answer, DFSError):
        return b"\x00" + failure_codec.encode(Failure(answer.code, _cut(answer.message), _cut(answer.hint)))
    code, codec = _CODE_OF[type(answer)]
    return bytes([code]) + codec.encode(answer)


def _cut(sentence: str) -> str:
    """At most 4,096 bytes of UTF-8 (a name of 4,096 bytes may be quoted in it)."""
    return sentence.encode()[:4096].decode(errors="ignore")


def decode_answer(data: bytes) -> object:
    """The answer, an attrs value; raises the DFSError that it stands for.  Raises Malformed."""
    if not data:
        raise Malformed("an empty answer")
    if data[0] == 0:
        failure = failure_codec.decode(data, 1)
        raise ERRORS.get(failure.code, InternalError)(failure.message, failure.hint)
    if data[0] not in BY_CODE:
        raise Malformed(f"answer {data[0]} is not known")
    answer: object = BY_CODE[data[0]][1].decode(data, 1)
    return answer
