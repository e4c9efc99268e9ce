"""Which configuration counts, and how the next one is begun (thesis 4.1, 4.2; R51 to R56).

A configuration is active from the moment its entry is appended, committed or not, and ceases to be with the entry's
truncation (R52).  ``State.configurations`` holds, in the order of the log, the latest at or below the boundary and
every one after it; the last is active.

Safety rests on three conditions for a change: the one before is committed, this leader has committed in its own term
(else leaders of two terms may each commit a change to the same configuration whose majorities do not meet: R51), and
it differs by one voter.  The others keep the group live: a voter-to-be has caught up (R54), and enough voters answer
(R56).
"""

from __future__ import annotations

from collections.abc import Mapping

from dfs.raft.codec import CodecError
from dfs.raft.core import reads
from dfs.raft.core.progress import Mode, Progress
from dfs.raft.core.state import Adopted, State
from dfs.raft.core.types import ChangeTaken, CoreHalted, Refusal, Role
from dfs.raft.membership import (
    AddLearner,
    Change,
    Configuration,
    Promote,
    decode_configuration,
    encode_configuration,
    fits,
    with_contacts,
    with_learner,
    with_promoted,
    without,
)
from dfs.raft.messages import Entry, EntryKind

LEAVING_TIMEOUTS = 10
"""For so many election time-outs a removed member is told so by the leader that removed it (R57)."""


def acceptable(s: State, entry: Entry) -> bool:
    """Whether an entry of a peer may be stored: one of kind CONFIGURATION must be one, of this cluster."""
    if entry.kind is not EntryKind.CONFIGURATION:
        return True
    try:
        return decode_configuration(entry.payload).cluster == s.configuration.cluster
    except CodecError:
        return False


def appended(s: State, entry: Entry) -> None:
    """An entry joined the log: if it is a configuration, it counts from now on."""
    if entry.kind is EntryKind.CONFIGURATION:
        s.configurations.append(Adopted(entry.index, entry.payload, decode_configuration(entry.payload)))
        _activate(s)


def truncated(s: State, index: int) -> None:
    """Entries from ``index`` on are gone, and with them what they changed (R52)."""
    if s.configurations[-1].index < index:
        return
    while s.configurations[-1].index >= index:
        s.configurations.pop()
        if not s.configurations:
            raise CoreHalted(f"truncation at {index} leaves no configuration")
    s.trace(f"goes back to the configuration of {s.configurations[-1].index}")
    _activate(s)


def begun_anew(s: State, index: int, payload: bytes) -> None:
    """The log begins after a snapshot at ``index``, which brought the configuration as of then (R38)."""
    s.configurations = [Adopted(index, payload, decode_configuration(payload))]
    _activate(s)


def compacted(s: State, index: int) -> None:
    """Nothing at or below ``index`` is in the log any more; the latest configuration there still counts."""
    while len(s.configurations) > 1 and s.configurations[1].index <= index:
        del s.configurations[0]


def payload_at(s: State, index: int) -> bytes:
    """The payload of the configuration as of ``index``, at or after the boundary; b"" where there was none yet."""
    return [adopted.payload for adopted in s.configurations if adopted.index <= index or not adopted.index][-1]


def settled(s: State) -> bool:
    """Whether the active configuration is known to be committed."""
    return s.configurations[-1].index <= s.commit


def _activate(s: State) -> None:
    configuration = s.configurations[-1].configuration
    if configuration == s.configuration:
        return
    s.configuration, s.membership_changed = configuration, True
    s.trace(f"counts {' '.join(configuration.voters) or 'nobody'}"
            + "".join(f" (+{learner})" for learner in configuration.learners))  # fmt: skip
    if s.role is Role.LEADER:
        _follow_up(s)


def _follow_up(s: State) -> None:
    """The leader's book agrees with the active configuration."""
    configuration, index = s.configuration, s.configurations[-1].index
    for member in configuration.members:
        if member != s.me and member not in s.progress:
            s.progress[member] = Progress(s.log.last_index + 1, voter=False)
    for member, progress in s.progress.items():
        progress.voter = member in configuration.voters
        if member not in configuration.members and not progress.leaving_index:
            progress.leaving_index = index
            progress.leaving_ticks = LEAVING_TIMEOUTS * s.config.election_ticks
            progress.contact = s.configurations[-2].configuration.contact(member) if len(s.configurations) > 1 else ""


def lead(s: State) -> None:
    """A new leader's book: all members, and whom an uncommitted entry of a former leader removes."""
    s.progress = {}
    if not settled(s) and len(s.configurations) > 1:
        for member in s.configurations[-2].configuration.members:
            if member != s.me:
                s.progress[member] = Progress(s.log.last_index + 1, voter=False)
    _follow_up(s)


