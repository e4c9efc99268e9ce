"""Which nodes could begin a move now, and where it could go: kept up to date by what changed, never by a walk over all.

A node leaves when its streams are taken or its rate is used up, and comes back when a move ends, when a beat tells of
room, or at the time at which its rate allows another one.  Pure, leader-local.
"""

from __future__ import annotations

from heapq import heappop, heappush

from attrs import evolve

from dfs.metaserver.ground import Ground
from dfs.metaserver.placement import RESERVE, NodeView, has_room, weigh
from dfs.metaserver.streams import Streams
from dfs.protocol.values import MAX_CHUNK_SIZE, NodeState

LEAST_WAIT = 0.001  # seconds until a node that its rate holds up is looked at again


class IdleNodes:
    """:ivar board: the nodes that are not dead.
    :ivar nodes: those of them that may begin a move.
    :ivar targets: of these, the ones that are alive and take any chunk; weighed with the moves that run there.
    :ivar ground: all that are alive and take any chunk, idle or not.
    :ivar others: all that take some chunk only, or only where nobody else does.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.board: dict[int, NodeView] = {}
        self.nodes: set[int] = set()
        self.targets, self.ground = Ground(), Ground()
        self.others: set[int] = set()
        self._wakes: list[tuple[float, int]] = []
        self._asleep: set[int] = set()  # those in it

    def changed(self, number: int, view: NodeView | None) -> None:
        """The node is this now, or gone."""
        self._streams.changed.add(number)
        if view is None or view.state is NodeState.DEAD:
            self.board.pop(number, None)
            self.others.discard(number)
            self.ground.drop(number)
            return
        self.board[number] = view
        takes_any = view.state is NodeState.ALIVE and has_room(view, MAX_CHUNK_SIZE)
        self.ground.put(number, view.rack, int(takes_any))
        if takes_any or not has_room(view, 0):
            self.others.discard(number)
        else:
            self.others.add(number)

    def refresh(self, now: float) -> None:
        """Look at the nodes where something changed, or whose time has come."""
        changed = self._streams.changed
        while self._wakes and self._wakes[0][0] <= now:
            number = heappop(self._wakes)[1]
            self._asleep.discard(number)
            changed.add(number)
        for number in sorted(changed):
            self._look(number, now)
        changed.clear()

    def _look(self, number: int, now: float) -> None:
        view, streams = self.board.get(number), self._streams
        if view is None or not streams.has_free(view):
            is_idle = False
        else:
            wait = streams.wait(view, now)
            is_idle = wait <= 0
            if not is_idle and number not in self._asleep:
                self._asleep.add(number)
                heappush(self._wakes, (now + max(wait, LEAST_WAIT), number))
        if not is_idle or view is None:
            self.nodes.discard(number)
            self.targets.drop(number)
            return
        self.nodes.add(number)
        takes_any = view.state is NodeState.ALIVE and view.free >= MAX_CHUNK_SIZE + RESERVE
        busy = streams.busy.get(number, 0)
        self.targets.put(number, view.rack, weigh(view, view.streams + busy) if takes_any else 0)

    def loaded(self, number: int) -> NodeView:
        """The node with the moves that run there."""
        view, busy = self.board[number], self._streams.busy.get(number, 0)
        return evolve(view, streams=view.streams + busy) if busy else view
