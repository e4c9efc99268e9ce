"""The model of a power cut: what may be left, and what may not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dfs.test.crash.calls import (
    Call,
    Cut,
    MakeFile,
    MakeFolder,
    Mark,
    Recording,
    Remove,
    Rename,
    Sync,
    SyncFolder,
    Tree,
    Write,
)
from dfs.test.crash.draws import PAGE, SECTOR, states
from dfs.test.crash.volume import Volume

OLD, NEW = b"o" * (2 * PAGE), b"n" * (2 * PAGE)
START: Tree = {"a": None, "b": None, "a/f": OLD}
DRAWS = 2000


class VolumeTests(SynchronousTestCase):
    """Every draw after some calls on START, whose file a/f is inode 1."""

    def left(self, *calls: Call) -> list[Tree]:
        """The distinct trees that draws at the end of the calls give."""
        volume = Recording(START, (Mark(("anything",)), *calls))
        places = frozenset((len(volume.calls),))
        trees: list[Tree] = []
        for state in islice(states(volume, Random(1), places), DRAWS):
            if state.tree not in trees:
                trees.append(state.tree)
        return trees

    def contents(self, path: str, calls: Sequence[Call]) -> set[bytes | None]:
        """What the draws leave under one name; None where it is not there."""
        return {tree.get(path) for tree in self.left(*calls)}

    def test_synced_is_there(self) -> None:
        """Bytes that were synced under a name that was synced are in every state, and nothing else is."""
        trees = self.left(MakeFile("a/g", 2), Write(2, 0, NEW), Sync(2), SyncFolder("a"))
        self.assertEqual(trees, [{**START, "a/g": NEW}])

    def test_a_sync_of_the_file_keeps_no_name(self) -> None:
        """A new name is durable by its folder's sync only."""
        found = self.contents("a/g", [MakeFile("a/g", 2), Write(2, 0, NEW), Sync(2)])
        self.assertEqual(found, {None, NEW})

    def test_a_sync_of_the_folder_keeps_no_bytes(self) -> None:
        """The name may be durable while the bytes are not: an empty file, zeros, and parts are left."""
        found = self.contents("a/g", [MakeFile("a/g", 2), Write(2, 0, NEW), SyncFolder("a")])
        self.assertLessEqual({b"", bytes(2 * PAGE), NEW}, found)

    def test_torn_writes(self) -> None:
        """An overwrite is torn at whole sectors or whole pages, in any combination, and nowhere else."""
        found = self.contents("a/f", [Write(1, 0, NEW)])
        sectors = [{content[at : at + SECTOR] for at in range(0, len(content), SECTOR)} for content in found if content]
        self.assertLessEqual(set().union(*sectors), {OLD[:SECTOR], NEW[:SECTOR]})
        self.assertIn(OLD[:PAGE] + NEW[:PAGE], found)
        self.assertIn(NEW[:PAGE] + OLD[:PAGE], found)
        self.assertGreater(len(found), 100)

    def test_order_is_not_kept(self) -> None:
        """Of two writes the later may be durable and the earlier not."""
        found = self.contents("a/f", [Write(1, 0, NEW[:PAGE]), Write(1, PAGE, NEW[:PAGE])])
        self.assertIn(OLD[:PAGE] + NEW[:PAGE], found)

    def test_cut(self) -> None:
        """A file that was cut is long or short."""
        found = self.contents("a/f", [Cut(1, 10)])
        self.assertLessEqual({OLD, OLD[:10]}, found)
        self.assertEqual({len(content) for content in found if content is not None}, {10, len(OLD)})

    def test_rename_replaces_or_does_not(self) -> None:
        """The target of a rename within a folder is the old file or the new one, whole."""
        calls: list[Call] = [MakeFile("a/g", 2), Write(2, 0, NEW), Sync(2), SyncFolder("a"), Rename("a/g", "a/f")]
        self.assertEqual(self.contents("a/f", calls), {OLD, NEW})
        self.assertEqual(self.contents("a/f", [*calls, SyncFolder("a")]), {NEW})

    def test_rename_between_folders(self) -> None:
        """A file that moves between folders shows under either name or both, never under none; the sync of the new
        folder leaves the old name in doubt, that of the old one nothing."""

        def shown(calls: Sequence[Call]) -> set[tuple[bool, bool]]:
            return {("a/f" in tree, "b/f" in tree) for tree in self.left(*calls)}

        move = Rename("a/f", "b/f")
        self.assertEqual(shown([move]), {(True, False), (True, True), (False, True)})
        self.assertEqual(shown([move, SyncFolder("b")]), {(True, True), (False, True)})
        self.assertEqual(shown([move, SyncFolder("a")]), {(False, True)})

    def test_removed_names_come_back(self) -> None:
        """A removal that was not synced may not have happened."""
        self.assertEqual(self.contents("a/f", [Remove("a/f")]), {OLD, None})
        self.assertEqual(self.contents("a/f", [Remove("a/f"), SyncFolder("a")]), {None})

    def test_names_in_a_lost_folder(self) -> None:
        """What is in a folder whose own name is lost is lost with it."""
        calls: list[Call] = [MakeFolder("a/c"), MakeFile("a/c/g", 2), SyncFolder("a/c")]
        self.assertEqual({"a/c/g" in tree for tree in self.left(*calls)}, {True, False})
        self.assertTrue(all("a/c" in tree for tree in self.left(*calls) if "a/c/g" in tree))

    def test_marks(self) -> None:
        """A state carries what was promised last before the cut."""
        recording = Recording(START, (Mark(("old",)), Write(1, 0, NEW), Mark(("old", "new")), Sync(1), Mark(("new",))))
        found = [state.allowed for state in islice(states(recording, Random(1)), 3)]
        self.assertEqual(found, [("old",), ("old", "new"), ("new",)])

    def test_kept(self) -> None:
        """A process that is killed loses nothing."""
        volume = Volume.of(START)
        for call in (MakeFile("b/g", 2), Write(2, 3, b"x"), Rename("b/g", "b/h"), Remove("a/f")):
            volume.apply(call)
        self.assertEqual(volume.kept(), {"a": None, "b": None, "b/h": b"\0\0\0x"})
