"""Digests of ranges of replicas."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.digests import digest_of, replica_hash


class DigestTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """S39: both sides compute the same bytes for ever, in any order, over any split."""
        replicas = [(7, 3, 11), (7, 4, 12), (1 << 60, 0, 1)]
        total = sum(replica_hash(*one) for one in replicas)
        self.assertEqual(digest_of(total).hex(), GOLDEN)
        self.assertEqual(digest_of(sum(replica_hash(*one) for one in replicas[::-1])), digest_of(total))
        self.assertEqual(digest_of(total - sum(replica_hash(*one) for one in replicas)), bytes(16))
        self.assertEqual(digest_of(-replica_hash(*replicas[0]) + total), digest_of(total - replica_hash(*replicas[0])))

    def test_every_field_counts(self) -> None:
        """S06: another file, index or number is another replica."""
        self.assertEqual(len({replica_hash(*one) for one in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4))}), 4)


GOLDEN = "3b72c48cd54b7138a8161e850dd8e667"
