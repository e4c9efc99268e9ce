"""The language of the text scripts in ``scripts/``: commands at the margin, what must come of each indented below.

::

    nodes a b c [option=value ...]   found a group; options are those of dfs.raft.core.Config
    campaign NODE                    begin an election now
    elect NODE                       the same, then deliver and sync all (its output is left out)
    tick NODE [COUNT]                ticks pass
    propose NODE TEXT ...            propose commands
    read NODE                        ask for a linearizable read
    deliver [FROM TO] [COUNT|all]    deliver the oldest packets, of one link or of all (all is the default)
    drop FROM TO                     lose everything on a link
    double FROM TO                   deliver the oldest packet of a link, and keep it for later
    hold FROM TO / release FROM TO   keep a link's packets back from ``deliver`` and ``settle``
    cut FROM TO / join FROM TO       lose everything on a link from now on / no more
    inject FROM TO KIND field=value  deliver a made-up message; entries=3/2:x,4/2:y are index/term:payload
                                     (one that begins with ! makes an entry of kind CONFIGURATION)
    sync NODE [COUNT] / sync all     the disk finishes writes
    quiet COMMAND ...                the same, its output left out
    settle                           sync and deliver until all is quiet
    crash NODE / restart NODE        lose what was not synced / start from the disk
    newcomer NODE                    start a new member, with an empty log
    add NODE NAME / promote NODE NAME / remove NODE NAME   ask NODE to change the membership
    transfer NODE [NAME]             ask NODE to hand over
    lose NODE                        crash it, and lose its tables but not its log
    keep NODE                        the state machine makes what it applied durable
    compact NODE INDEX               drop the log up to INDEX
    call NODE METHOD [INT ...]       any other input of the core
    network / status / log NODE / members NODE   show

Every effect is printed: transitions, writes synced, entries applied, answers, and packets as they are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfs.raft.codec import encode_entry
from dfs.raft.core import Config, CoreHalted, Proposed
from dfs.raft.core.types import ChangeTaken, TransferTaken
from dfs.raft.membership import AddLearner, Change, Promote, Remove
from dfs.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    Message,
    ReadReply,
    ReadRequest,
    RemovedNotice,
    SnapshotPiece,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from dfs.raft.test.cluster import Cluster, Packet

INDENT = "    "
KINDS: dict[str, type[Any]] = {
    "append": AppendRequest,
    "appended": AppendReply,
    "vote": VoteRequest,
    "voted": VoteReply,
    "takeover": TimeoutNow,
    "readanswer": ReadReply,
}


class SteadyChance:
    """No randomness: every election timer is drawn in the middle."""

    def random(self) -> float:
        """Always a half."""
        return 0.5


def render(text: str) -> str:
    """Run a script; the same script with its output as it is now."""
    return Script().render(text)


class Script:
    """One run of one script."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cluster: Cluster | None = None
        self.held: set[tuple[str, str]] = set()
        self.cut: set[tuple[str, str]] = set()
        self.shown = 0

    def render(self, text: str) -> str:
        """See the function."""
        for line in text.splitlines():
            if line.startswith(INDENT):
                continue
            self.lines.append(line)
            words = line.split("#")[0].split()
            if words:
                try:
                    getattr(self, f"_do_{words[0]}")(*words[1:])
                except CoreHalted as halt:
                    self._say(f"HALTED: {halt}")
                except Exception as error:
                    raise AssertionError("\n".join(self.lines)) from error
        return "\n".join(self.lines) + "\n"

    @property
    def _group(self) -> Cluster:
        assert self.cluster is not None, "a script begins with nodes"
        return self.cluster

    def _say(self, line: str) -> None:
        self.lines.append(INDENT + line)

    def _sent(self) -> None:
        """Print packets that are new; those on cut links are lost."""
        network = self._group.network
        for packet in network[self.shown :]:
            lost = " (lost)" if (packet.sender, packet.to) in self.cut else ""
            self._say(describe(packet) + lost)
        network[:] = [packet for packet in network if (packet.sender, packet.to) not in self.cut]
        self.shown = len(network)

    def _do_nodes(self, *words: str) -> None:
        members = [word for word in words if "=" not in word]
        options = {key: int(value) for key, value in (word.split("=") for word in words if "=" in word)}
        tail = options.pop("tail", 1000)
        self.cluster = Cluster(members, SteadyChance(), self._say, config=Config("?", **options))
        self.cluster.tail = tail

    def _do_campaign(self, name: str) -> None:
        self._group.do(name, "campaign")
        self._sent()

    def _quietly(self, action: Callable[[], None]) -> None:
        before = len(self.lines)
        action()
        del self.lines[before:]

    def _do_elect(self, name: str) -> None:
        self._quietly(lambda: self._group.elect(name))
        self.shown = len(self._group.network)

    def _do_tick(self, name: str, count: str = "1") -> None:
        self._group.tick(name, int(count))
        self._sent()

    def _do_propose(self, name: str, *texts: str) -> None:
        result: Proposed = self._group.do(name, "propose", [text.encode() for text in texts])
        if result.accepted:
            last = result.first_index + result.accepted - 1
            self._say(f"{name} appended {result.first_index}..{last} in term {result.term}")
        if result.refusal:
            self._say(f"{name} refused {len(texts) - result.accepted}: {result.refusal}, leader {result.leader}")
        self._sent()

    def _do_read(self, name: str) -> None:
        number = self._group.read(name)
        self._say(f"read {number}" if number else f"{name} refused the read")
        self._sent()

    def _matching(self, link: tuple[str, ...]) -> list[int]:
        return [
            position
            for position, packet in enumerate(self._group.network)
            if ((packet.sender, packet.to) == link if link else (packet.sender, packet.to) not in self.held)
        ]

    def _do_deliver(self, *words: str) -> None:
        count = words[-1] if len(words) % 2 else "all"
        link = words[:2] if len(words) >= 2 else ()
        left = len(self._matching(link)) if count == "all" else int(count)
        for position in self._matching(link)[:left]:
            packet = self._group.network[position]
            self._group.network[position] = Packet("", "", packet.message)
            self._group.hand_over(packet)
        self._forget()
        self._sent()

    def _forget(self) -> None:
        network = self._group.network
        before = len([packet for packet in network[: self.shown] if packet.to])
        network[:] = [packet for packet in network if packet.to]
        self.shown = before

    def _do_drop(self, sender: str, to: str) -> None:
        for position in self._matching((sender, to)):
            packet = self._group.network[position]
            self._group.network[position] = Packet("", "", packet.message)
        self._forget()

    def _do_double(self, sender: str, to: str) -> None:
        self._group.hand_over(self._group.network[self._matching((sender, to))[0]])
        self._sent()

    def _do_hold(self, sender: str, to: str) -> None:
        self.held.add((sender, to))

    def _do_release(self, sender: str, to: str) -> None:
        self.held.discard((sender, to))

    def _do_cut(self, sender: str, to: str) -> None:
        self.cut.add((sender, to))

    def _do_join(self, sender: str, to: str) -> None:
        self.cut.discard((sender, to))

    def _do_inject(self, sender: str, to: str, kind: str, *fields: str) -> None:
        self._group.invariants.watching = False
        values: dict[str, Any] = {}
        for key, value in (field.split("=") for field in fields):
            values[key] = _entries(value) if key == "entries" else int(value)
        self._group.hand_over(Packet(sender, to, KINDS[kind](**values)))
        self._sent()

    def _do_quiet(self, command: str, *words: str) -> None:
        self._quietly(lambda: getattr(self, f"_do_{command}")(*words))

    def _do_sync(self, name: str, count: str | None = None) -> None:
        for one in self._group.alive() if name == "all" else [name]:
            self._group.sync(one, int(count) if count else None)
        self._sent()

    def _do_settle(self) -> None:
        for _ in range(1000):
            for name in self._group.alive():
                self._group.sync(name)
            self._sent()
            if not self._matching(()):
                return
            self._do_deliver("1")
        raise AssertionError("the script does not come to rest")

    def _do_crash(self, name: str) -> None:
        self._group.crash(name)

    def _do_restart(self, name: str) -> None:
        self._group.restart(name)
        self._sent()

    def _do_newcomer(self, name: str) -> None:
        self._group.join(name)
        self._sent()

    def _change(self, name: str, change: Change) -> None:
        taken: ChangeTaken = self._group.do(name, "change", change)
        if taken.refusal:
            self._say(f"{name} refuses: {taken.refusal}; {taken.reason}")
        else:
            self._say(f"{name} {'appended' if taken.appended else 'has it so by'} {taken.index}/{taken.term}")
        self._sent()

    def _do_add(self, name: str, member: str) -> None:
        self._change(name, AddLearner(member, f"{member}:1"))

    def _do_promote(self, name: str, member: str) -> None:
        self._change(name, Promote(member))

    def _do_remove(self, name: str, member: str) -> None:
        self._change(name, Remove(member))

    def _do_transfer(self, name: str, to: str | None = None) -> None:
        taken: TransferTaken = self._group.do(name, "transfer", to)
        if taken.refusal:
            self._say(f"{name} refuses: {taken.refusal}; {taken.reason}")
        self._sent()

    def _do_lose(self, name: str) -> None:
        self._group.lose_tables(name)

    def _do_keep(self, name: str) -> None:
        self._group.sync_state(name)

    def _do_compact(self, name: str, index: str) -> None:
        self._group.compact(name, int(index))
        self._sent()

    def _do_call(self, name: str, method: str, *arguments: str) -> None:
        values = [int(word) if word.isdigit() else word for word in arguments]
        self._group.do(name, method, *values)
        self._sent()

    def _do_network(self) -> None:
        for packet in self._group.network:
            self._say(describe(packet))

    def _do_status(self) -> None:
        for name in self._group.alive():
            core = self._group.core(name)
            self._say(f"{name} {core.role} term {core.term} leader {core.leader} "
                      f"last {core.last_index} durable {core.state.log.durable} "
                      f"commit {core.commit_index} applied {core.applied_index}"
                      + (" removed" if core.removed else ""))  # fmt: skip

    def _do_members(self, name: str) -> None:
        configuration = self._group.core(name).configuration
        learners = "".join(f" (+{learner})" for learner in configuration.learners)
        self._say(f"{name} has members {' '.join(configuration.voters)}{learners}")

    def _do_log(self, name: str) -> None:
        core = self._group.core(name)
        boundary = core.state.log.boundary
        terms = " ".join(f"{i}/{core.term_at(i)}" for i in range(boundary.index + 1, core.last_index + 1))
        self._say(f"{name} has {boundary.index}/{boundary.term} | {terms}")


