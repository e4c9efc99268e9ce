"""The two kinds of order that take a healthy replica away, and what is refused."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.errors import Forbidden
from dfs.protocol.removal import Removal, RemovalKind, Survivor, refusal
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import HISTORY_SHIFT, FileId, Generation, NodeNumber

KEY = b"k" * 32
ME, OTHER = NodeNumber(1), NodeNumber(2)
HISTORY = 7 << HISTORY_SHIFT
OLD, NEW = Generation(HISTORY + 4), Generation(HISTORY + 9)

SURPLUS = Removal(RemovalKind.SURPLUS, FileId(5), 3, NEW, ME, 20, NEW, (Survivor(OTHER, 11),), 6, 100, 1000, b"")
STALE = Removal(RemovalKind.STALE, FileId(5), 3, OLD, ME, 20, NEW, (), 6, 0, 1000, b"")


class RefusalTests(SynchronousTestCase):
    """What a chunk server asks of an order before it obeys."""

    def refused(self, removal: Removal, held: int = 20, term: int = 6) -> str:
        return refusal(removal, ME, held, term)

    def test_obeyed(self) -> None:
        """A surplus and a stale replica of the number that is named go, also by the order of a newer leader (S16)."""
        for removal in (SURPLUS, STALE):
            self.assertEqual(self.refused(removal), "")
            self.assertEqual(self.refused(removal, term=5), "")

    def test_made_anew(self) -> None:
        """A replica that was made again since has another number: the old order does not mean it (S17)."""
        for removal in (SURPLUS, STALE):
            self.assertIn("made after it", self.refused(removal, held=21))

    def test_former_leader(self) -> None:
        """What a former leader ordered is refused (S16)."""
        self.assertIn("former leader", self.refused(SURPLUS, term=7))

    def test_another_node(self) -> None:
        """An order for another node moves nothing here."""
        self.assertIn("another node", self.refused(attrs.evolve(SURPLUS, node=OTHER)))

    def test_survivors_are_named(self) -> None:
        """A surplus replica goes only where another node's is named as the one that stays (S16)."""
        for survivors in ((), (Survivor(ME, 20),)):
            self.assertIn("no replica that stays", self.refused(attrs.evolve(SURPLUS, survivors=survivors)))

    def test_evidence_is_named(self) -> None:
        """A surplus replica goes only by an order that names the log entry which struck it off the record (S16)."""
        self.assertIn("entry", self.refused(attrs.evolve(SURPLUS, evidence=0)))

    def test_surplus_is_committed(self) -> None:
        """As surplus goes only a replica of the committed generation."""
        self.assertIn("committed generation", self.refused(attrs.evolve(SURPLUS, generation=OLD)))

    def test_stale_is_older(self) -> None:
        """As stale goes only an older generation of the same history (S16)."""
        for generation in (NEW, Generation(NEW + 1), Generation(4)):
            self.assertIn("not of an older generation", self.refused(attrs.evolve(STALE, generation=generation)))


class SignatureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ring = KeyRing(KEY, b"c" * 16)
        self.removal = self.ring.sign_removal(SURPLUS)

    def check(self, removal: Removal, now_ms: int = 0, ring: KeyRing | None = None) -> None:
        (ring or self.ring).check_removal(removal, FileId(5), 3, NEW, now_ms)

    def test_good(self) -> None:
        """An order that metadata signed is good until it expires."""
        self.check(self.removal, 999)
        self.assertRaises(Forbidden, self.check, self.removal, 1000)

    def test_changed(self) -> None:
        """An order of which anything was changed is refused, the survivors included (S43)."""
        for change in (
            {"kind": RemovalKind.STALE},
            {"number": 21},
            {"node": OTHER},
            {"survivors": (Survivor(OTHER, 12),)},
            {"term": 99},
            {"evidence": 101},
            {"expires_ms": 2000},
            {"mac": bytes(32)},
            {"mac": b""},
        ):
            self.assertRaises(Forbidden, self.check, attrs.evolve(self.removal, **change))

    def test_for_another_replica(self) -> None:
        """A good order is no good for another chunk or generation."""
        for file_id, index, generation in ((6, 3, NEW), (5, 4, NEW), (5, 3, OLD)):
            self.assertRaises(Forbidden, self.ring.check_removal, self.removal, FileId(file_id), index, generation, 0)

    def test_another_cluster(self) -> None:
        """Another cluster's order is refused."""
        self.assertRaises(Forbidden, self.check, self.removal, 0, KeyRing(KEY, b"d" * 16))
