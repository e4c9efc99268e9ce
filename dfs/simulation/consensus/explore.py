"""Exhaustive search: every order of events within a scope, over the real core, each state once.

The network is a set of packets.  Any of them may be delivered next, so they overtake one another at will; one that is
never delivered is lost, and when there are more than the scope allows any one is lost.  A scope may allow a few packets
to be delivered twice.  States that differ by the names of the members only are one state.

Beside the members and packets a state holds what history must not forget: who led each term, and what was committed,
with the term in which it was known first.

``python -m dfs.simulation.consensus.explore --all`` searches every scope to its end and tells how many states it has.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

from attrs import frozen

from dfs.raft.core import HardState
from dfs.simulation.consensus.cells import (
    ACTIONS,
    CRASH,
    HEARTBEAT,
    LET_IN,
    PROMOTE,
    PROPOSE,
    REMOVE,
    SYNC,
    TIME_OUT,
    Cell,
    Cells,
    Packet,
)
from dfs.simulation.consensus.checks import Violated
from dfs.simulation.run import writer


@frozen
class Scope:
    """How far a search goes.

    :ivar terms: nobody campaigns beyond this term.
    :ivar entries: nobody proposes beyond this index.
    :ivar messages: in flight at most.
    :ivar crashes: of all members together; ``doubles`` are packets delivered twice.
    :ivar rounds: heartbeat rounds of each leader.
    :ivar instant_disks: every write is synced at once.
    :ivar candidates: the places of those who campaign.
    :ivar founders: so many of the members are founders, whose first entry says so, and any leader may change the
        membership; 0 where all vote for good.
    :ivar logs: terms of the entries that each member starts with; they also say how many members there are.
    """

    terms: int
    entries: int
    messages: int
    crashes: int = 0
    doubles: int = 0
    rounds: int = 0
    instant_disks: bool = False
    candidates: tuple[int, ...] = (0, 1, 2)
    logs: tuple[tuple[int, ...], ...] = ((), (), ())
    founders: int = 0


HANDOVERS = 1
"""Terms beyond the scope's that a leader which removes itself may begin by handing over."""

SCOPES = {
    "votes": Scope(terms=3, entries=0, messages=6, crashes=1),
    "replication": Scope(terms=2, entries=3, messages=3, crashes=1, candidates=(0, 1)),
    "leaders": Scope(terms=3, entries=3, messages=3, crashes=1, instant_disks=True, candidates=(0, 1)),
    "figure 8": Scope(4, 4, 3, instant_disks=True, candidates=(0, 2), logs=((1, 1), (1,), (1, 2))),
    "stale tail": Scope(3, 3, 4, rounds=2, instant_disks=True, candidates=(0,), logs=((1, 2), (1, 1, 1), (1,))),
    "late tail": Scope(4, 4, 3, rounds=1, instant_disks=True, candidates=(0, 1), logs=((1, 1, 1), (1, 2), (1,))),
    "growing": Scope(3, 6, 3, instant_disks=True, candidates=(0, 1), logs=((1,), (1,), ()), founders=2),
    "shrinking": Scope(3, 4, 3, instant_disks=True, candidates=(0, 1), logs=((1,), (1,), (1,)), founders=3),
    "doubles": Scope(terms=2, entries=2, messages=3, doubles=1, instant_disks=True, candidates=(0, 1)),
}


class State(NamedTuple):
    """A group's state: numbers of cells and packets, what is left of the scope, and what history must not forget.

    :ivar leaders: the place that led each term, -1 for none.
    :ivar committed: (term, term in which it was known first) of each entry known to be committed.
    """

    cells: tuple[int, ...]
    packets: tuple[int, ...]
    crashes: int
    doubles: int
    leaders: tuple[int, ...]
    committed: tuple[tuple[int, int], ...]


