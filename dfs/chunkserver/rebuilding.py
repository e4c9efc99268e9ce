"""What a chunk server does for a rebuild of the metadata: says what its replicas are of, and leaves a lost cluster.

Whoever asks proved the cluster's key as a metadata server; its founding does not matter, for it names none.

To leave is an operator's step and never an accident: the asker names the founding that it takes for lost, and a server
that heard from any metadata node of it within SILENCE refuses.  The new founding is durable before the answer; then the
process ends, so that nothing that the lost metadata ordered or told (its numbers, its term, its time, its jobs)
outlives it, and is started again (S28).
"""

from __future__ import annotations

from collections.abc import Callable

from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.founding import Founding
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import BadRequest, Busy, Forbidden, ReplicaCorrupt, ReplicaNotFound, WrongCluster
from dfs.protocol.limits import MAX_REPLICA_PAGE
from dfs.protocol.messages import AdoptCluster, DescribedReplica, Done, HeldReplica, ListReplicas, ReplicaPage
from dfs.protocol.values import ChunkRef, Description

SILENCE = 10.0
"""Seconds without a word from the metadata that is said to be lost."""

SPARE = 24
"""Places of a page that are kept for generations of its last chunk."""

MOST_PAGES = 2
"""Pages made at once."""

ENDING = 0.5
"""Seconds from the answer to the end of the process."""


class Rebuilding:
    """:param heard: when a metadata node of our founding answered last, seconds of the reactor; None: never.
    :param end: called with a sentence when the process has to be started again.
    """

    def __init__(
        self,
        node: str,
        store: ChunkStore,
        founding: Founding,
        seconds: Callable[[], float],
        heard: Callable[[], float | None],
        end: Callable[[float, str], None],
    ) -> None:
        self._node, self._store, self._founding = node, store, founding
        self._seconds, self._heard, self._end = seconds, heard, end
        self._pages = 0

    async def answer(self, request: ListReplicas | AdoptCluster) -> ReplicaPage | Done:
        """See the requests."""
        return await (self.page(request) if isinstance(request, ListReplicas) else self.adopt(request))

    async def page(self, request: ListReplicas) -> ReplicaPage:
        """The replicas above a position with what their footers say.  Raises BadRequest, Busy, DiskFailed."""
        if not 0 < request.limit <= MAX_REPLICA_PAGE:
            raise BadRequest(f"a page has 1 to {MAX_REPLICA_PAGE} replicas")
        if self._pages >= MOST_PAGES:
            raise Busy(f"{self._node} lists its replicas for somebody else")
        self._pages += 1
        try:
            return await self._page(request)
        finally:
            self._pages -= 1

    async def _page(self, request: ListReplicas) -> ReplicaPage:
        after = request.after if any(request.after) else b""
        listed, upto = self._store.index.page(after, max(1, min(request.limit, MAX_REPLICA_PAGE - SPARE)))
        replicas = []
        for held in listed[:MAX_REPLICA_PAGE]:
            try:
                replicas.append(DescribedReplica(held, await self._described(held)))
            except (ReplicaCorrupt, ReplicaNotFound, Unreadable):
                continue  # it is set aside, or was removed meanwhile
        unreadable = len(listed) - len(replicas)
        return ReplicaPage(self._node, self._founding.known, upto, tuple(replicas), unreadable)

    async def _described(self, held: HeldReplica) -> Description | None:
        reading = await self._store.open_reader(ChunkRef(held.file_id, held.index, held.generation))
        try:
            return reading.footer.description
        finally:
            reading.close()

    async def adopt(self, request: AdoptCluster) -> Done:
        """Stay with the cluster of ``request.founding`` from the next start on.  Raises Forbidden, WrongCluster,
        DiskFailed."""
        known = self._founding.known
        if known in (request.founding, b""):
            return Done()  # it is done, or nothing is to be left
        if known != request.former:
            raise WrongCluster(f"{self._node} belongs to the cluster of founding {known.hex()}")
        heard = self._heard()
        silent = None if heard is None else self._seconds() - heard
        if silent is not None and silent < SILENCE:
            raise Forbidden(
                f"the metadata that {self._node} belongs to is alive: it answered {silent:.0f} s ago",
                hint="a rebuild is for metadata that is lost; stop its nodes if they are to be given up",
            )
        await self._founding.change(request.founding)
        self._end(ENDING, f"{self._node} belongs to the rebuilt cluster now: start it again")
        return Done()
