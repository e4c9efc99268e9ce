"""What can go wrong in the run-time seams."""

from __future__ import annotations


class DeadlineExceeded(Exception):
    """What was waited for did not come within ``seconds``; it was cancelled."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not end within {seconds:g} s")
        self.what = what
        self.seconds = seconds


class ThreadsStopped(Exception):
    """A call was asked of a lane or pool that is stopping or has stopped."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} takes no more calls: it was stopped")
        self.name = name


class SettingError(ValueError):
    """A setting's value or name cannot be used; the text is a sentence for the user."""
