"""Where a chunk is in the planner's rounds, told for whoever asks why it is not healed yet.  Pure."""

from __future__ import annotations

from attrs import frozen

from dfs.metaserver.flights import Flight
from dfs.metaserver.moves import ASIDE_SECONDS, Aside, Waiting
from dfs.metaserver.scanning import Key
from dfs.protocol.messages import Healing


@frozen
class Whereabouts:
    """:ivar words: a sentence; its numbers are nodes.
    :ivar seconds: until the planner acts again by the clock; 0 where an event decides.
    """

    healing: Healing
    words: tuple[str | int, ...]
    seconds: float = 0.0


def of_entry(key: Key, now: float, flight: Flight | None, waiting: Waiting, aside: Aside) -> Whereabouts:
    """A chunk that is being copied, waits for a time, or was set aside."""
    if flight is not None:
        copy = flight.copy
        flying = ("a copy from ", copy.source, " to ", copy.target, " is on its way")
        return Whereabouts(Healing.COPYING, flying, flight.deadline - now)
    if key in waiting.times:
        failed = (f"{waiting.failures.get(key, 0)} tries failed one after the other",)
        return Whereabouts(Healing.BACKING_OFF, failed, waiting.times[key] - now)
    return Whereabouts(Healing.ASIDE, (aside.entries[key][0],), aside.since + ASIDE_SECONDS - now)


def of_queue(waits: bool, is_due: bool, scans: bool) -> Whereabouts:
    """A chunk that waits for free nodes, or about which nothing is known."""
    if waits:
        return Whereabouts(Healing.WAITING, ("it waits until a node that holds it and one that can take it are free",))
    if is_due:
        return Whereabouts(Healing.LOOKING, ("it is looked at with the next turn",))
    return Whereabouts(Healing.NOTHING, ("scans are running: it may be found yet" if scans else "nothing is due",))
