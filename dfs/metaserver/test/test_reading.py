"""What a duty knows of the tables, and when it asks them anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.reading import Known, Reader
from dfs.raft.errors import Stopped


class Tables:
    """A Raft member whose lane answers at once, and the tables behind it, which hold one number."""

    def __init__(self) -> None:
        self.applied_index = self.number = self.asked = 0
        self.stopped = False

    @property
    def store(self) -> Tables:
        return self

    def read_index(self) -> Deferred[int]:
        return succeed(self.applied_index)

    def query(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self.stopped:
            return fail(Stopped("the node does not serve"))
        self.asked += 1
        return succeed(function(*arguments))


class KnownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tables = Tables()
        machine = cast(MetadataMachine, self.tables)
        reader = Reader(self.tables, machine, Clock(), {}, lambda failure: None)
        self.known = Known(reader, lambda store: cast(Tables, store).number)

    def look(self) -> int:
        return self.successResultOf(Deferred.fromCoroutine(self.known.look()))

    def test_asked_when_something_was_applied(self) -> None:
        """The tables are read once for each index that is applied, and what is found is never older than that."""
        self.assertEqual((self.look(), self.look(), self.tables.asked), (0, 0, 1))
        self.tables.applied_index, self.tables.number = 7, 70
        self.assertEqual((self.look(), self.look(), self.tables.asked), (70, 70, 2))

    def test_applied_meanwhile(self) -> None:
        """What is applied while the tables are read is read again: it may not have been in what was found."""
        question = self.tables.query

        def query(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            found = question(function, *arguments)
            self.tables.applied_index = self.tables.number = 1
            return found

        self.patch(self.tables, "query", query)
        self.assertEqual((self.look(), self.look()), (0, 1))

    def test_a_look_that_failed(self) -> None:
        """A look that failed counts as none."""
        self.tables.stopped = True
        self.failureResultOf(Deferred.fromCoroutine(self.known.look()), Stopped)
        self.tables.stopped = False
        self.tables.number = 3
        self.assertEqual(self.look(), 3)
