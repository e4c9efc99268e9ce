"""Commands on their way through Raft: time in, answer out.

What arrives in one turn of the reactor rides in one proposal batch (Raft's shell gathers a turn's
proposals, one sync carries them all); nothing is queued here.

An answer is given only for what was applied here, so it is durable at a quorum (S24, S26).  Where the outcome is
not known the caller is told to ask again: the same operation takes effect once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from dfs.metaserver.answers import decode_answer
from dfs.metaserver.commands import Command, encode_command
from dfs.metaserver.packing import Malformed
from dfs.metaserver.translating import translate
from dfs.raft.errors import RaftError
from dfs.raft.interfaces import IRaft

Answer = TypeVar("Answer")


class Proposer:
    """:param now_ms: cluster time as the leader reckons it.
    :param peers: members' addresses, for the hint in NotLeader.
    """

    def __init__(self, raft: IRaft, now_ms: Callable[[], int], peers: Mapping[str, str]) -> None:
        self._raft = raft
        self._now_ms = now_ms
        self._peers = peers

    async def propose(self, command: Command, answer: type[Answer]) -> Answer:
        """Replicate and apply; the answer, which must be of the class named.  Raises DFSError."""
        try:
            raw = await self._raft.propose(encode_command(self._now_ms(), command))
        except (RaftError, Malformed) as error:
            raise translate(error, self._peers) from error
        found = decode_answer(raw)
        if not isinstance(found, answer):
            raise TypeError(f"{type(command).__name__} was answered with {type(found).__name__}")
        return found
