"""What members are given, and who waits for them."""

from __future__ import annotations

from random import Random
from typing import Protocol

from dfs.simulation.consensus.agenda import Agenda
from dfs.simulation.consensus.checks import Checker
from dfs.simulation.consensus.network import Network
from dfs.simulation.consensus.plan import Plan


class Asker(Protocol):
    """Who waits for a proposal or a read; ``ticket`` is whatever it gave with the question."""

    def answered(self, ticket: int, position: int) -> None:
        """It is done: the position of the command, or the length of the list."""

    def unknown(self, ticket: int) -> None:
        """Nobody knows what came of it, or it was a read and must be asked again."""


class Surroundings(Protocol):
    """What members share."""

    agenda: Agenda
    chance: Random
    plan: Plan
    network: Network
    checker: Checker

    def note(self, *what: object) -> None:
        """One event for the trace."""

    def died(self, name: str) -> None:
        """A member's process ended."""
