"""Troubles, drawn from the seed: each method is a kind that a plan weighs by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Protocol

from attrs import evolve

from dfs.raft.membership import AddLearner, Promote, Remove
from dfs.simulation.consensus.agenda import TICK, Agenda
from dfs.simulation.consensus.member import BOUNDARIES, Member
from dfs.simulation.consensus.network import Network
from dfs.simulation.consensus.plan import Plan
from dfs.simulation.dice import Dice


class Troubled(Protocol):
    """What troubles act on."""

    agenda: Agenda
    network: Network
    plan: Plan
    members: dict[str, Member]

    def join(self) -> str | None:
        """A new machine; its name, or None where there are enough."""

    def note(self, *what: object) -> None:
        """One event for the trace."""


class Faults:
    """See the module.

    :ivar counts: how many of each kind there were.
    """

    def __init__(self, group: Troubled, chance: Random) -> None:
        self._group = group
        self._dice = Dice(chance)
        self._active = True
        self.counts: Counter[str] = Counter()
        self._kinds = [(name, weight) for name, weight in group.plan.faults if weight]
        if self._kinds:
            self._wait()

    def _wait(self) -> None:
        self._group.agenda.after(1 + self._dice.below(2 * self._group.plan.gap), self._strike, None)

    def _strike(self, _: None) -> None:
        if not self._active:
            return
        name = self._dice.weighted(self._kinds)
        self.counts[name] += 1
        self._group.note("trouble", name)
        getattr(self, name)()
        self._wait()

    def heal(self) -> None:
        """End all trouble: everyone up and awake, every link whole and quick, every disk in time."""
        self._active = False
        group = self._group
        group.network.heal()
        for member in group.members.values():
            member.paused_until = group.agenda.now
            member.slow_until, member.fuse = 0, ""
            member.store = evolve(member.store, least=1, spread=4, applying=0)
            if member.core is None:
                member.start()

    def _somebody(self) -> Member:
        return self._dice.pick(list(self._group.members.values()))

    def _leader(self) -> Member:
        """Whoever leads in the newest term, else anybody."""
        leading = [m for m in self._group.members.values() if m.core is not None and m.core.role == "leader"]
        return max(leading, key=lambda member: member.up.term, default=None) or self._somebody()

    # Kinds

    def crash(self) -> None:
        """A process dies, now or at the next boundary of a drawn kind, and comes back some time later."""
        member = self._dice.pick([self._somebody, self._leader])()
        if self._dice.chance(0.5):
            member.fuse = self._dice.pick(BOUNDARIES)
        else:
            member.crash()
        self._return([member])

    def crash_all(self) -> None:
        """The power goes."""
        members = list(self._group.members.values())
        for member in members:
            member.crash()
        self._return(members)

    def _return(self, members: Iterable[Member]) -> None:
        for member in members:
            wait = self._dice.pick([1, 5, 40]) * TICK
            self._group.agenda.after(wait + self._dice.below(wait), self._start, member)

    def _start(self, member: Member) -> None:
        member.fuse = ""
        if member.core is None:
            member.start()

    def _cut(self, links: set[tuple[str, str]]) -> None:
        """Cut links for a while."""
        group = self._group
        group.network.cut |= links
        group.agenda.after(self._dice.pick([5, 20, 100]) * TICK, self._join, links)

    def _join(self, links: set[tuple[str, str]]) -> None:
        self._group.network.cut -= links

    def isolate(self) -> None:
        """The leader is cut off, in both directions or in one."""
        name = self._leader().name
        which = self._dice.below(3)
        others = [other for other in self._group.members if other != name]
        out = {(name, other) for other in others if which != 0}
        self._cut(out | {(other, name) for other in others if which != 1})

    def cut(self) -> None:
        """One directed link goes."""
        self._cut({(self._somebody().name, self._somebody().name)})

    def split(self) -> None:
        """The members fall into two halves."""
        members = list(self._group.members)
        side = {name: self._dice.chance(0.5) for name in members}
        self._cut({(one, other) for one in members for other in members if side[one] != side[other]})

    def join(self) -> None:
        """Every link is whole again, and the network as it was planned."""
        self._group.network.cut.clear()
        self._group.network.wires = self._group.plan.wires

    def lossy(self) -> None:
        """The network gets bad for a while."""
        group = self._group
        group.network.wires = evolve(group.network.wires, loss=self._dice.pick([0.1, 0.4]))
        group.agenda.after(self._dice.pick([20, 100]) * TICK, self._better, None)

    def _better(self, _: None) -> None:
        if self._active:
            self._group.network.wires = self._group.plan.wires

    def pause(self) -> None:
        """A process stands still for a while."""
        self._dice.pick([self._somebody, self._leader])().pause(self._dice.pick([3, 15, 60]) * TICK)

    def slow(self) -> None:
        """A disk takes its time."""
        member = self._dice.pick([self._somebody, self._leader])()
        member.slow_until = self._group.agenda.now + 5000
        member.slowness = self._dice.pick([100, 3000])

    def campaign(self) -> None:
        """An operator, or a stall of all, makes somebody campaign."""
        if self._dice.chance(0.5):
            for member in self._group.members.values():
                member.do("stalled", self._group.plan.config.election_ticks)
        self._somebody().do("campaign")

    def transfer(self) -> None:
        """Leadership is to be handed over, to a drawn member or to whoever holds most."""
        self._leader().do("transfer", self._dice.pick([None, self._somebody().name]))

    def grow(self) -> None:
        """A new machine is let in as a learner."""
        name = self._group.join()
        if name is not None:
            self._leader().do("change", AddLearner(name, ""))

    def promote(self) -> None:
        """A learner is to vote."""
        leader = self._leader()
        if leader.core is not None and leader.core.configuration.learners:
            leader.do("change", Promote(self._dice.pick(leader.core.configuration.learners)))

    def shrink(self) -> None:
        """A member is taken out, maybe the leader, unless it is the last voter."""
        leader = self._leader()
        if leader.core is not None and leader.core.configuration.members:
            leader.do("change", Remove(self._dice.pick(leader.core.configuration.members)))

    def refuse(self) -> None:
        """A connection is reset."""
        self._somebody().do("member_refused", self._somebody().name)
