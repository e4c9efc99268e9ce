"""A whole run: the group, its clients and troubles, then the heal and what must follow from it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from random import Random

from dfs.raft.codec import encode_entry
from dfs.raft.core import Configuration, CoreHalted, Role
from dfs.raft.membership import encode_configuration
from dfs.raft.messages import EntryKind
from dfs.simulation.consensus.agenda import TICK, Agenda
from dfs.simulation.consensus.checks import Checker, Violated
from dfs.simulation.consensus.clients import Client, History
from dfs.simulation.consensus.faults import Faults
from dfs.simulation.consensus.member import Member
from dfs.simulation.consensus.network import Network, Packet
from dfs.simulation.consensus.plan import NAMES, Plan, plan_of
from dfs.simulation.plan import Result

SETTLE_TIME_OUTS = 10
"""Election time-outs, the longest that are drawn, within which a healed group must have a leader, equal logs and a
fresh commit."""

MOST_MACHINES = 12  # in one run, those that were removed included
CHUNK = 1000  # events hashed at once

Say = Callable[[str], None]


class Group:
    """One run in the making.

    :param say: gets a line for each event, to look at one run.
    """

    def __init__(self, seed: int, plan: Plan, say: Say | None = None) -> None:
        self.plan = plan
        self.chance = Random(f"group {seed}")
        self.agenda = Agenda()
        self.network = Network(self.agenda, self.chance, plan.wires, self._arrive)
        self._say = say
        self._digest = hashlib.sha256()
        self._events: list[tuple[object, ...]] = []
        self._last_read = 0
        self._belonging: list[Member] = []
        voters = NAMES[: plan.members]
        configuration = Configuration(voters)
        founding = encode_entry(1, 1, EntryKind.CONFIGURATION, encode_configuration(configuration), 0)
        self.members = {name: Member(name, self, founding) for name in voters}
        self.checker = Checker(self.members)
        self.checker.found(founding)
        self.history = History()
        for member in self.members.values():
            self._begin(member)
        self.clients = [Client(f"client{n}", self, plan.load, self.history) for n in range(plan.load.clients)]
        self.faults = Faults(self, Random(f"faults {seed}"))

    def _begin(self, member: Member) -> None:
        member.period = TICK + int((2 * self.chance.random() - 1) * self.plan.drift)
        member.start()

    def join(self) -> str | None:
        """A new machine with an empty disk; its name, or None where there are enough."""
        if len(self.members) >= MOST_MACHINES:
            return None
        name = f"n{len(self.members)}"
        self.members[name] = member = Member(name, self, None)
        self._begin(member)
        return name

    # What members and clients ask of their surroundings

    def note(self, *what: object) -> None:
        """One event for the trace."""
        events = self._events
        events.append((self.agenda.now, *what))
        if self._say is not None:
            self._say(" ".join(str(word) for word in events[-1]))
        if len(events) >= CHUNK:
            self._digest.update(repr(events).encode())
            events.clear()

    @property
    def trace(self) -> str:
        """The digest of everything so far."""
        self._digest.update(repr(self._events).encode())
        self._events.clear()
        return self._digest.hexdigest()

    def died(self, name: str) -> None:
        """Those that talked with a dead process soon see its connections refused, half of the time."""
        for other in self.members.values():
            if other.name != name and other.hears and self.chance.random() < 0.5:
                self.agenda.after(1 + int(self.chance.random() * TICK), self._refused, (other, other.life, name))

    def _refused(self, subject: tuple[Member, int, str]) -> None:
        member, life, name = subject
        if member.life == life and self.members[name].core is None:
            member.do("member_refused", name)

    def voters(self) -> Sequence[Member]:
        """Whom clients ask."""
        return tuple(self.members.values())

    def reads(self) -> int:
        """A number for a read that no read had before."""
        self._last_read += 1
        return self._last_read

    def _arrive(self, packet: Packet) -> None:
        sender, to, message = packet
        self.note(sender, to, type(message).__name__, message.term)
        if to in self.members:
            self.members[to].arrive(packet)

    # The run

    def run(self) -> None:
        """Trouble, heal, judgement.  Violated, or whatever a core raises, where something is wrong."""
        self.agenda.run_until(int(self.plan.seconds * 1000))
        self.note("heals")
        self.faults.heal()
        for client in self.clients:
            client.close()
        deadline = self.agenda.now + SETTLE_TIME_OUTS * self.plan.time_out * TICK
        while (trouble := self._unsettled()) and self.agenda.now < deadline:
            self.agenda.run_until(self.agenda.now + TICK)
        if trouble:
            raise Violated(f"liveness: {SETTLE_TIME_OUTS} election time-outs after the heal {trouble}")
        self._survived()

    def _unsettled(self) -> str:
        """What is missing to a settled group, '' if nothing is.  Those that were removed do not count, and run on."""
        leaders = [core for member in self.members.values() if (core := member.core) and core.role is Role.LEADER]
        if len(leaders) != 1:
            return f"{len(leaders)} lead"
        leader = leaders[0]
        belonging = [self.members[name] for name in leader.configuration.members]
        cores = [member.core for member in belonging if member.core is not None]
        if len(cores) < len(belonging) or any(
            core.term != leader.term or core.leader != leader.leader for core in cores
        ):
            return "not all follow the leader"
        if not all(client.idle for client in self.clients):
            return "a client still waits"
        if not leader.own_term_committed:
            return "nothing fresh is committed"
        if any((core.last_index, core.commit_index) != (leader.last_index, leader.last_index) for core in cores):
            return "the logs are not equal"
        if any(member.machine.index != leader.last_index for member in belonging):
            return "not all is applied"
        self._belonging = belonging
        return ""

    def _survived(self) -> None:
        """Every acknowledged command is there, and all replicas are equal, sessions included."""
        first = self._belonging[0].machine
        for member in self._belonging:
            if member.machine != first:
                raise Violated(f"state-machine safety: {member.name} ends with another state")
        if first.count < self.history.length:
            raise Violated(f"durability: {self.history.length} commands were acknowledged, {first.count} are there")


def run_plan(seed: int, plan: Plan, say: Say | None = None) -> Result:
    """A whole run in this process."""
    began = time.perf_counter()
    violations: list[str] = []
    group = Group(seed, plan, say)
    try:
        group.run()
    except (Violated, CoreHalted) as error:
        violations.append(f"at {group.agenda.now} ms: {error}")
    except Exception as error:  # noqa: BLE001 - whatever else a core raises is a defect, and the run tells it
        violations.append(f"at {group.agenda.now} ms: {type(error).__name__}: {error}")
    group.faults.counts.update({"message lost": group.network.lost, "message doubled": group.network.doubled})
    snapshots = sum(member.snapshots for member in group.members.values())
    group.history.counts.update({"elections": group.checker.elections, "snapshots": snapshots})
    return Result(
        seed,
        group.trace,
        group.agenda.now / 1000,
        time.perf_counter() - began,
        group.agenda.events,
        dict(sorted(group.faults.counts.items())),
        dict(sorted(group.history.counts.items())),
        tuple(violations),
    )


def run_seed(seed: int, say: Say | None = None) -> Result:
    """The run that a seed draws."""
    return run_plan(seed, plan_of(seed), say)
