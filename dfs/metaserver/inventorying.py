"""Asks for inventories, a few at a time, and brings the records in line with what is held (S06, S16).

Each node is asked once in each leadership when its process is new to this leader, and again now and then.  What is
missing is struck off only under the very number that was recorded; what is held and unknown is counted and left alone.

A node sends digests of ranges first, and lists only those that differ from the record: equal ones need no word.  An
inventory is whole when equal ranges and pages together cover everything, from the first place to the last.

No order to delete goes to a node before this leader has seen its whole inventory, and none to any node once one of them
holds what this history never issued: then metadata was put back to an older state, and its file ids may mean the bytes
of files that it has forgotten (S16).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.logger import Logger

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import MAX_COMMITS, AddReplicas, RemoveReplicas
from dfs.metaserver.inventories import compare, is_recorded
from dfs.metaserver.tables import LAST_PLACE
from dfs.protocol.messages import CompareInventory, Inventory, InventoryDiffers, InventoryTaken

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

_log = Logger()

AT_ONCE = 4  # nodes that send one at a time
GIVE_UP = 120.0  # seconds without a page: its turn is over
EVERY = 6 * 3600.0  # seconds between two of one node
QUIET = 2.0  # seconds from the last file that a rebuild recorded until inventories are asked for
SETTLING = 600.0  # seconds for which healing waits for these inventories at most
MAX_RANGE = 8192  # replicas in a range that is compared; a longer one is listed
FIRST_PLACE = bytes(12)  # where every inventory begins


@define
class _Turn:
    """``unknown`` counts what the pages of this inventory held and metadata does not know.  Everything up to
    ``covered`` is compared, and so are the ``spans`` above it, end by beginning.  ``cut``: the node's connection broke,
    so it is asked anew."""

    heard: float
    unknown: int = 0
    covered: bytes = FIRST_PLACE
    cut: bool = False
    spans: dict[bytes, bytes] = field(factory=dict)

    def begin(self) -> None:
        """The node begins anew."""
        self.unknown, self.covered = 0, FIRST_PLACE
        self.spans.clear()

    def cover(self, after: bytes, upto: bytes) -> None:
        """This range is compared."""
        self.spans[after] = upto
        while self.covered in self.spans:
            self.covered = self.spans.pop(self.covered)


FUTURE_ALARM = "replicas from the future"


class Inventorying:
    """:param term: the leadership that it belongs to."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self._due: dict[int, float] = {}
        self._turns: dict[int, _Turn] = {}
        self._seen: set[int] = set()
        self._is_behind = False
        self._all_are_due = self._is_recovering = False
        self._quiet_at = 0.0
        self._seams.alarms.clear(FUTURE_ALARM)  # of a former leadership of ours; it is found again where it still holds

    def wanted(self, node: int) -> None:
        """The node may hold other replicas than recorded: its turn comes soon."""
        self._due[node] = 0.0
        self._seen.discard(node)
        self._turns.pop(node, None)

    def registered(self, node: int, is_new_process: bool) -> None:
        """It did so because it is new, or because its connection broke: then what it was sending ended there."""
        turn = self._turns.get(node)
        if is_new_process:
            self.wanted(node)
        elif turn is not None:
            turn.cut = True

    def recovered(self) -> None:
        """A rebuild recorded files, at no node yet: once it is quiet every node is asked what it holds of them."""
        self._quiet_at = self._seams.seconds() + QUIET
        self._all_are_due = self._is_recovering = True
        self._seen.clear()

    def is_settled(self, nodes: Iterable[int]) -> bool:
        """Whether all of ``nodes`` have told what they hold of the files that a rebuild recorded: copies that are made
        before would be of chunks that only seem short.  It is not waited for without end."""
        if self._is_recovering:
            told = not self._all_are_due and all(node in self._seen for node in nodes)
            self._is_recovering = not told and self._seams.seconds() < self._quiet_at + SETTLING
        return not self._is_recovering

    def may_delete(self, node: int) -> bool:
        """Whether orders to delete may go to the node."""
        return node in self._seen and not self._is_behind

    def ask(self, node: int) -> bool:
        """Whether the answer to this beat asks for a full inventory."""
        now = self._seams.seconds()
        for other in [other for other, turn in self._turns.items() if now - turn.heard >= GIVE_UP]:
            del self._turns[other]
            self._due[other] = now
        turn = self._turns.get(node)
        if turn is not None and turn.cut:
            turn.cut, turn.heard = False, now
            return True
        if self._all_are_due:
            if now < self._quiet_at or self._turns:
                return False  # an inventory that is on its way was begun before the last file was recorded
            self._all_are_due = False
            self._due.clear()
            self._seen.clear()
        if node in self._turns or now < self._due.get(node, 0.0) or len(self._turns) >= AT_ONCE:
            return False
        self._turns[node] = _Turn(now)
        self._due[node] = now + EVERY
        return True

    async def compared(self, request: CompareInventory) -> InventoryDiffers:
        """Which ranges the node has to list, a range a turn of the tables' lane.  Raises DFSError."""
        turn, after = self._turn(request.node), request.after
        differing: list[int] = []
        equal: list[tuple[bytes, bytes]] = []
        if after == FIRST_PLACE:
            turn.begin()
        for at, told in enumerate(request.ranges):
            fits = after < told.upto and told.count <= MAX_RANGE
            if fits and await self._seams.reader.look(is_recorded, request.node, after, told):
                equal.append((after, told.upto))
            else:
                differing.append(at)
            self._term.check()
            after = told.upto
        for span in equal:
            turn.cover(*span)
        self._end_if_whole(request.node, turn)
        return InventoryDiffers(tuple(differing))

    def _turn(self, node: int) -> _Turn:
        turn = self._turns.setdefault(node, _Turn(0.0))
        turn.heard = self._seams.seconds()
        return turn

    async def taken(self, page: Inventory) -> InventoryTaken:
        """Compare a page, a bounded part of it at a time, and propose the differences.  Raises DFSError."""
        missing = added = unknown = 0
        after: bytes | None = None
        while True:
            found = await self._seams.reader.look(compare, page, after)
            self._term.check()
            for first in range(0, len(found.missing), MAX_COMMITS):
                items = found.missing[first : first + MAX_COMMITS]
                missing += (await self._propose(RemoveReplicas(page.node, page.number, items))).count
            for first in range(0, len(found.found), MAX_COMMITS):
                added += (await self._propose(AddReplicas(found.found[first : first + MAX_COMMITS]))).count
            unknown += found.unknown
            for held in found.stale:
                self._term.trims.offer_stale(page.node, held)
            if found.future:
                self._behind(page.node, found.future)
            after = found.after
            if after is None:
                break
        self._note(page, unknown)
        return InventoryTaken(unknown, missing, added)

    async def _propose(self, command: RemoveReplicas | AddReplicas) -> Changed:
        changed = await self._seams.proposer.propose(command, Changed)
        self._term.check()
        return changed

    def _name(self, node: int) -> str:
        entry = self._seams.roster.entry(node)
        return entry.record.name if entry is not None else str(node)

    def _behind(self, node: int, count: int) -> None:
        """Until this leadership ends nothing is deleted, whatever else is found."""
        sentence = (
            f"{self._name(node)} holds {count} replicas that metadata has not issued yet: metadata was put back to an "
            "older state; nothing is deleted"
        )
        if not self._is_behind:
            _log.critical("{sentence}", sentence=sentence)
        self._is_behind = True
        self._seams.alarms.set(FUTURE_ALARM, sentence)

    def _note(self, page: Inventory, unknown: int) -> None:
        turn = self._turn(page.node)
        if page.after == FIRST_PLACE and turn.covered == FIRST_PLACE:
            turn.unknown = 0
        turn.unknown += unknown
        turn.cover(page.after, page.upto)
        self._end_if_whole(page.node, turn)

    def _end_if_whole(self, node: int, turn: _Turn) -> None:
        if turn.covered != LAST_PLACE or self._turns.get(node) is not turn:
            return
        del self._turns[node]
        self._seen.add(node)
        name = self._name(node)
        key = f"unknown replicas {node}"
        if turn.unknown:
            self._seams.alarms.set(
                key, f"{name} holds {turn.unknown} replicas that metadata has no record of; they are kept"
            )
        else:
            self._seams.alarms.clear(key)