def tick_leaving(s: State) -> None:
    """Let go of removed members that were told, or could not be for long enough."""
    for member, progress in list(s.progress.items()):
        if not progress.leaving_index:
            continue
        progress.leaving_ticks -= 1
        committed = s.commit >= progress.leaving_index
        if committed and not progress.farewell_round and progress.match >= progress.leaving_index:
            progress.farewell_round = s.round + 1
        told = progress.farewell_round and progress.acked_round >= progress.farewell_round
        if told or (committed and progress.leaving_ticks <= 0):
            del s.progress[member]
            s.membership_changed = True
            s.trace(f"lets go of {member}")


def alive(s: State, member: str) -> bool:
    """Whether a member answered this leader within an election time-out."""
    progress = s.progress.get(member)
    return member == s.me or (
        progress is not None and progress.heard and progress.silent_ticks < s.config.election_ticks
    )


def caught_up(s: State, member: str) -> bool:
    """Whether a member answers, is fed from the log, and holds all that was committed a heartbeat ago: so its
    promotion makes no commit wait for a long catching up (R54)."""
    progress = s.progress.get(member)
    return (
        progress is not None
        and alive(s, member)
        and progress.mode is Mode.REPLICATE
        and progress.match >= s.commit_before
    )


def refuses(s: State) -> tuple[Refusal, str] | None:
    """Why a leader may begin no change at all now (R51)."""
    if not settled(s):
        return Refusal.CHANGE_IN_PROGRESS, "the change before is not committed yet: try again soon"
    if not reads.own_term_committed(s):
        return Refusal.CHANGE_IN_PROGRESS, "the leader has not committed in its term yet: try again soon"
    if s.transferee is not None:
        return Refusal.CHANGE_IN_PROGRESS, f"leadership is being handed to {s.transferee}: ask there"
    return None


def judge(s: State, change: Change, known: Mapping[str, str]) -> Configuration | tuple[Refusal, str]:
    """The configuration that a change asks for, or why not; the active one itself where it is so already."""
    configuration, name = s.configuration, change.name
    if isinstance(change, AddLearner):
        return _let_in(configuration, name, change.contact, known)
    if isinstance(change, Promote):
        if name in configuration.voters:
            return configuration
        if name not in configuration.learners:
            return Refusal.UNKNOWN_MEMBER, f"{name} is no learner of this cluster"
        if not caught_up(s, name):
            return Refusal.NOT_CAUGHT_UP, f"{name} does not hold what the others hold yet: try again later"
        larger = with_promoted(configuration, name)
        if not fits(larger):
            return Refusal.TOO_MANY_MEMBERS, f"{len(configuration.voters)} voters are there: no room for {name}"
        return _live(s, larger)
    if name in configuration.removed:
        return configuration
    if name not in configuration.members:
        return Refusal.UNKNOWN_MEMBER, f"{name} is no member of this cluster"
    if name in configuration.learners:
        return without(configuration, name)
    return _live(s, without(configuration, name))


def _let_in(
    configuration: Configuration, name: str, contact: str, known: Mapping[str, str]
) -> Configuration | tuple[Refusal, str]:
    if name in configuration.removed:
        return Refusal.NAME_USED_BEFORE, f"{name} was removed, and names never come back: give the node a new one"
    if name in configuration.members:
        there = configuration.contact(name) or known.get(name, "")
        if contact in (there, configuration.contact(name)):
            return configuration
        return Refusal.NAME_USED_BEFORE, f"{name} is a member already, at {there}: give the new node another name"
    larger = with_contacts(with_learner(configuration, name, contact), known)
    if not fits(larger):
        return Refusal.TOO_MANY_MEMBERS, f"the configuration has no room for {name}"
    return larger


def _live(s: State, configuration: Configuration) -> Configuration | tuple[Refusal, str]:
    """R56: as many voters answer as a majority needs."""
    living = sum(alive(s, voter) for voter in configuration.voters)
    if configuration.voters and living >= configuration.quorum:
        return configuration
    return (
        Refusal.WOULD_LOSE_QUORUM,
        f"{living} of the {len(configuration.voters)} voters would be alive, and {configuration.quorum} are needed",
    )


def taken(s: State, change: Change, known: Mapping[str, str]) -> ChangeTaken | bytes:
    """What becomes of a change: the answer, or the payload of the entry to append."""
    if s.role is not Role.LEADER:
        return _refused(s, (Refusal.NOT_LEADER, "this member does not lead"))
    wanted = judge(s, change, known)
    if wanted == s.configuration:
        last = s.configurations[-1]
        return ChangeTaken(last.index, s.log.term(last.index) or s.term, s.configuration)
    refused = refuses(s)
    if refused is None and isinstance(wanted, Configuration):
        return encode_configuration(wanted)
    return _refused(s, refused or wanted)


def _refused(s: State, why: Configuration | tuple[Refusal, str]) -> ChangeTaken:
    assert isinstance(why, tuple), why
    return ChangeTaken(0, s.term, s.configuration, *why)
