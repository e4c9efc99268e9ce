"""The packed index of replicas."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import index as index_module
from dfs.chunkserver.index import ReplicaIndex
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, FileId, Generation


def held(file_id: int, index: int, generation: int, number: int = 1) -> HeldReplica:
    return HeldReplica(FileId(file_id), index, Generation(generation), 100, b"s" * 32, number)


class ReplicaIndexTests(SynchronousTestCase):
    def test_against_a_dict(self) -> None:
        """After thousands of random adds and removes it holds exactly what a dict would, in order."""
        chance = random.Random(5)
        index = ReplicaIndex()
        model: dict[ChunkRef, HeldReplica] = {}
        for number in range(6000):
            ref = ChunkRef(FileId(chance.randrange(40)), chance.randrange(60), Generation(1 + chance.randrange(2)))
            if chance.random() < 0.3:
                self.assertEqual(index.remove(ref), model.pop(ref, None) is not None)
            else:
                model[ref] = held(ref.file_id, ref.index, ref.generation, number)
                index.add(model[ref])
        self.assertEqual(len(index), len(model))
        self.assertEqual(index.bytes, 100 * len(model))
        self.assertGreater(len(index._blocks), 2)
        for ref in list(model)[:200]:
            self.assertEqual(index.get(ref), model[ref])
        everything, upto = index.page(b"", 10**6)
        self.assertEqual(everything, [model[ref] for ref in sorted(model)])
        self.assertEqual(upto, b"\xff" * 12)

    def test_pages_cover_everything_once(self) -> None:
        """Pages follow one another without gap or overlap, and keep a chunk's generations together."""
        index = ReplicaIndex()
        for number in range(50):
            for generation in (1, 2, 3):
                index.add(held(1, number, generation))
        after, seen = b"", []
        while after != b"\xff" * 12:
            page, after = index.page(after, 10)
            self.assertLessEqual(len(page), 12)
            seen += page
        self.assertEqual(len(seen), 150)
        self.assertEqual(len({(one.index, one.generation) for one in seen}), 150)

    def test_generations(self) -> None:
        """All generations of one chunk are found, and no neighbour's."""
        index = ReplicaIndex()
        for position in (1, 2, 3):
            for generation in (4, 9):
                index.add(held(5, position, generation))
        found = [(one.index, one.generation) for one in index.generations(FileId(5), 2)]
        self.assertEqual(found, [(2, 4), (2, 9)])

    def test_memory(self) -> None:
        """A replica costs at most 100 bytes."""
        index = ReplicaIndex()
        for number in range(5000):
            index.add(held(1, number, 1))
        spent = sum(block.__sizeof__() for block in index._blocks)
        self.assertLess(spent / 5000, 100)

    def test_generations_look_at_few_records(self) -> None:
        """To tell the generations of one chunk takes the same few records however many replicas there are."""
        index = ReplicaIndex()
        for file_id in range(3000):
            for generation in (1, 2):
                index.add(held(file_id, 0, generation))
        looked: list[int] = []
        real = index_module._held

        def counted(block: bytearray, at: int) -> HeldReplica:
            looked.append(at)
            return real(block, at)

        self.patch(index_module, "_held", counted)
        found = index.generations(FileId(5), 0)
        self.assertEqual([each.generation for each in found], [1, 2])
        self.assertLessEqual(len(looked), 3)
