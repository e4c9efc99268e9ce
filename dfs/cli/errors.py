"""What a command itself has to complain of; all else is dfs.client.errors."""

from __future__ import annotations


class UsageError(Exception):
    """What was asked cannot be meant; exit code 2."""

    def __init__(self, message: str, hint: str = "see dfs --help") -> None:
        super().__init__(message)
        self.hint = hint


class CommandFailed(Exception):
    """A command's own failure: a sentence, a hint, an exit code."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
