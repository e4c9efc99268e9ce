"""Leases of uploads, in the leader's memory (S40).

A lease says that a writer is alive.  It is renewed without an entry in the log; a new leader grants each upload a
full term. An upload is given up a day (DFS_UPLOAD_TTL) after its lease lapsed, by a command that names the epoch.
Times are cluster time in ms, which stands still while nobody leads.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from attrs import define

from dfs.metaserver.answers import LEASE_MS
from dfs.protocol.errors import StaleEpoch, UploadGone

UPLOAD_TTL_MS = 86_400_000
MAX_ENDED = 1_000  # entries of ended uploads in the heap, beyond as many as there are leases
RETRY_MS = 60_000  # an expiry whose command failed is proposed again after that


@define
class _Lease:
    epoch: int
    due_ms: int


class LeaseTable:
    """One entry an upload, one in the heap; renewals touch no heap.  Entries of uploads that ended stay there
    until they are most of it: then it is made anew."""

    def __init__(self, ttl_ms: int = UPLOAD_TTL_MS, lease_ms: int = LEASE_MS) -> None:
        self._term_ms = ttl_ms + lease_ms
        self._lease_ms = lease_ms
        self._leases: dict[int, _Lease] = {}
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def granted(self, file_id: int, epoch: int, now_ms: int) -> None:
        """An upload began, was resumed, or is found in the tables by a new leader."""
        due = now_ms + self._term_ms
        if file_id not in self._leases:
            heappush(self._heap, (due, file_id))
        self._leases[file_id] = _Lease(epoch, due)

    def began(self, file_id: int, epoch: int, now_ms: int) -> None:
        """The tables tell of an upload: who asked for it may be gone before anybody could answer.  A writer that is
        known already keeps its term."""
        lease = self._leases.get(file_id)
        if lease is None or lease.epoch < epoch:
            self.granted(file_id, epoch, now_ms)

    def renew(self, file_id: int, epoch: int, now_ms: int) -> int:
        """The new term in ms.  Raises UploadGone, StaleEpoch."""
        lease = self._leases.get(file_id)
        if lease is None:
            raise UploadGone("the upload was deleted, aborted or has expired", hint="start it again")
        if lease.epoch != epoch:
            raise StaleEpoch("another writer resumed this upload", hint="resume it again to take it back")
        lease.due_ms = now_ms + self._term_ms
        return self._lease_ms

    def ended(self, file_id: int) -> None:
        """Committed, aborted, deleted or expired; idempotent."""
        self._leases.pop(file_id, None)
        if len(self._heap) > 2 * len(self._leases) + MAX_ENDED:
            self._heap = [(lease.due_ms, number) for number, lease in self._leases.items()]
            heapify(self._heap)

    def expired(self, now_ms: int, limit: int = 100) -> list[tuple[int, int]]:
        """(file id, epoch) of at most ``limit`` uploads to propose ExpireUpload for."""
        found: list[tuple[int, int]] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < limit:
            _due, file_id = self._heap[0]
            lease = self._leases.get(file_id)
            if lease is None:
                heappop(self._heap)
                continue
            if lease.due_ms <= now_ms:
                found.append((file_id, lease.epoch))
                lease.due_ms = now_ms + RETRY_MS
            heapreplace(self._heap, (lease.due_ms, file_id))
        return found
