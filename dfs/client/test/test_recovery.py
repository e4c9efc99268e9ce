"""What is rebuilt of a file from its chunks, and what is not."""

from __future__ import annotations

import hashlib

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.recovery import LOST, Assembly, Candidate, Histories, Names, lost_name, ranges, shortage
from dfs.protocol.messages import DescribedReplica, HeldReplica
from dfs.protocol.values import HISTORY_SHIFT, PIECE, Description, FileId, Generation, Label, file_digest

CHUNK = 2 * PIECE
LABEL = Label("a/b", None, CHUNK, 3)


def sha(index: int, content: bytes = b"") -> bytes:
    return hashlib.sha256(b"%d" % index + content).digest()


def replica(
    index: int,
    length: int = CHUNK,
    label: Label | None = LABEL,
    last: bool = False,
    generation: int = 1,
    content: bytes = b"",
) -> DescribedReplica:
    held = HeldReplica(FileId(7), index, Generation(generation), length, sha(index, content), 1)
    return DescribedReplica(held, None if label is None else Description(label, last, 1000 + index))


def judged(*chunks: list[DescribedReplica], file_id: int = 7) -> Candidate:
    """What is made of these replicas, a list a chunk."""
    assembly = Assembly(FileId(file_id))
    for replicas in chunks:
        assembly.add(replicas[0].held.index, replicas)
    return assembly.finish()


class WholeTests(SynchronousTestCase):
    def test_stream_ends_with_its_last_chunk(self) -> None:
        """A file of unknown length is whole when a chunk says that it is the last, full or not, and none is missing."""
        for length in (1, CHUNK):
            found = judged([replica(0)], [replica(1)], [replica(2, length, last=True)])
            self.assertTrue(found.whole)
            self.assertEqual((found.name, found.size, found.chunk_size), ("a/b", 2 * CHUNK + length, CHUNK))
            self.assertEqual((found.replication, found.created_ms), (3, 1000))
            self.assertEqual(found.digest, file_digest(sha(0) + sha(1) + sha(2)))

    def test_stream_without_its_end(self) -> None:
        """Full chunks of which none is the last are an upload that was cut: no file."""
        found = judged([replica(0)], [replica(1)])
        self.assertFalse(found.whole)
        self.assertIn("no chunk is the last", shortage(found))

    def test_known_size(self) -> None:
        """A file of known length is whole with all of its chunks, and lacks just those that are not there."""
        label = evolve(LABEL, size=3 * CHUNK - 5)
        chunks = [[replica(0, label=label)], [replica(1, label=label)], [replica(2, CHUNK - 5, label)]]
        self.assertTrue(judged(*chunks).whole)
        for absent in range(3):
            found = judged(*chunks[:absent], *chunks[absent + 1 :])
            self.assertFalse(found.whole)
            self.assertEqual((found.missing, found.chunks), ((absent,), ()))
            self.assertIn(f"chunk {absent} missing", shortage(found))

    def test_wrong_lengths(self) -> None:
        """A chunk whose length is not that of its place makes no whole file."""
        label = evolve(LABEL, size=2 * CHUNK)
        self.assertFalse(judged([replica(0, CHUNK - 1, label)], [replica(1, label=label)]).whole)
        self.assertFalse(judged([replica(0, label=label)], [replica(1, CHUNK - 1, label)]).whole)
        self.assertFalse(judged([replica(0, 5)], [replica(1, last=True)]).whole)

    def test_behind_the_last(self) -> None:
        """Chunks behind the last one are a contradiction, not a file."""
        found = judged([replica(0, last=True)], [replica(1)])
        self.assertFalse(found.whole)
        self.assertEqual(len(found.contradictions), 1)

    def test_many_missing(self) -> None:
        """What is missing of a long file is told in short."""
        found = judged([replica(0, label=evolve(LABEL, size=1000 * CHUNK))])
        self.assertEqual(len(found.missing), 20)
        self.assertIn("chunks 1-20, ...", shortage(found))
        self.assertEqual(ranges([0, 1, 2, 7]), "0-2, 7")

    def test_nobody_knows_the_name(self) -> None:
        """Replicas of before names are a file of an unknown name, if they fit one another."""
        found = judged([replica(0, label=None)], [replica(1, 5, None)])
        self.assertEqual((found.whole, found.name, found.chunk_size), (True, "", CHUNK))
        one = judged([replica(0, 5, None)])
        self.assertEqual((one.whole, one.chunk_size), (True, PIECE))
        self.assertFalse(judged([replica(1, 5, None)]).whole)


