"""The leader follows its own tables: events of the state machine become looks, changes of nodes become views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.records import NodeRecord, Standing
from dfs.metaserver.records_moving import LifeRecord
from dfs.metaserver.transaction import Event, FileEnded, NodeChanged, ShortChunk, UploadBegan, UploadCommitted
from dfs.metaserver.uploads import RECOVERED

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm


class Following:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self._followed = -1

    async def load_nodes(self) -> None:
        """All nodes of the tables; each gets a full time-out from now (S02).  What this process knew of a node that was
        removed meanwhile is forgotten."""
        after, gone = 0, set(self._seams.roster.numbers())
        while page := await self._seams.reader.look(_lives_page, after):
            for number, record, life in page:
                self._recorded(number, record, life)
                gone.discard(number)
            after = page[-1][0]
        for number in sorted(gone):
            self._term.forget(number)

    async def load_uploads(self) -> None:
        """All uploads of the tables; each that was not known gets a full term from now."""
        after = 0
        while page := await self._seams.reader.look(queries.uploads_page, after):
            for file_id, upload in page:
                if upload.epoch != RECOVERED:
                    self._term.leases.began(file_id, upload.epoch, self._term.now_ms())
            after = page[-1][0]

    def _recorded(self, number: int, record: NodeRecord, life: LifeRecord) -> None:
        self._seams.roster.recorded(number, record, life)
        self._term.liveness.known(number, record.standing == Standing.DEAD, self._seams.seconds())

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        applied = self._seams.reader.applied
        if applied == self._followed:
            return False  # nothing happened
        events, overflowed = await self._seams.reader.look(self._take)
        self._followed = applied
        if not self._term.active:
            return False
        if overflowed:
            await self.load_nodes()
            await self.load_uploads()
            self._term.repair.planner.start(self._term.repair.views())
        for event in events:
            await self._happened(event)
        if events:
            self._term.repair_duty.nudge()
        return False

    def _take(self, _store: IKeyValueStore) -> tuple[tuple[Event, ...], bool]:
        """On the lane."""
        return self._seams.machine.take_events()

    async def _happened(self, event: Event) -> None:
        term = self._term
        if isinstance(event, ShortChunk):
            term.repair.planner.short(event.file_id, event.index)
        elif isinstance(event, UploadBegan):
            term.leases.began(event.file_id, event.epoch, term.now_ms())
        elif isinstance(event, UploadCommitted):
            term.leases.ended(event.file_id)
        elif isinstance(event, FileEnded):
            term.leases.ended(event.file_id)
            term.collecting.collector.ended(event.file_id)
        elif isinstance(event, NodeChanged):
            record, life = await self._seams.reader.look(_life, event.node)
            if record is not None:
                self._recorded(event.node, record, life)
                term.judging.changed(event.node)
            else:
                term.forget(event.node)


def _life(store: IKeyValueStore, number: int) -> tuple[NodeRecord | None, LifeRecord]:
    return queries.node(store, number), queries.life(store, number)


def _lives_page(store: IKeyValueStore, after: int) -> list[tuple[int, NodeRecord, LifeRecord]]:
    return [(number, record, queries.life(store, number)) for number, record in queries.nodes_page(store, after)]
