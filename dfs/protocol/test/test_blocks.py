"""Blocks carry checksums that any cut of the same bytes satisfies and any other bytes do not."""

from __future__ import annotations

from itertools import pairwise

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.blocks import block_is_sound, cut_blocks
from dfs.protocol.values import BLOCK, PIECE

SIZES = [1, PIECE - 1, PIECE, PIECE + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]


def recut(data: bytes, cuts: list[int]) -> tuple[memoryview, ...]:
    """The same bytes in pieces that end at ``cuts``."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return tuple(memoryview(data)[a:b] for a, b in pairwise(edges))


class BlockTests(SynchronousTestCase):
    """cut_blocks and block_is_sound are each other's measure."""

    def test_cut_blocks_are_sound(self) -> None:
        """Blocks cut from any length cover it in order and are sound."""
        for size in SIZES:
            data = bytes(index % 251 for index in range(size))
            blocks = cut_blocks(memoryview(data), 0)
            self.assertEqual(b"".join(bytes(p) for block in blocks for p in block.pieces), data)
            self.assertTrue(all(block_is_sound(block) for block in blocks))
            self.assertTrue(all(block.length <= BLOCK for block in blocks))

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from([s for s in SIZES if s <= BLOCK]), st.lists(st.integers(0, BLOCK), max_size=6), st.data())
    def test_any_cut_any_flip(self, size: int, cuts: list[int], data: st.DataObject) -> None:
        """A block is sound however its pieces are cut, and unsound once any byte differs (S07)."""
        content = bytes(index % 251 for index in range(size))
        (block,) = cut_blocks(memoryview(content), 0)
        self.assertTrue(block_is_sound(evolve(block, pieces=recut(content, cuts))))
        at = data.draw(st.integers(0, size - 1))
        bad = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        self.assertFalse(block_is_sound(evolve(block, pieces=recut(bad, cuts))))

    def test_wrong_counts(self) -> None:
        """A block whose lengths or number of checksums disagree is unsound."""
        (block,) = cut_blocks(memoryview(bytes(PIECE + 1)), 0)
        self.assertFalse(block_is_sound(evolve(block, crcs=block.crcs[:1])))
        self.assertFalse(block_is_sound(evolve(block, crcs=(*block.crcs, 0))))
        self.assertFalse(block_is_sound(evolve(block, pieces=block.pieces + block.pieces)))
        self.assertFalse(block_is_sound(evolve(block, pieces=())))
