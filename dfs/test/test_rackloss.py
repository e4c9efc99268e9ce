"""What the benchmark of a rack's death goes by: tables as the state machine makes them, and every chunk healed."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.rackloss.load import OF_A_FILE, Author, rack_of
from bench.rackloss.model import RackLoss
from dfs.metaserver import queries, tables
from dfs.metaserver.records import head_codec

CHUNKS = 5_120
_OF_ENTRIES = (b"S", b"A", b"M")


class LoadTests(SynchronousTestCase):
    def test_directly_and_by_apply(self) -> None:
        """Records that are written directly are those that the commands leave, but for the count of entries."""
        found = []
        for by_apply in (CHUNKS, OF_A_FILE * 16):
            author = Author(self.mktemp(), by_apply=by_apply)
            author.grow(CHUNKS)
            everything = dict(author.machine.store.scan(b"", None, 10 * CHUNKS))
            author.machine.close()
            head = head_codec.decode(everything[tables.HEAD])
            of_data = {key: value for key, value in everything.items() if key[:1] not in _OF_ENTRIES}
            found.append((evolve(head, index=0, hash=bytes(32)), of_data))
        self.assertEqual(found[0], found[1])
        self.assertGreater(len(found[0][1]), 3 * CHUNKS)


class HealTests(SynchronousTestCase):
    def test_a_rack_dies(self) -> None:
        """S03, S13, S20: by the planner and the state machine every chunk of a rack that died is whole again in other
        racks, those with one copy left first."""
        author = Author(self.mktemp(), by_apply=OF_A_FILE * 16)
        author.grow(CHUNKS)
        samples = RackLoss(author).run()
        store, short = author.machine.store, samples.short[0]
        self.assertGreater(short, CHUNKS // 20)
        self.assertEqual((samples.short[-1], samples.single[-1]), (0, 0))
        self.assertLessEqual(samples.single_safe, samples.whole)
        for key, _ in store.scan(b"C", b"D", 2 * CHUNKS):
            copies = queries.copies(store, *tables.place_of(key))
            assert copies is not None
            racks = {rack_of(node) for node in copies.nodes} - {0}
            self.assertGreaterEqual(len(racks), copies.wanted)
        author.machine.close()