class ChoiceTests(SynchronousTestCase):
    def test_newest_generation(self) -> None:
        """Of several generations of a chunk the newest counts: a committed chunk is never placed again."""
        found = judged([replica(0, 5, last=True, generation=3, content=b"new"), replica(0, CHUNK, generation=2)])
        self.assertEqual([(chunk.generation, chunk.length) for chunk in found.chunks], [(3, 5)])
        self.assertEqual(found.chunks[0].sha256, sha(0, b"new"))
        self.assertEqual(found.contradictions, ())

    def test_one_generation_of_two_contents(self) -> None:
        """Where replicas of one generation differ the bytes that most of them have are taken, and it is told."""
        others = [replica(0, last=True), replica(0, last=True)]
        found = judged([replica(0, last=True, content=b"odd"), *others])
        self.assertEqual(found.chunks[0].sha256, sha(0))
        self.assertEqual(len(found.contradictions), 1)

    def test_names(self) -> None:
        """The newest file of a name has it, whole or not; the others are kept apart by their id, and so is what has no
        name; nothing is dropped."""
        names = Names()
        old = judged([replica(0, last=True)], file_id=5)
        cut = judged([replica(0)], file_id=9)
        nameless = judged([replica(0, label=None)], file_id=6)
        alone = judged([replica(0, label=evolve(LABEL, name="c"), last=True)], file_id=4)
        for each in (old, cut, nameless, alone):
            names.note(each)
        self.assertEqual(names.name_of(alone), ("c", ""))
        name, why = names.name_of(old)
        self.assertEqual(name, f"{LOST}/{5:016x}/a/b")
        self.assertIn(f"{9:016x}", why)
        self.assertEqual(names.name_of(nameless)[0], f"{LOST}/{6:016x}")

    def test_a_name_that_came_later(self) -> None:
        """A file that came between the two looks at a cluster in use has its own name."""
        names = Names()
        names.note(judged([replica(0, last=True)], file_id=5))
        self.assertEqual(names.name_of(judged([replica(0, last=True)], file_id=9)), ("a/b", ""))
        alone = judged([replica(0, label=evolve(LABEL, name="c"), last=True)], file_id=4)
        self.assertEqual(names.name_of(alone), ("c", ""))

    def test_long_names(self) -> None:
        """A name that has no room behind lost+found is left out."""
        found = judged([replica(0, label=evolve(LABEL, name="x" * 4096), last=True)])
        self.assertEqual(lost_name(found), f"{LOST}/{7:016x}")


class HistoryTests(SynchronousTestCase):
    """Two histories of lost metadata issued the same file id."""

    def found(self, *chunks: list[DescribedReplica]) -> list[Candidate]:
        histories = Histories(FileId(7))
        for replicas in chunks:
            histories.add(replicas[0].held.index, replicas)
        return histories.finish()

    def of(self, history: int, index: int, name: str, last: bool = False) -> DescribedReplica:
        said = replica(index, label=evolve(LABEL, name=name), last=last, content=name.encode())
        return evolve(said, held=evolve(said.held, generation=Generation(history << HISTORY_SHIFT | 1 + index)))

    def test_never_mixed(self) -> None:
        """Chunks of different histories never make one file, and each file is told of (S16)."""
        for one, other in ((1, 2), (2, 1)):
            long = [self.of(one, 0, "long"), self.of(one, 1, "long", last=True)]
            short = self.of(other, 0, "short", last=True)
            found = self.found([long[0], short], [long[1]])
            self.assertEqual(sorted((each.name, each.whole, len(each.chunks)) for each in found), [
                ("long", True, 2), ("short", True, 1),
            ])  # fmt: skip
            self.assertEqual([each.rival for each in found], ["", found[0].name])
            self.assertEqual({each.contradictions for each in found}, {()})

    def test_the_whole_one_has_the_id(self) -> None:
        """A file that is not whole takes the id from none that is, and has a word in no name."""
        for one, other in ((1, 2), (2, 1)):
            whole, cut = self.of(one, 0, "whole", last=True), self.of(other, 0, "cut")
            found = self.found([cut, whole])
            self.assertEqual([(each.name, each.whole) for each in found], [("whole", True), ("cut", False)])
        names = Names()
        names.note(found[1])
        older = judged([replica(0, label=evolve(LABEL, name="cut"), last=True)], file_id=3)
        self.assertEqual(names.name_of(older), ("cut", ""))
