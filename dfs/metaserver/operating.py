"""What operators ask: nodes and their states, rebalancing, events.  Everything that changes something is one command.

A dry run answers what would follow and proposes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from dfs.metaserver import commands_moving as moving
from dfs.metaserver import eventlog
from dfs.metaserver.answers import Changed
from dfs.metaserver.evened import evened
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.records import Standing
from dfs.metaserver.records_moving import Balancing, CareRecord, Wish
from dfs.metaserver.redundancy import allowed, redundancy
from dfs.metaserver.roster import ChunkServerEntry
from dfs.metaserver.seams import Seams
from dfs.protocol.errors import BadRequest
from dfs.protocol.limits import MAX_CHUNK_SERVERS, MAX_PAGE, MAX_PAUSED
from dfs.protocol.messages import (
    ChangeNode,
    EventPage,
    GetRedundancy,
    ListEvents,
    ListNodes,
    NodeAnswer,
    NodeChange,
    NodeFill,
    NodeInfo,
    NodePage,
    Rebalance,
    RebalanceAction,
    Rebalanced,
    Redundancy,
)
from dfs.protocol.values import NodeNumber, NodeState

MAX_THRESHOLD = 500  # per mille


class Operating:
    """:param leading: the present leadership; raises DFSError where there is none."""

    def __init__(self, seams: Seams, leading: Callable[[], LeaderTerm]) -> None:
        self._seams, self._leading = seams, leading

    # ---- nodes

    async def list_nodes(self, request: ListNodes) -> NodePage:
        """See ListNodes."""
        term = self._leading()
        _check_limit(request.limit)
        numbers = sorted(number for number in self._seams.roster.numbers() if number > request.after)
        page = numbers[: request.limit]
        after = page[-1] if len(numbers) > len(page) else None
        infos = (self._info(term, number) for number in page)
        return NodePage(tuple(info for info in infos if info is not None), after, term.now_ms())

    def _info(self, term: LeaderTerm, number: int) -> NodeInfo | None:
        entry = self._seams.roster.entry(number)
        if entry is None:
            return None
        left = term.repair.planner.drains.left(number)
        is_removing = entry.life.wish == Wish.REMOVE
        return NodeInfo(
            node=NodeNumber(number),
            name=entry.record.name,
            address=entry.record.address,
            rack=entry.record.rack,
            state=term.state(number),
            removing=is_removing,
            total=entry.total,
            free=entry.free,
            used=entry.used,
            chunks=entry.record.chunks,
            bytes=entry.record.bytes,
            streams=entry.streams,
            client_rate=entry.client_rate,
            until_ms=entry.life.until_ms,
            left_chunks=entry.record.chunks if is_removing else left.chunks,
            left_bytes=entry.record.bytes if is_removing else left.bytes,
            rate=term.repair.planner.drains.rate(number, self._seams.seconds()),
        )

    async def change_node(self, request: ChangeNode) -> NodeAnswer:
        """See ChangeNode.  Raises BadRequest where it cannot be."""
        term = self._leading()
        await term.following.round()  # so that it is judged as it is now
        term.check()
        number = self._seams.roster.named(request.name)
        entry = self._seams.roster.entry(number) if number is not None else None
        if number is None or entry is None:
            raise BadRequest(f"there is no chunk server {request.name!r}", hint="see `dfs node list`")
        sentences = self._prospect(term, number, entry, request)
        if not request.dry_run:
            await self._seams.proposer.propose(self._command(term, number, request), Changed)
            term.check()
            await term.following.round()
        info = self._info(term, number)
        assert info is not None  # a node is forgotten by a later step
        return NodeAnswer(info, sentences)

    def _command(self, term: LeaderTerm, number: int, request: ChangeNode) -> moving.MovingCommand:
        match request.change:
            case NodeChange.DRAIN:
                return moving.DrainNode(number)
            case NodeChange.UNDRAIN:
                return moving.UndrainNode(number)
            case NodeChange.MAINTENANCE:
                return moving.BeginMaintenance(number, term.now_ms() + request.duration_ms)
            case NodeChange.END_MAINTENANCE:
                return moving.EndMaintenance(number, False)
            case NodeChange.REMOVE:
                return moving.RemoveNode(number)

    def _prospect(self, term: LeaderTerm, number: int, entry: ChunkServerEntry, request: ChangeNode) -> tuple[str, ...]:
        name, record = entry.record.name, entry.record
        match request.change:
            case NodeChange.DRAIN:
                return self._drain_prospect(term, number, entry)
            case NodeChange.UNDRAIN:
                return (f"{name} takes new chunks again; what was copied elsewhere meanwhile is trimmed",)
            case NodeChange.MAINTENANCE:
                seconds = request.duration_ms // 1000
                return (f"{name} may be away for {seconds} s: nothing is healed because of it until then",)
            case NodeChange.END_MAINTENANCE:
                return (f"{name} is watched like any other node again",)
            case NodeChange.REMOVE:
                if record.standing not in (Standing.DRAINED, Standing.DEAD):
                    raise BadRequest(f"{name} is neither drained nor dead", hint=f"first: dfs node drain {name}")
                return (f"{name} is forgotten once each of its {record.chunks} chunks is whole elsewhere",)

    def _drain_prospect(self, term: LeaderTerm, number: int, entry: ChunkServerEntry) -> tuple[str, ...]:
        others = [view for view in term.repair.views() if view.number != number and view.state is NodeState.ALIVE]
        record, free = entry.record, sum(view.free for view in others)
        sentences = [f"{record.chunks} chunks with {record.bytes} bytes get another place; {record.name} keeps its own"]
        if free < record.bytes:
            sentences.append(f"the other nodes have {free} bytes free: too few, what finds no place waits")
        if not others:
            sentences.append("there is no other node that is alive: the drain cannot end")
        return tuple(sentences)

    # ---- balance

    async def rebalance(self, request: Rebalance) -> Rebalanced:
        """See Rebalance."""
        term = self._leading()
        care = await self._seams.reader.look(eventlog.care)
        wished = _wished(request, care)
        if wished != (care.balancing, care.threshold) and not request.dry_run:
            await self._seams.proposer.propose(moving.SetBalancing(*wished), Changed)
            term.check()
        balancing, threshold = wished
        balance = term.caring.weighed(threshold)
        moved = await evened(self._seams.reader)
        fills = sorted(balance.fills, key=lambda fill: -fill.permille)[:MAX_CHUNK_SERVERS]
        names = {fill.number: self._seams.roster.entry(fill.number) for fill in fills}
        return Rebalanced(
            running=balancing == Balancing.ON,
            paused=balancing == Balancing.PAUSED,
            threshold=threshold,
            chunks=moved.chunks,
            bytes=moved.bytes,
            left_bytes=balance.left_bytes,
            rate=term.repair.balancing.rate(self._seams.seconds()),
            nodes=tuple(
                NodeFill(entry.record.name, fill.permille, fill.surplus, fill.lack)
                for fill in fills
                if (entry := names[fill.number]) is not None
            ),
        )

    # ---- what lacks copies

    async def redundancy(self, request: GetRedundancy) -> Redundancy:
        """See GetRedundancy."""
        term = self._leading()
        planner, now = term.repair.planner, self._seams.seconds()
        limits = allowed(term.repair.pace, term.repair.views())
        meter = term.repair.healing
        return redundancy(planner.debt(), planner.work(), meter.rate(now), meter.usual, limits, self._paused(term))

    def _paused(self, term: LeaderTerm) -> tuple[str, ...]:
        """What waits for an operator or for time."""
        found = []
        if term.caring.care.balancing == Balancing.PAUSED:
            found.append("rebalancing is paused: dfs rebalance --resume")
        waits = 0
        for number in self._seams.roster.numbers():
            entry, state = self._seams.roster.entry(number), term.state(number)
            if entry is not None and state is NodeState.MAINTENANCE and len(found) < MAX_PAUSED - 1:
                seconds = max(0, entry.life.until_ms - term.now_ms()) // 1000
                found.append(f"nothing is healed because of {entry.record.name}: maintenance for {seconds} s more")
            waits += state is not NodeState.DEAD and not term.inventorying.may_delete(number)
        if waits:
            found.append(f"deletion waits for the inventory of {waits} chunk servers")
        return tuple(found)

    # ---- events

    async def list_events(self, request: ListEvents) -> EventPage:
        """See ListEvents."""
        self._leading()
        _check_limit(request.limit)
        return await self._seams.reader.read(eventlog.page, request.after, request.limit)


def _wished(request: Rebalance, care: CareRecord) -> tuple[int, int]:
    """(balancing, threshold) after the request.  Raises BadRequest."""
    match request.action:
        case RebalanceAction.START:
            if not 1 <= request.threshold <= MAX_THRESHOLD:
                raise BadRequest(f"a threshold is from 0.1 to {MAX_THRESHOLD / 10:g} per cent")
            return int(Balancing.ON), request.threshold
        case RebalanceAction.STOP:
            return int(Balancing.OFF), care.threshold
        case RebalanceAction.PAUSE if care.balancing == Balancing.ON:
            return int(Balancing.PAUSED), care.threshold
        case RebalanceAction.RESUME if care.balancing == Balancing.PAUSED:
            return int(Balancing.ON), care.threshold
        case _:
            return care.balancing, care.threshold


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest(f"a page has 1 to {MAX_PAGE} entries, not {limit}")
