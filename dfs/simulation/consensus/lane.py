"""The way of a member's writes to its disk: one sync at a time, what comes meanwhile gathers for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from dfs.raft.core import Ready

if TYPE_CHECKING:
    from dfs.simulation.consensus.member import Member


@frozen
class Compaction:
    """Asked of the disk, in order with the writes; ``configuration`` counts as of ``index``."""

    index: int
    configuration: bytes


Item = Ready | Compaction


class Lane:
    """See the module.

    :ivar syncing: what the sync under way covers.
    :ivar began: when it began.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._queue: list[Item] = []
        self.syncing: list[Item] = []
        self.began = 0

    def submit(self, item: Item) -> None:
        """Write it after all before it."""
        self._queue.append(item)
        self._begin()

    def latency(self) -> int:
        """How long the disk takes now."""
        member = self._member
        store, draw = member.store, member.around.chance.random
        delay = store.least + int(draw() * (store.spread + 1))
        if member.around.agenda.now < member.slow_until:
            delay += int(draw() * member.slowness)
        return delay

    def cut_off(self, share: float) -> None:
        """The process dies: so much of what was being synced has reached the disk."""
        for item in self.syncing[: int(share * (len(self.syncing) + 1))]:
            self._write(item)

    def _begin(self) -> None:
        """Begin a sync if none is under way; what waits for no write of its own passes at once."""
        member, queue = self._member, self._queue
        while queue and not self.syncing:
            first = queue[0]
            if isinstance(first, Ready) and not first.writes:
                del queue[0]
                member.send_all(first.messages_after)
                continue
            batch = member.store.batch
            self.syncing, queue[:batch] = queue[:batch], []
            self.began = member.around.agenda.now
            member.around.agenda.after(self.latency(), self._done, member.life)
            if member.fuse and member.burns("written"):
                return

    def _write(self, item: Item) -> None:
        member = self._member
        if isinstance(item, Ready):
            member.disk.write(item)
            member.around.checker.synced(member)
        else:
            member.disk.compact(item.index, item.configuration)

    def _done(self, life: int) -> None:
        member = self._member
        if life != member.life:
            return
        batch, self.syncing = self.syncing, []
        for item in batch:
            self._write(item)
        member.around.note("synced", member.name, len(batch), member.disk.last_index)
        self._noticed(batch)

    def _noticed(self, batch: list[Item]) -> None:
        """The loop learns that the disk has a batch."""
        member = self._member
        agenda, life = member.around.agenda, member.life
        if agenda.now < member.paused_until:
            member.when_awake(self._noticed, batch)
            return
        if member.fuse and member.burns("synced"):
            return
        self._begin()
        if life == member.life:
            member.synced(batch)
