"""Receive buffers that are used again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.buffers import SMALL, Buffers, is_free
from dfs.protocol.values import BLOCK


class BuffersTests(SynchronousTestCase):
    def test_bytes_that_somebody_looks_at_stay(self) -> None:
        """A buffer is given again only when no view of it is left, not even a view of a view; its bytes stay (S07)."""
        buffers = Buffers()
        first = buffers.take(BLOCK)
        first[:4] = b"abcd"
        part = first[:4]
        memory = first.obj
        del first
        second = buffers.take(BLOCK)
        self.assertIsNot(second.obj, memory)
        self.assertEqual(bytes(part), b"abcd")
        del part
        self.assertIs(buffers.take(BLOCK).obj, memory)

    def test_to_try_changes_nothing(self) -> None:
        """Whether a buffer is free can be asked at any time: length and bytes are as before."""
        buffer = bytearray(b"abc")
        view = memoryview(buffer)
        self.assertFalse(is_free(buffer))
        self.assertEqual(bytes(view), b"abc")
        view.release()
        self.assertTrue(is_free(buffer))
        self.assertEqual(buffer, b"abc")

    def test_bound(self) -> None:
        """However many are in use at once, no more than the bound are kept, and those that nobody uses are given
        back."""
        buffers = Buffers(kept=3)
        views = [buffers.take(BLOCK) for _ in range(5)]
        self.assertEqual(len({id(view.obj) for view in views}), 5)
        self.assertEqual(len(buffers), 3)
        buffers.give_back()
        self.assertEqual(len(buffers), 3)
        del views[1:]
        buffers.give_back()
        self.assertEqual(len(buffers), 1)

    def test_length(self) -> None:
        """One gets as much room as was asked for; small room is one's own."""
        buffers = Buffers()
        self.assertEqual([len(buffers.take(length)) for length in (1, SMALL, SMALL + 1, BLOCK)],
                         [1, SMALL, SMALL + 1, BLOCK])  # fmt: skip
        self.assertEqual(len(buffers), 1)
