"""What a leader knows of one follower (thesis 3.5, 10.2.1).

PROBE: where the logs agree is not known; one append at a time.  REPLICATE: appends are pipelined within a window.
SNAPSHOT: what it needs was compacted; a transfer brings it (R20).

Invariant: match < next (R18); match only rises.
"""

from __future__ import annotations

import enum


class Mode(enum.StrEnum):
    """See the module."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """See the module.

    :ivar heard: it answered at least once in this term.
    :ivar silent_ticks: since it last answered in this term (check-quorum, R10).
    :ivar acked_round: the latest round it answered (R47).
    :ivar flights: (last index, bytes) of each append not acknowledged, in order.
    :ivar oldest: the last index of the first of them at the former heartbeat, 0 where there was none.
    :ivar paused: a probe is out; the next leaves on its answer or with a heartbeat.
    :ivar reading: the number of the disk read that will feed it, or None.
    :ivar put_off: a transfer failed since the last heartbeat; none is wanted before the next (R42).
    :ivar snapshot_index: the mark of the transfer in progress, None before it started.
    :ivar leaving_index: the entry that removed it, 0 for a member (R57); it does not count.
    :ivar leaving_ticks: for how much longer it is told so.
    :ivar farewell_round: its answer to this round says that it knows; 0 before there is one.
    :ivar contact: where a removed member is still reached.
    """

    __slots__ = (
        "acked_round", "contact", "farewell_round", "flight_bytes", "flights", "heard", "leaving_index",
        "leaving_ticks", "match", "mode", "next", "oldest", "paused", "put_off", "reading", "silent_ticks",
        "snapshot_index", "voter",
    )  # fmt: skip

    def __init__(self, next_index: int, voter: bool) -> None:
        self.mode = Mode.PROBE
        self.match = 0
        self.next = next_index
        self.voter = voter
        self.heard = False
        self.silent_ticks = 0
        self.acked_round = 0
        self.flights: list[tuple[int, int]] = []
        self.oldest = 0
        self.flight_bytes = 0
        self.paused = self.put_off = False
        self.reading: int | None = None
        self.snapshot_index: int | None = None
        self.leaving_index = self.leaving_ticks = self.farewell_round = 0
        self.contact = ""

    def copy(self) -> Progress:
        """An independent copy."""
        other = Progress.__new__(Progress)
        for name in Progress.__slots__:
            setattr(other, name, getattr(self, name))
        other.flights = self.flights.copy()
        return other

    def fingerprint(self) -> tuple[object, ...]:
        """A hashable value, equal for equal states."""
        return (
            self.mode, self.match, self.next, self.heard, self.silent_ticks, self.acked_round,
            tuple(self.flights), self.oldest, self.paused, self.put_off, self.reading,
            self.snapshot_index, self.voter, self.leaving_index, self.leaving_ticks, self.farewell_round,
        )  # fmt: skip

    def probe(self, next_index: int | None = None) -> None:
        """Forget what is in flight and ask again from ``next_index``, or from just after the match (R24)."""
        self.mode = Mode.PROBE
        self.next = max(self.match + 1, next_index or 0)
        self._land_all()
        self.paused = False
        self.reading = None
        self.snapshot_index = None

    def replicate(self) -> None:
        """The logs agree at ``match``: pipeline from there."""
        self.probe()
        self.mode = Mode.REPLICATE

    def snapshot(self) -> None:
        """Wait for a transfer."""
        self.probe()
        self.mode = Mode.SNAPSHOT

    def sent(self, last: int, length: int) -> None:
        """An append up to ``last`` left."""
        if self.mode is Mode.REPLICATE:
            self.flights.append((last, length))
            self.flight_bytes += length
            self.next = last + 1
        else:
            self.paused = True

    def acknowledged(self, index: int) -> bool:
        """It holds everything up to ``index`` durably; True where that is news (R18)."""
        landed = 0
        for last, length in self.flights:
            if last > index:
                break
            self.flight_bytes -= length
            landed += 1
        if landed:
            del self.flights[:landed]
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        return True

    def stuck(self) -> bool:
        """Once a heartbeat: whether the first append in flight was so already at the former one."""
        former, self.oldest = self.oldest, self.flights[0][0] if self.flights else 0
        return self.oldest != 0 and self.oldest == former

    def has_room(self, messages: int, length: int) -> bool:
        """Whether the window takes another append."""
        return len(self.flights) < messages and self.flight_bytes < length

    def _land_all(self) -> None:
        self.flights = []
        self.flight_bytes = 0
