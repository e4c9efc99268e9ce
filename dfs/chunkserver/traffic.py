"""How much clients ask of this server now, for metadata's pace of copies.  Pure."""

from __future__ import annotations

WINDOW = 2.0
"""Seconds that a rate is measured over, at least: several metadata nodes ask for it."""


class ClientTraffic:
    """Bytes of client transfers that ended, as a rate."""

    def __init__(self) -> None:
        self._bytes = 0
        self._since: float | None = None
        self._rate = 0

    def count(self, length: int) -> None:
        """A transfer of so many bytes ended."""
        self._bytes += length

    def rate(self, now: float) -> int:
        """Bytes/s over the last window that is full."""
        if self._since is None:
            self._since, self._bytes = now, 0
        elif now - self._since >= WINDOW:
            self._rate = int(self._bytes / (now - self._since))
            self._since, self._bytes = now, 0
        return self._rate