class Search:
    """One search.  Breadth first, so that the shortest way to a violation is found.

    :ivar count: states met; ``complete`` once there are no more.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.count = 0
        self.complete = False
        names = tuple("abcdefg"[: len(scope.logs)])
        self.cells = Cells(names, scope.instant_disks, scope.founders, message_bytes=1)
        self._names = names
        self._parents = array("q")
        self._steps = array("q")
        self._met: set[int] = set()  # as they came
        self._seen: set[int] = set()  # with names put in order
        self._renamings = self._symmetries()
        self._symbols: dict[object, int] = {}
        self._renamed: dict[tuple[int, int], int] = {}
        self._renamed_packets: dict[tuple[int, int], int] = {}
        self._colours: dict[int, int] = {}
        self._orders: dict[tuple[int, ...], tuple[int, ...]] = {}

    def _symmetries(self) -> list[tuple[tuple[int, ...], dict[str, str]]]:
        """The renamings under which the scope stays what it is: where each place goes."""
        scope, places = self.scope, range(len(self._names))
        found = []
        for image in permutations(places):
            same_logs = all(scope.logs[place] == scope.logs[image[place]] for place in places)
            same_candidates = {image[place] for place in scope.candidates} == set(scope.candidates)
            # With configurations in the log names are part of what is written.
            if same_logs and same_candidates and (not scope.founders or image == tuple(places)):
                found.append((image, {self._names[place]: self._names[image[place]] for place in places}))
        return found

    def run(self, states: int | None = None) -> None:
        """Search, up to about so many states; Violated tells the way to what is wrong."""
        scope = self.scope
        highest = max((term for log in scope.logs for term in log), default=0)
        cells = tuple(self.cells.start(place, HardState(highest), log) for place, log in enumerate(scope.logs))
        start = State(cells, (), scope.crashes, scope.doubles, (-1,) * (scope.terms + HANDOVERS + 1), ())
        frontier = [(start, self._new(start, -1, 0))]
        while frontier and (states is None or self.count < states):
            following = []
            for state, number in frontier:
                for step, after in self._successors(state, number):
                    fresh = self._new(after, number, step)
                    if fresh >= 0:
                        following.append((after, fresh))
            frontier = following
        self.complete = not frontier

    def _new(self, state: State, parent: int, step: int) -> int:
        """The number of a state that was not met before, else -1."""
        exact = hash(state)
        if exact in self._met:
            return -1
        self._met.add(exact)
        key = self._key(state)
        if key in self._seen:
            return -1
        self._seen.add(key)
        self._parents.append(parent)
        self._steps.append(step)
        self.count += 1
        return self.count - 1

    # Successors

    def _successors(self, state: State, number: int) -> Iterator[tuple[int, State]]:
        """Each state that one step leads to; a step is the input times the count of members, plus the place."""
        width = len(self._names)
        for packet in state.packets:
            place = self.cells.packets[packet].to
            for kept in (False, True)[: 1 + (state.doubles > 0)]:
                yield from self._step(state, number, place, packet, packet * width + place, kept)
        for place, cell_number in enumerate(state.cells):
            for action in self._actions(place, self.cells.cells[cell_number], state.crashes):
                yield from self._step(state, number, place, action, action * width + place, True)

    def _actions(self, place: int, cell: Cell, crashes: int) -> Iterator[int]:
        scope = self.scope
        if cell.pending:
            yield SYNC
        if crashes:
            yield CRASH
        if not cell.led and cell.term < scope.terms and place in scope.candidates:
            yield TIME_OUT
        if cell.led and len(cell.terms) < scope.entries:
            yield PROPOSE
            if scope.founders:
                for whom in range(len(self._names)):
                    yield from (LET_IN - whom, PROMOTE - whom, REMOVE - whom)
        if cell.led and cell.core.state.round < scope.rounds:
            yield HEARTBEAT

    def _step(
        self, state: State, number: int, place: int, given: int, step: int, kept: bool
    ) -> Iterator[tuple[int, State]]:
        try:
            move = self.cells.move(state.cells[place], given)
            if move is None:
                return
            packets = {packet for packet in state.packets if kept or packet != given}
            packets.update(move.sent)
            before, after = self.cells.cells[state.cells[place]], self.cells.cells[move.cell]
            cells = (*state.cells[:place], move.cell, *state.cells[place + 1 :])
            if after.term > self.scope.terms + HANDOVERS:
                return
            leaders, committed = self._judge(state, cells, place, before, after, given)
        except Exception as error:
            way = "\n".join(self.way(number, step))
            raise Violated(f"{type(error).__name__}: {error}\nafter\n{way}") from error
        is_dead, known = self.cells.is_dead, self.cells.packets
        alive = tuple(sorted(p for p in packets if known[p].to != place or not is_dead(known[p], after)))
        crashes = state.crashes - (given == CRASH)
        doubles = state.doubles - (given >= 0 and kept)
        many = self.scope.messages
        for chosen in combinations(alive, many) if len(alive) > many else (alive,):
            yield step, State(cells, chosen, crashes, doubles, leaders, committed)

    # Judgement

    def _judge(
        self, state: State, cells: tuple[int, ...], place: int, before: Cell, after: Cell, given: int
    ) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """What history remembers after the step, if nothing is wrong."""
        leaders, committed = state.leaders, state.committed
        name = self._names[place]
        if after.led and after.led != before.led:
            if leaders[after.led] not in (-1, place):
                raise Violated(f"election safety: {self._names[leaders[after.led]]} and {name} lead term {after.led}")
            leaders = (*leaders[: after.led], place, *leaders[after.led + 1 :])
            for index, (term, known) in enumerate(committed, 1):
                if known < after.led and after.terms[index - 1 : index] != (term,):
                    raise Violated(f"leader completeness: {name} leads {after.led} without {index}/{term}")
        if after.terms != before.terms:
            if after.led and after.led == before.led and after.terms[: len(before.terms)] != before.terms:
                raise Violated(f"leader append-only: {name} changed its log")
            self._match(cells, place, after)
        if after.commit < before.commit and given != CRASH:
            raise Violated(f"R18: the commit index of {name} went back from {before.commit} to {after.commit}")
        for index in range(before.commit + 1, after.commit + 1):
            term = after.terms[index - 1]
            if index > len(committed):
                committed = (*committed, (term, after.term))
            if committed[index - 1][0] != term:
                raise Violated(f"state-machine safety: {name} commits {index}/{term}, it was {committed[index - 1][0]}")
        if len(committed) > len(state.committed):
            if after.led and committed[-1][0] != after.led:
                raise Violated(f"R17: {name} commits {len(committed)} of term {committed[-1][0]} in {after.led}")
            self._held(cells, after, len(committed), committed[-1][0])
        return leaders, committed

    def _match(self, cells: tuple[int, ...], place: int, after: Cell) -> None:
        """Log matching: where two logs have equal terms at an index they are equal up to there."""
        for other, number in enumerate(cells):
            terms = self.cells.cells[number].terms
            for index in range(min(len(terms), len(after.terms)), 0, -1):
                if terms[index - 1] == after.terms[index - 1]:
                    if terms[:index] != after.terms[:index]:
                        raise Violated(f"log matching: {self._names[place]} and {self._names[other]} at {index}")
                    break

    def _held(self, cells: tuple[int, ...], by: Cell, index: int, term: int) -> None:
        disks = [self.cells.cells[cells[voter]].durable for voter in by.voters]
        holders = sum(durable[index - 1 : index] == (term,) for durable in disks)
        if 2 * holders <= len(disks):
            raise Violated(f"R21: {self._names[by.place]} commits {index}/{term}, durable on {holders} only")

    # Symmetry

    def _key(self, state: State) -> int:
        """Equal for states that differ by names only.  The renamings tried are those that put the members in the
        order of their colours, which is a member's state with all names left out: most often that is one."""
        colours = tuple(map(self._colour, state.cells))
        tried = self._orders.get(colours)
        if tried is None:
            tried = self._orders[colours] = self._sorting(colours)
        if len(tried) == 1:
            return self._key_under(state, tried[0])
        return min(self._key_under(state, which) for which in tried)

    def _colour(self, number: int) -> int:
        colour = self._colours.get(number)
        if colour is None:
            own = self._names[self.cells.cells[number].place]
            nobody = {name: "own" if name == own else "other" for name in self._names}
            value = self.cells.renamed_cell(number, nobody)
            colour = self._colours[number] = self._symbols.setdefault(value, len(self._symbols))
        return colour

    def _sorting(self, colours: tuple[int, ...]) -> tuple[int, ...]:
        orders: dict[tuple[int, ...], list[int]] = {}
        for which, (image, _) in enumerate(self._renamings):
            renamed = tuple(colours[image.index(place)] for place in range(len(colours)))
            orders.setdefault(renamed, []).append(which)
        return tuple(orders[min(orders)])

    def _key_under(self, state: State, which: int) -> int:
        image = self._renamings[which][0]
        cells = [0] * len(image)
        for place, number in enumerate(state.cells):
            known = self._renamed.get((number, which))
            cells[image[place]] = self._cell_symbol(number, which) if known is None else known
        packets = []
        for packet in state.packets:
            known = self._renamed_packets.get((packet, which))
            packets.append(self._packet_symbol(packet, which) if known is None else known)
        leaders = tuple(image[leader] if leader >= 0 else -1 for leader in state.leaders)
        return hash((tuple(cells), tuple(sorted(packets)), state.crashes, state.doubles, leaders, state.committed))

    def _cell_symbol(self, number: int, which: int) -> int:
        value = self.cells.renamed_cell(number, self._renamings[which][1])
        symbol = self._renamed[number, which] = self._symbols.setdefault(value, len(self._symbols))
        return symbol

    def _packet_symbol(self, number: int, which: int) -> int:
        packet, image = self.cells.packets[number], self._renamings[which][0]
        value = image[packet.sender], image[packet.to], packet.message
        symbol = self._renamed_packets[number, which] = self._symbols.setdefault(value, len(self._symbols))
        return symbol

    # What is told

    def way(self, number: int, step: int) -> list[str]:
        """The steps from the start to a state, and one more."""
        steps = [step]
        while self._parents[number] >= 0:
            steps.append(self._steps[number])
            number = self._parents[number]
        return [self._say(one) for one in reversed(steps)]

    def _say(self, step: int) -> str:
        given, place = divmod(step, len(self._names))
        if given < 0:
            return f"{ACTIONS[given]} {self._names[place]}"
        packet: Packet = self.cells.packets[given]
        return f"{self._names[packet.sender]}->{self._names[packet.to]} {packet.message}"


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module; the exit code is 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m dfs.simulation.consensus.explore", description=__doc__)
    parser.add_argument("--scope", choices=sorted(SCOPES), help="one scope only")
    parser.add_argument("--states", type=int, default=100_000, help="of each scope, about")
    parser.add_argument("--all", action="store_true", help="search each scope to its end")
    parser.add_argument("--json", action="store_true", help="one JSON document a scope")
    options = parser.parse_args(arguments)
    say = writer(sys.stdout)
    failed = False
    for name in [options.scope] if options.scope else SCOPES:
        began = time.perf_counter()
        search = Search(SCOPES[name])
        document: dict[str, Any] = {"scope": name, "violation": ""}
        try:
            search.run(None if options.all else options.states)
        except Violated as error:
            failed, document["violation"] = True, str(error)
        document |= {
            "states": search.count,
            "complete": search.complete,
            "member_states": len(search.cells.cells),
            "messages": len(search.cells.packets),
            "wall_seconds": round(time.perf_counter() - began, 1),
        }
        say(json.dumps(document) if options.json else " ".join(f"{key}={value}" for key, value in document.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
