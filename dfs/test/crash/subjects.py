"""What a store has to do to be tried.

What it holds is told as a string of one line without tabs: equal strings, equal content.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Protocol, TypeAlias

from dfs.disk.interfaces import IDisk

Mark: TypeAlias = Callable[..., None]
"""Called with every string that may be seen after a power cut from now on."""


class Refused(Exception):
    """The store does not open what it finds; the sentence is what an operator would read."""


class Wrong(AssertionError):
    """The store opened, and what it holds is nothing that it was ever given: half a change, or another's bytes."""


class Opened(Protocol):
    """An open store."""

    def seen(self) -> str:
        """What it holds.  Raises Wrong."""

    def step(self, chance: Random, mark: Mark) -> None:
        """Change something: mark what may be seen before the first call that could show, and when it is durable."""

    def close(self, mark: Mark) -> None:
        """End in order; marks what is durable then."""


class Subject(Protocol):
    """A kind of store.

    :ivar name: for the command line and the report.
    :ivar empty: what an opened new folder holds.
    :ivar traced: True where it writes by itself, so that only strace sees its calls.
    :ivar failures: what it raises when the disk fails; after one of these it is not used again.
    :ivar torn_pages: the unit of tearing below which it may refuse with a sentence, 0 for none: a store that relies
        on whole pages.
    """

    @property
    def name(self) -> str: ...

    @property
    def empty(self) -> str: ...

    @property
    def traced(self) -> bool: ...

    @property
    def failures(self) -> tuple[type[Exception], ...]: ...

    @property
    def torn_pages(self) -> int: ...

    def small(self) -> AbstractContextManager[None]:
        """Within it, limits are so small that few steps pass them (rotation, compaction, checkpoints)."""

    def open(self, disk: IDisk, folder: str) -> Opened:
        """Open or found it.  Raises Refused."""
