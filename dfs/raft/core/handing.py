"""Handing leadership over (thesis 3.10; R58).

The leader takes no proposals while it lasts.  Once the target holds all of its log it is told to campaign at once;
its requests for votes carry the transfer flag, which passes stickiness (R08).  After an election time-out, or when the
target does not answer, the leader goes on as before: nothing was promised.

A target must be able to lead at once: a voter that lost its tables acknowledges everything and cannot campaign.  And
whatever the reason that one was given up, the next is refused for a while: asked for again and again, transfers would
else hold proposals nearly all of the time.  ``State.transfer_elapsed`` is below zero meanwhile, and rises to it.
"""

from __future__ import annotations

from dfs.raft.core import configuring
from dfs.raft.core.state import State
from dfs.raft.core.types import Refusal, Role, TransferTaken
from dfs.raft.messages import TimeoutNow

REST_TIMEOUTS = 5
"""For so many election time-outs after a transfer was given up none is begun: writes have most of the time."""


def begin(s: State, to: str | None) -> TransferTaken:
    """Hand over to ``to``, or to the voter that holds most of those that can lead."""
    if s.role is not Role.LEADER:
        return TransferTaken(to or "", Refusal.NOT_LEADER, "this member does not lead")
    if to == s.me:
        return TransferTaken(to)
    if s.transferee is not None:
        if to in (None, s.transferee):
            return TransferTaken(s.transferee)
        return TransferTaken(to or "", Refusal.BUSY, f"leadership is being handed to {s.transferee}")
    if to is not None and to not in s.configuration.voters:
        return TransferTaken(to, Refusal.UNKNOWN_MEMBER, f"{to} is no voter of this cluster")
    target = to if to is not None else best(s)
    if target is None:
        return TransferTaken("", Refusal.NOT_CAUGHT_UP, "no other voter could lead now: try again later")
    if not configuring.alive(s, target):
        return TransferTaken(target, Refusal.NOT_ALIVE, f"{target} does not answer")
    if not configuring.caught_up(s, target):
        reason = f"{target} does not hold what the others hold, and cannot lead yet: try again later"
        return TransferTaken(target, Refusal.NOT_CAUGHT_UP, reason)
    if s.transfer_elapsed < 0:
        return TransferTaken(target, Refusal.BUSY, "a transfer was given up a moment ago: try again soon")
    s.transferee, s.transfer_elapsed = target, 0
    s.trace(f"hands term {s.term} over to {target}")
    press(s)
    return TransferTaken(target)


def best(s: State) -> str | None:
    """The voter that holds most of those that have caught up, the first by name of equals; None where none has."""
    able = [member for member in sorted(s.progress) if s.progress[member].voter and configuring.caught_up(s, member)]
    return max(able, key=lambda member: s.progress[member].match, default=None)


def press_if_caught_up(s: State, member: str) -> None:
    """``member`` acknowledged something."""
    if member == s.transferee:
        press(s)


def press(s: State) -> None:
    """Tell the target to campaign if it has caught up; again with each heartbeat, for the word may be lost."""
    if s.transferee is not None and s.progress[s.transferee].match == s.log.last_index:
        s.send(s.transferee, TimeoutNow(s.term))


def tick(s: State) -> None:
    """One tick of a transfer, which ends after an election time-out or when its target is gone; or of the rest."""
    if s.transferee is None:
        s.transfer_elapsed = min(s.transfer_elapsed + 1, 0)
        return
    s.transfer_elapsed += 1
    if s.transfer_elapsed >= s.config.election_ticks or not configuring.alive(s, s.transferee):
        end(s)


def end(s: State) -> None:
    """Lead on, and begin none for a while."""
    s.trace(f"gives up handing over to {s.transferee}")
    s.transferee, s.transfer_elapsed = None, -REST_TIMEOUTS * s.config.election_ticks

