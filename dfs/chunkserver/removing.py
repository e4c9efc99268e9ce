"""Carrying out orders that take replicas away, or bring one back: each proves itself first (S15, S16, S17).

- DELETE, of garbage: a grant names what ended the file, and its last generation.
- TRIM, of a surplus replica or one of a stale generation: a signed Removal names it by its number, and those that stay.
  It goes to the quarantine, not away.
- RESTORE: a replica that was trimmed is served again.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from dfs.chunkserver.clustertime import ClusterClock
from dfs.chunkserver.keeping import Keeper
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import BadRequest, Forbidden
from dfs.protocol.messages import Job
from dfs.protocol.removal import refusal
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import ChunkRef, GrantKind, NodeNumber, may_delete


class Remover:
    """:param number: our own node number, 0 while it is not known.
    :param term: the highest of the leaders that were heard.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        store: ChunkStore,
        keeper: Keeper,
        keys: KeyRing,
        clock: ClusterClock,
        number: Callable[[], NodeNumber],
        term: Callable[[], int],
    ) -> None:
        self._reactor, self._store, self._keeper = reactor, store, keeper
        self._keys, self._clock, self._number, self._term = keys, clock, number, term

    async def delete(self, job: Job) -> int:
        """Only garbage is deleted, and only on metadata's signed word that names what ended the file (S15) and the last
        generation that it may have; bytes of another history stay (S16).  The number of the last remove."""
        grant = job.grant
        if grant is None or grant.evidence == 0 or grant.generation == 0:
            raise Forbidden("a delete carries a grant that names what ended the file, and its last generation")
        self._keys.check(grant, GrantKind.DELETE, job.file_id, job.index, job.generation, self._now_ms())
        number = self._store.number
        for held in self._store.index.generations(job.file_id, job.index):
            if may_delete(grant.generation, held.generation):
                number = await self._store.delete(ChunkRef(held.file_id, held.index, held.generation))
        await self._keeper.garbage(job.file_id, job.index, grant.generation)
        return number

    async def trim(self, job: Job) -> int:
        """See dfs.protocol.removal: the replica of exactly one number goes to the quarantine; having none is success.
        The number of the remove.  Raises Forbidden."""
        removal = job.removal
        if removal is None:
            raise Forbidden("an order to trim carries leave to remove")
        self._keys.check_removal(removal, job.file_id, job.index, job.generation, self._now_ms())
        ref = ChunkRef(job.file_id, job.index, job.generation)
        held = self._store.index.get(ref)
        sentence = refusal(removal, self._number(), held.number if held is not None else removal.number, self._term())
        if sentence:
            raise Forbidden(sentence)
        return await self._store.trim(ref, removal.number, removal.kind.name.lower())

    async def restore(self, job: Job) -> int:
        """The replica's new number."""
        if not any(job.sha256):
            raise BadRequest("an order to restore names the committed SHA-256")
        return (await self._keeper.restore(ChunkRef(job.file_id, job.index, job.generation), job.sha256)).number

    def _now_ms(self) -> int:
        return self._clock.now_ms(self._reactor.seconds())
