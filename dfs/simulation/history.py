"""What clients were told about each name, and whether one order of events explains it all: linearizability.

A name is a register that is absent or holds the digest of one upload; :mod:`dfs.simulation.linearizability` finds the
order, of each name apart.  What the metadata servers answered, request by request, is in :mod:`dfs.simulation.ledger`.

An operation whose outcome its client never learnt may have taken effect at any time after it began, or not at all.
That is the whole promise about names: an acknowledged upload is there until it is deleted, a deleted name stays
away, what was refused never appears, and of two uploads of one name one wins.
"""

from __future__ import annotations

import enum

from attrs import define, field

from dfs.simulation.linearizability import Verdict, explain


class Kind(enum.Enum):
    """What was asked."""

    UPLOAD = "upload"
    DELETE = "delete"
    READ = "read"


class Outcome(enum.Enum):
    """What the client knows of it."""

    DONE = "done"
    REFUSED = "refused"  # an upload: the name exists; a delete or a read: it does not
    UNKNOWN = "unknown"


@define(eq=False)
class Operation:
    """One operation on one name.

    :ivar value: of an upload, its content's digest; of a read, the digest that was found.
    :ivar began, ended: positions in the order of all beginnings and ends; ``ended`` None: not known to have ended.
    :ivar again: an upload that finishes what an earlier one of the same bytes began: if that one was committed,
        this one is told of its success.
    """

    number: int
    client: str
    kind: Kind
    name: str
    value: str
    began: int
    ended: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    time: float = field(default=0.0)
    again: bool = field(default=False)

    def __str__(self) -> str:
        span = f"[{self.began}, {'' if self.ended is None else self.ended}]"
        return f"{self.time:.3f} {self.client} {self.kind.value} {self.value[:12]} {self.outcome.value} {span}"

    @property
    def is_look(self) -> bool:
        """See Interval."""
        return self.kind is Kind.READ or self.outcome is Outcome.REFUSED

    def after(self, state: str | None) -> tuple[bool, str | None]:
        """Whether the outcome fits ``state``, and the state that it leaves."""
        if self.kind is Kind.UPLOAD:
            if self.outcome is Outcome.REFUSED:
                return state is not None, state
            return state is None or (self.again and state == self.value), self.value
        if self.kind is Kind.DELETE:
            if self.outcome is Outcome.REFUSED:
                return state is None, state
            return state is not None, None
        if self.outcome is Outcome.REFUSED:
            return state is None, state
        return state == self.value, state


class History:
    """Operations as they begin and end.

    :ivar undecided: names of which the search was given up.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.undecided = 0
        self._names: dict[str, None] = {}
        self._position = 0

    def begin(self, client: str, kind: Kind, name: str, value: str, time: float, again: bool = False) -> Operation:
        """It is asked now; until :meth:`end` its outcome is unknown."""
        operation = Operation(len(self.operations), client, kind, name, value, self._next(), time=time, again=again)
        self.operations.append(operation)
        self._names[name] = None
        return operation

    def end(self, operation: Operation, outcome: Outcome, value: str | None = None) -> None:
        """Its client knows now.  An unknown outcome stays open for ever."""
        if outcome is not Outcome.UNKNOWN:
            operation.ended = self._next()
            operation.outcome = outcome
        if value is not None:
            operation.value = value

    def _next(self) -> int:
        self._position += 1
        return self._position

    def names(self) -> list[str]:
        """Every name that was ever touched, in order of first touch."""
        return list(self._names)

    def of(self, name: str) -> list[Operation]:
        """What happened to one name; reads that failed say nothing and are left out."""
        return [
            operation
            for operation in self.operations
            if operation.name == name and (operation.kind is not Kind.READ or operation.outcome is not Outcome.UNKNOWN)
        ]

    def violations(self) -> list[str]:
        """One sentence with the whole history of each name that no order explains."""
        found = []
        for name in self.names():
            operations = self.of(name)
            verdict = explain(operations, None)
            self.undecided += verdict is Verdict.UNDECIDED
            if verdict is Verdict.WRONG:
                listing = "; ".join(str(operation) for operation in operations)
                found.append(f"no order of events explains what clients saw of {name!r}: {listing}")
        return found
