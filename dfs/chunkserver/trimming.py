"""Giving up a healthy replica on metadata's word: set aside, never deleted at once (S16, S17).

What the order names is compared under the lock of the replica: one that was made anew has another number and stays.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dfs.chunkserver.clustertime import ClusterClock
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import Forbidden
from dfs.protocol.messages import Job, Removal
from dfs.protocol.removal import refusal
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import ChunkRef, NodeNumber
from dfs.runtime.interfaces import Runtime

_log = Logger()


class Trimming:
    """:param number: our own node number.
    :ivar term: the highest term of a leader that was heard.
    """

    def __init__(
        self, runtime: Runtime, store: ChunkStore, keys: KeyRing, clock: ClusterClock, number: Callable[[], NodeNumber]
    ) -> None:
        self._runtime, self._store, self._keys, self._clock, self._number = runtime, store, keys, clock, number
        self.term = 0

    def heard(self, term: int) -> None:
        """A node answered as the leader of this term."""
        self.term = max(self.term, term)

    async def trim(self, job: Job) -> int:
        """The number of the remove; what is not there is removed already.  Raises Forbidden, DiskFailed."""
        removal = job.removal
        if removal is None:
            raise Forbidden("an order to trim names the replica that goes, and why")
        now_ms = self._clock.now_ms(self._runtime.reactor.seconds())
        self._keys.check_removal(removal, job.file_id, job.index, job.generation, now_ms)
        return await self._give_up(ChunkRef(job.file_id, job.index, job.generation), removal)

    async def _give_up(self, ref: ChunkRef, removal: Removal) -> int:
        store = self._store
        async with store.locks.alone(ref):
            store.check_writable()
            held = store.index.get(ref)
            if held is None:
                return store.number
            why_not = refusal(removal, self._number(), held.number, self.term)
            if why_not:
                _log.warn("an order to trim {ref} is refused: {why_not}", ref=ref, why_not=why_not)
                raise Forbidden(why_not)
            number = await store.numbers.take()
            store.index.remove(ref)
            try:
                await store.move_aside(ref, removal.kind.name.lower())
            except BaseException:
                store.index.add(held)
                raise
            finally:
                store.numbers.settle(number)
            return number
