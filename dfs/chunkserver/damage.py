"""What becomes of a replica that was read wrongly: read once more, then set aside and told (S11).

- *Whole at the second look*, through a new descriptor: it stays.  What a bad cable spoiled is not the disk's.
- *Corrupt*: it goes to the quarantine.
- *Unreadable* (EIO): it goes to the quarantine as well, and the disk is not given up for one bad sector.  More than
  MOST_UNREADABLE since the start tell of the disk, not of replicas: then files stay where they are and are only taken
  off the list, so that a start that can read them finds them again, and the node says that it is in trouble.
- *Missing*: its name is gone without our doing; it is taken off the list.

Nobody is told before the replica is off the list, and the word carries the number of its add, so that it proves
nothing of a replica that was made later (S06).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.logger import Logger

from dfs.chunkserver import reading
from dfs.chunkserver.errors import CorruptPiece, Unreadable
from dfs.chunkserver.footer import Footer
from dfs.protocol.errors import DFSError, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.messages import DamageKind, HeldReplica
from dfs.protocol.values import ChunkRef

if TYPE_CHECKING:
    from dfs.chunkserver.store import ChunkStore

_log = Logger()

MOST_UNREADABLE = 8
"""Unreadable replicas since the start that are set aside; with more the disk is in trouble."""

SLOW = 10.0
"""Seconds after which a call that has not ended tells that the disk is in trouble (S23)."""

TROUBLED = 3
"""With this many unreadable replicas since the start the node says that its disk is in trouble."""


@frozen
class Damage:
    """``offset`` is that of the first bad piece, None where it is not known."""

    replica: HeldReplica
    kind: DamageKind
    offset: int | None


class Doubts:
    """Judges replicas of one store.

    :ivar unreadable, rotten: replicas found so since the start; ``rotten`` are corrupt ones.
    :ivar on_damage: told of each replica that is off the list.
    """

    def __init__(self, store: ChunkStore, node: str) -> None:
        self.unreadable = 0
        self.rotten = 0
        self.on_damage: Callable[[Damage], None] = lambda damage: None
        self._store, self._node = store, node

    @property
    def trouble(self) -> str:
        """Why the node had better get nothing new; "" for nothing."""
        if self._store.waited > SLOW:
            return f"its disk has not answered for more than {SLOW:g} s"
        if self.unreadable < TROUBLED:
            return ""
        return f"its disk could not read {self.unreadable} replicas since the start"

    async def settle(self, ref: ChunkRef, why: str) -> Footer | None:
        """Look again, alone with the replica: its footer where it is whole after all, None where it is off the list.
        Raises DiskFailed where the disk fails in another way: no verdict."""
        store = self._store
        async with store.locks.alone(ref):
            held = store.index.get(ref)
            if held is None:
                return None
            try:
                footer: Footer = await store.run(
                    reading.verify, store.disk, store.layout, ref, store.index.place(ref)
                )
                _log.warn("{node} read {ref} wrongly once, and it is whole: {why}", node=self._node, ref=ref, why=why)
                return footer
            except (ReplicaCorrupt, ReplicaNotFound, Unreadable) as error:
                damage = Damage(held, _kind(error), _offset(error))
                why = f"{why}; then {error}"
            _log.error(
                "{node} takes {ref} off its list, {kind} at offset {offset}: {why}",
                node=self._node,
                ref=ref,
                kind=damage.kind.name.lower(),
                offset=damage.offset,
                why=why,
            )
            await self._take_off(ref, damage)
        self.on_damage(damage)
        return None

    async def _take_off(self, ref: ChunkRef, damage: Damage) -> None:
        """Off the list, then into the quarantine.  Where the file cannot be moved it stays, and the next start judges
        it again."""
        store = self._store
        self.rotten += damage.kind is DamageKind.CORRUPT
        self.unreadable += damage.kind is DamageKind.UNREADABLE
        number = await store.numbers.take()
        try:
            place = store.index.place(ref)
            store.index.remove(ref)
            if damage.kind is DamageKind.MISSING and place is not None:
                await store.packing.forsake(place.segment)
            if damage.kind is DamageKind.MISSING or self.unreadable > MOST_UNREADABLE:
                return
            await store.move_aside(damage.replica, place, damage.kind.name.lower())
        except DFSError as error:
            _log.error("{node} cannot set {ref} aside: {error}", node=self._node, ref=ref, error=error)
        finally:
            store.numbers.settle(number)


def _kind(error: DFSError) -> DamageKind:
    if isinstance(error, Unreadable):
        return DamageKind.UNREADABLE
    return DamageKind.MISSING if isinstance(error, ReplicaNotFound) else DamageKind.CORRUPT


def _offset(error: DFSError) -> int | None:
    return error.offset if isinstance(error, CorruptPiece | Unreadable) else None
