"""Handing leadership over (thesis 3.10; R58).

The leader takes no proposals while it lasts.  Once the target holds all of its log it is told to campaign at once;
its requests for votes carry the transfer flag, which passes stickiness (R08).  After an election time-out, or when the
target does not answer, the leader goes on as before: nothing was promised.
"""

from __future__ import annotations

from dfs.raft.core import configuring
from dfs.raft.core.state import State
from dfs.raft.core.types import Refusal, Role, TransferTaken
from dfs.raft.messages import TimeoutNow


def begin(s: State, to: str | None) -> TransferTaken:
    """Hand over to ``to``, or to the voter that holds most and answers."""
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
    if target is None or not configuring.alive(s, target):
        return TransferTaken(target or "", Refusal.NOT_ALIVE, f"{target or 'no other voter'} does not answer")
    s.transferee, s.transfer_elapsed = target, 0
    s.trace(f"hands term {s.term} over to {target}")
    press(s)
    return TransferTaken(target)


def best(s: State) -> str | None:
    """The voter that answers and holds most, the first by name of equals."""
    living = [member for member in sorted(s.progress) if s.progress[member].voter and configuring.alive(s, member)]
    return max(living, key=lambda member: s.progress[member].match, default=None)


def press_if_caught_up(s: State, member: str) -> None:
    """``member`` acknowledged something."""
    if member == s.transferee:
        press(s)


def press(s: State) -> None:
    """Tell the target to campaign if it has caught up; again with each heartbeat, for the word may be lost."""
    if s.transferee is not None and s.progress[s.transferee].match == s.log.last_index:
        s.send(s.transferee, TimeoutNow(s.term))


def tick(s: State) -> None:
    """One tick of a transfer: it ends after an election time-out, or when its target is gone."""
    if s.transferee is None:
        return
    s.transfer_elapsed += 1
    if s.transfer_elapsed >= s.config.election_ticks or not configuring.alive(s, s.transferee):
        end(s)


def end(s: State) -> None:
    """Lead on."""
    s.trace(f"gives up handing over to {s.transferee}")
    s.transferee = None

