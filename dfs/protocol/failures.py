"""Errors as bytes: the body of FAILURE and ABORT frames, whose ``code`` field is the error's.

==========  =============================
field       kind
==========  =============================
message     Text, at most 2,048 bytes
hint        Text, at most 1,024 bytes
nodes       Items of Text(255), at most 64
leader      Text, at most 300 bytes
==========  =============================

A sentence that is too long is cut, never refused: an error must always reach its reader.
"""

from __future__ import annotations

from attrs import frozen

from dfs.protocol.errors import BY_CODE, BadRequest, DFSError, InternalError
from dfs.protocol.fast import Codec, Malformed
from dfs.protocol.layout import Items, Record, Text
from dfs.protocol.limits import MAX_ADDRESS, MAX_HINT, MAX_NODE_NAME, MAX_NODES, MAX_SENTENCE


@frozen
class _Failure:
    message: str
    hint: str
    nodes: tuple[str, ...]
    leader: str


FAILURE = Record(
    _Failure,
    message=Text(MAX_SENTENCE),
    hint=Text(MAX_HINT),
    nodes=Items(Text(MAX_NODE_NAME), MAX_NODES),
    leader=Text(MAX_ADDRESS),
)
_CODEC = Codec(FAILURE)


def _cut(text: str, limit: int) -> str:
    data = text.encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore")


def encode_error(error: DFSError) -> bytes:
    """The body that tells the error."""
    return _CODEC.encode(
        _Failure(
            _cut(error.message, MAX_SENTENCE),
            _cut(error.hint, MAX_HINT),
            tuple(_cut(node, MAX_NODE_NAME) for node in error.nodes[:MAX_NODES]),
            _cut(error.leader, MAX_ADDRESS),
        )
    )


def decode_error(code: int, body: bytes) -> DFSError:
    """The error that a peer told.  A code of a newer peer becomes InternalError, with its sentence.  Raises BadRequest
    for malformed bytes."""
    try:
        failure = _CODEC.decode(body)
    except Malformed as error:
        raise BadRequest(f"malformed error: {error}") from None
    return BY_CODE.get(code, InternalError)(failure.message, failure.hint, failure.nodes, failure.leader)