def _entries(value: str) -> tuple[Entry, ...]:
    found = []
    for one in value.split(","):
        place, _, payload = one.partition(":")
        index, term = place.split("/")
        kind = EntryKind.COMMAND if payload else EntryKind.NOOP
        if payload.startswith("!"):
            kind = EntryKind.CONFIGURATION
        found.append(encode_entry(int(index), int(term), kind, payload.encode(), 0))
    return tuple(found)


def describe(packet: Packet) -> str:
    """One line a packet."""
    return f"{packet.sender}->{packet.to} {_text(packet.message)}"


def _text(message: Message) -> str:
    if isinstance(message, VoteRequest):
        kind = "pre-vote?" if message.pre else "vote to take over?" if message.transfer else "vote?"
        return f"{kind} term {message.term} last {message.last_index}/{message.last_term}"
    if isinstance(message, VoteReply):
        return f"{'pre-vote' if message.pre else 'vote'} {'yes' if message.granted else 'no'} term {message.term}"
    if isinstance(message, AppendRequest):
        entries = " ".join(f"{entry.index}/{entry.term}" for entry in message.entries)
        return (
            f"append term {message.term} after {message.previous_index}/{message.previous_term} [{entries}] "
            f"commit {message.commit} round {message.round}"
        )
    if isinstance(message, AppendReply):
        what = f"has {message.index}" if message.accepted else f"refuses {message.index}"
        hint = "" if message.accepted else f" hint {message.hint_index}/{message.hint_term}"
        hint += " wants a snapshot" if message.wants_snapshot else ""
        return f"{what}{hint} term {message.term} round {message.round}"
    if isinstance(message, SnapshotPiece):
        return f"snapshot term {message.term} mark {message.index}/{message.mark_term}"
    if isinstance(message, SnapshotReply):
        return f"snapshot {message.progress.name.lower()} term {message.term} mark {message.index}"
    return _small(message)


def _small(message: TimeoutNow | ReadRequest | ReadReply | RemovedNotice) -> str:
    if isinstance(message, TimeoutNow):
        return f"take over term {message.term}"
    if isinstance(message, ReadRequest):
        return f"read? {message.number} term {message.term}"
    if isinstance(message, ReadReply):
        return f"read {message.number} at {message.index} term {message.term}"
    return f"you were removed term {message.term}"
