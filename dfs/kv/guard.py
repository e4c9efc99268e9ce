"""What every engine checks before it works: limits, open or closed, and that nothing failed before.

The first error of an engine is final (DESIGN of every write-ahead system after
Rebello et al., ATC 2020): what is on disk is then unknown, so the store refuses
all that follows and its node stops, recovers from the log or from its peers.
A failed sync is remembered in the folder too, until the machine has started anew: an engine that recovered on the
same kernel would build on pages that a power cut takes away (R27, S31).  A full disk is no such failure.
"""

from __future__ import annotations

from attrs import define

from dfs.disk import suspicion
from dfs.disk.errors import SyncFailed
from dfs.disk.interfaces import IDisk
from dfs.kv.errors import LimitExceeded, StoreClosed, StoreCorrupt, StoreError, StoreFailed
from dfs.kv.interfaces import MAX_BATCH, MAX_KEY, MAX_VALUE, Batch


@define
class Guard:
    """The life of one store: open, then closed or failed.  ``name`` opens each sentence."""

    name: str
    disk: IDisk | None
    folder: str
    failure: str | None = None
    is_closed: bool = False

    def check(self) -> None:
        """Raise StoreFailed after a failure, StoreClosed after the close."""
        if self.failure is not None:
            raise StoreFailed(self.failure)
        if self.is_closed:
            raise StoreClosed(f"{self.name}: is closed")

    def fail(self, error: Exception) -> StoreError:
        """Remember the first failure; return what to raise from ``error`` (corruption keeps its own class)."""
        if isinstance(error, SyncFailed) and self.disk is not None:
            suspicion.leave(self.disk, self.folder)
        if self.failure is None:
            self.failure = str(error) if isinstance(error, StoreError) else f"{self.name}: {error}"
        return StoreCorrupt(self.failure) if isinstance(error, StoreCorrupt) else StoreFailed(self.failure)


def check_batch(batch: Batch) -> int:
    """The bytes of keys and values; raise LimitExceeded before anything is changed."""
    total = 0
    for key, value in batch.changes.items():
        if not 0 < len(key) <= MAX_KEY:
            raise LimitExceeded(f"a key has {len(key)} bytes; 1 to {MAX_KEY} are allowed")
        total += len(key)
        if value is not None:
            if len(value) > MAX_VALUE:
                raise LimitExceeded(f"a value has {len(value)} bytes; at most {MAX_VALUE} are allowed")
            total += len(value)
    if total > MAX_BATCH:
        raise LimitExceeded(f"a batch has {total} bytes; at most {MAX_BATCH} are allowed")
    return total
