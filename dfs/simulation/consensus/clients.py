"""Clients that append to the list and ask for its length, and the judgement of what they are told.

A client has one operation at a time.  Where it is not answered it asks again elsewhere, with the same number, so that
the sessions are used all the time.

That the answers are linearizable is checked as they come, in constant time.  The list only grows, an append answers the
position of its command and a read the length, so there is one possible order: by these numbers.  It respects real
time if and only if no answer lies below what anybody had been answered when its operation began; an append must
lie above that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Protocol

from dfs.simulation.consensus.agenda import Agenda
from dfs.simulation.consensus.checks import Violated
from dfs.simulation.consensus.machine import ANYBODY
from dfs.simulation.consensus.member import Member
from dfs.simulation.consensus.plan import Load


class Served(Protocol):
    """What clients see of the group."""

    agenda: Agenda
    chance: Random

    def note(self, *what: object) -> None:
        """One event for the trace."""

    def voters(self) -> Sequence[Member]:
        """Whom to ask."""

    def reads(self) -> int:
        """A number for a read that no read had before."""


class History:
    """What was answered to whom.

    :ivar length: the longest list that anybody was told of.
    :ivar positions: of each acknowledged command: client and number.
    """

    def __init__(self) -> None:
        self.length = 0
        self.positions: dict[int, tuple[bytes, int]] = {}
        self.counts: Counter[str] = Counter()

    def appended(self, client: bytes, number: int, position: int, floor: int) -> None:
        """A command was acknowledged; ``floor`` was ``length`` when it was first proposed."""
        if position <= floor:
            raise Violated(f"linearizability: {client!r} {number} got {position}, {floor} was answered before it")
        if self.positions.setdefault(position, (client, number)) != (client, number):
            raise Violated(f"R44: position {position} was given to {self.positions[position]} and {(client, number)}")
        self.length = max(self.length, position)
        self.counts["append done"] += 1

    def read(self, length: int, floor: int) -> None:
        """A read was answered."""
        if length < floor:
            raise Violated(f"linearizability: a read answers {length}, {floor} was answered before it")
        self.length = max(self.length, length)
        self.counts["read done"] += 1


class Client:
    """See the module.

    :ivar idle: it has no operation.
    """

    def __init__(self, name: str, served: Served, load: Load, history: History) -> None:
        self._name = name.encode()
        self._served = served
        self._load = load
        self._history = history
        self._number = 0
        self._command: bytes | None = None
        self._floor = 0
        self._ticket = 0
        self._target: Member | None = None
        self.idle = True
        self._closing = False
        self._pause()

    def _pause(self) -> None:
        self._served.agenda.after(int(self._served.chance.random() * 2 * self._load.think), self._begin, None)

    def close(self) -> None:
        """End what is going on, asking once more at once, and begin nothing new."""
        self._closing = True
        if not self.idle:
            self._target = None
            self._try(None)

    def _begin(self, _: None) -> None:
        if self._closing:
            return
        draw = self._served.chance.random
        if self._load.burst and draw() < 0.2:
            self._burst()
        self._command = None
        if draw() >= self._load.reads:
            self._number += 1
            self._command = b"%b:%d:" % (self._name, self._number) + b"x" * int(draw() * self._load.padding)
        self.idle = False
        self._floor = self._history.length
        self._try(None)

    def _burst(self) -> None:
        """A program that proposes much at once and does not wait."""
        member = self._target
        if member is not None and member.hears:
            for number in range(self._load.burst):
                if member.core is None or member.propose(b"%b:%d:" % (ANYBODY, number), None, 0) != "":
                    self._history.counts["burst cut short"] += 1
                    return
                self._history.counts["burst taken"] += 1

    def _try(self, hint: str | None) -> None:
        """Ask a member: whom a refusal named, or the one that answered last, or anybody."""
        served = self._served
        self._ticket += 1
        members = served.voters()
        target = next((member for member in members if member.name == hint), self._target)
        if target is None or target.core is None:
            target = members[int(served.chance.random() * len(members))]
        self._target = target
        served.agenda.after(200 if self._closing else self._load.patience, self._late, self._ticket)
        if target.core is not None:
            target.when_awake(self._reach, (target, self._ticket, self._command))

    def _reach(self, subject: tuple[Member, int, bytes | None]) -> None:
        """The question has come to a member, maybe long after it was given up."""
        target, ticket, command = subject
        if not target.hears:
            return
        leader: str | None = ""
        if command is not None:
            leader = target.propose(command, self, ticket)
        elif not target.read(self._served.reads(), self, ticket):
            leader = target.core.leader if target.core is not None else None
        if leader != "" and ticket == self._ticket:
            self._refused(leader)

    def _refused(self, leader: str | None) -> None:
        self._history.counts["refused"] += 1
        self._ticket += 1
        if leader is None or (self._target is not None and leader == self._target.name):
            self._target = None
        self._served.agenda.after(10 + int(self._served.chance.random() * 100), self._again, (self._ticket, leader))

    def _again(self, subject: tuple[int, str | None]) -> None:
        if subject[0] == self._ticket:
            self._try(subject[1])

    def _late(self, ticket: int) -> None:
        """Nothing was heard for too long."""
        if ticket == self._ticket:
            self._history.counts["late"] += 1
            self._target = None
            self._try(None)

    # What members tell

    def answered(self, ticket: int, position: int) -> None:
        """The operation is done."""
        if ticket != self._ticket:
            return
        self._ticket += 1
        self._served.note("answered", self._name.decode(), self._number, position)
        if self._command is None:
            self._history.read(position, self._floor)
        else:
            self._history.appended(self._name, self._number, position, self._floor)
        self.idle = True
        self._pause()

    def unknown(self, ticket: int) -> None:
        """It must be asked again."""
        if ticket == self._ticket:
            self._history.counts["unknown"] += 1
            self._refused(None)
