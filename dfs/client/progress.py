"""How far a transfer is: bytes, rate, time to go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import frozen

WINDOW = 5.0  # seconds of history that the rate is taken from


@frozen
class Progress:
    """``total`` and ``remaining`` (seconds) are None while unknown; ``rate`` is bytes a second."""

    done: int
    total: int | None
    rate: float
    remaining: float | None


Observer = Callable[[Progress], None]


class Meter:
    """Counts bytes and tells an observer.  A retry takes its bytes back by a negative ``advance``.

    :param skipped: bytes found done already; they count as done, not towards the rate.
    """

    def __init__(self, seconds: Callable[[], float], total: int | None, observer: Observer | None) -> None:
        self._seconds = seconds
        self._observer = observer
        self._marks: deque[tuple[float, int]] = deque([(seconds(), 0)])
        self._moved = 0
        self.total = total
        self.done = 0
        self.last_progress = seconds()

    def skip(self, count: int) -> None:
        """These bytes need no transfer."""
        self.done += count
        self._tell()

    def advance(self, count: int) -> None:
        """These bytes moved."""
        now = self._seconds()
        self.done += count
        self._moved += count
        if count > 0:
            self.last_progress = now
        if now - self._marks[-1][0] >= 0.1:
            self._marks.append((now, self._moved))
            while now - self._marks[0][0] > WINDOW and len(self._marks) > 2:
                self._marks.popleft()
        self._tell()

    def _tell(self) -> None:
        if self._observer is not None:
            self._observer(self.progress())

    def progress(self) -> Progress:
        """Now."""
        began, moved = self._marks[0]
        elapsed = self._seconds() - began
        rate = max(0.0, (self._moved - moved) / elapsed) if elapsed > 0 else 0.0
        remaining = (self.total - self.done) / rate if self.total is not None and rate > 0 else None
        return Progress(self.done, self.total, rate, remaining)
