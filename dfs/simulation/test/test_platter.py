"""Looking at a disk, and the choices of a seed."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.dice import Dice
from dfs.simulation.disk import SimulatedDisk
from dfs.simulation.platter import clone, paths, peek, write_file


class PlatterTests(SynchronousTestCase):
    """The simulator's own eyes."""

    def setUp(self) -> None:
        self.disk = SimulatedDisk()
        write_file(self.disk, "/a/b/two", b"2")
        write_file(self.disk, "/a/one", b"1")

    def test_look(self) -> None:
        """Files are found and read, and nothing counts as an operation or fails."""
        before = self.disk.operations
        self.disk.inject("pread", count=None)
        self.assertEqual(paths(self.disk, "/a"), ["/a/b/two", "/a/one"])
        self.assertEqual([peek(self.disk, path) for path in ("/a/b/two", "/a/b", "/a/x")], [b"2", None, None])
        self.assertEqual(paths(self.disk, "/none"), [])
        self.assertEqual(self.disk.operations, before)

    def test_clone(self) -> None:
        """A clone has every file, durably, and is its own."""
        other = SimulatedDisk()
        clone(self.disk, other, "/a")
        write_file(self.disk, "/a/one", b"changed")
        other.crash(Random(1))
        self.assertEqual({path: peek(other, path) for path in paths(other, "/a")}, {"/a/b/two": b"2", "/a/one": b"1"})


class DiceTests(SynchronousTestCase):
    """Choices are drawn as asked."""

    def test_choices(self) -> None:
        """Weights, bounds and lengths are kept, and the same seed draws the same."""
        dice, other = Dice(Random(1)), Dice(Random(1))
        drawn = [dice.weighted([("a", 1.0), ("b", 0.0), ("c", 3.0)]) for _ in range(400)]
        self.assertEqual(drawn, [other.weighted([("a", 1.0), ("b", 0.0), ("c", 3.0)]) for _ in range(400)])
        self.assertEqual(set(drawn), {"a", "c"})
        self.assertTrue(50 < drawn.count("a") < 150)
        self.assertEqual({dice.below(3) for _ in range(50)}, {0, 1, 2})
        self.assertEqual([len(dice.content(length)) for length in (0, 1, 1000)], [0, 1, 1000])
