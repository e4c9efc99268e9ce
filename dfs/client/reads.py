"""Where this client's reads of names and chunk lists go: to the leader, or to any metadata member.

Any member's answer is as new as the leader's (it asks the leader how far to read), and says what it had applied.  The
highest of these goes with each further read, so that what a client sees never goes back, whoever answers (R49).
"""

from __future__ import annotations

from typing import Any

from attrs import define

from dfs.client.concurrency import cancellable
from dfs.protocol.errors import InternalError
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import (
    ChunkPageAt,
    FileAt,
    FilePageAt,
    GetFile,
    GetFileAt,
    ListChunks,
    ListChunksAt,
    ListFiles,
    ListFilesAt,
)

#: The request for the leader: the same for any member, and its answer.
AT: dict[type[Any], tuple[type[Any], type[Any]]] = {
    GetFile: (GetFileAt, FileAt),
    ListChunks: (ListChunksAt, ChunkPageAt),
    ListFiles: (ListFilesAt, FilePageAt),
}


@define
class AnyMember:
    """:ivar seen: the highest applied index of all answers."""

    caller: LeaderCaller
    seen: int = 0

    async def ask(self, request: object, patience: float) -> object:
        """The answer of a member that is as far as any that answered before.  Raises DFSError."""
        wrapper, expected = AT[type(request)]
        at_least = self.seen
        found: Any = await cancellable(self.caller.call(wrapper(at_least, request), patience=patience, anyone=True))
        if not isinstance(found, expected) or found.applied < at_least:
            raise InternalError(f"a metadata node answered with {type(found).__name__} of a state that went back")
        self.seen = max(self.seen, found.applied)
        answer: object = found.answer
        return answer
