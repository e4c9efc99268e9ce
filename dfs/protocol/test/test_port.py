"""The transport as the rest of the shell sees it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.port import rest_of


class RestTests(SynchronousTestCase):
    """What the kernel did not take."""

    def test_every_cut(self) -> None:
        """Wherever the kernel stopped, just the bytes after it are queued, in order, and no empty piece among them."""
        pieces: list[bytes | memoryview] = [b"head", memoryview(b"some data"), b"x"]
        whole = b"".join(pieces)
        for cut in range(len(whole) + 1):
            rest = rest_of(pieces, cut)
            self.assertEqual(b"".join(rest), whole[cut:])
            self.assertTrue(all(len(piece) for piece in rest))
