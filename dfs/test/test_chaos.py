"""The judge of bench.chaos: what counts as lost."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.chaos.disks import flip_bit
from bench.chaos.judge import READ_BACK, judge


class Told:
    """Lines of clients' files in the making; each call is one operation that ended before the next began."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._now = 0.0

    def add(self, kind: str, value: str, outcome: str, client: str = "client-0", error: str = "") -> None:
        """An operation on the name "n"."""
        key = {"client": client, "number": len(self.lines)}
        self._now += 1
        self.lines.append({**key, "time": self._now, "kind": kind, "name": "n", "value": value})
        self._now += 1
        self.lines.append({**key, "time": self._now, "outcome": outcome, "value": value, "error": error})


class JudgeTests(SynchronousTestCase):
    """Histories of one name."""

    def lost(self, *operations: tuple[str, ...]) -> int:
        """How many losses there are in operations one after the other."""
        told = Told()
        for operation in operations:
            told.add(*operation)
        return len(judge(told.lines).lost)

    def test_all_is_well(self) -> None:
        """What was acknowledged and read back as it was is not lost; what is unknown may be there or not."""
        read = ("read", "a", "done", READ_BACK)
        self.assertEqual(self.lost(("upload", "a", "done"), read), 0)
        self.assertEqual(self.lost(("upload", "a", "unknown"), read), 0)
        self.assertEqual(self.lost(("upload", "a", "unknown"), ("read", "", "refused", READ_BACK)), 0)

    def test_lost(self) -> None:
        """S05 S27: an acknowledged file that is gone, one with other bytes, a deleted one that is back, and one that
        cannot be read at the end each are lost."""
        self.assertEqual(self.lost(("upload", "a", "done"), ("read", "", "refused")), 1)
        self.assertEqual(self.lost(("upload", "a", "done"), ("read", "b", "done")), 1)
        self.assertEqual(self.lost(("upload", "a", "done"), ("delete", "", "done"), ("read", "a", "done")), 1)
        self.assertEqual(self.lost(("upload", "a", "done"), ("read", "", "unknown", READ_BACK, "ChunkUnreadable")), 1)

    def test_together(self) -> None:
        """Files of several clients are one history in the order of time: who began first may have come second."""
        told = Told()
        told.add("upload", "a", "done")
        told.add("upload", "b", "refused", "client-1")
        lines = sorted(told.lines, key=lambda line: str(line["client"]), reverse=True)
        self.assertEqual(judge(lines).lost, ())
        late = [{**line, "time": line["time"] - 2.5} if line["client"] == "client-1" else line for line in lines]
        self.assertEqual(len(judge(late).lost), 0, "the two overlap")
        early = [{**line, "time": line["time"] - 9} if line["client"] == "client-1" else line for line in lines]
        self.assertEqual(len(judge(early).lost), 1, "nothing was there to refuse it")

    def test_operation_without_an_end(self) -> None:
        """What a client that died was at is unknown."""
        told = Told()
        told.add("upload", "a", "done")
        told.add("read", "", "refused")
        self.assertEqual(len(judge(told.lines[:3]).lost), 0)


class FlipTests(SynchronousTestCase):
    """Bits that flip at rest."""

    def test_one_copy_of_each(self) -> None:
        """One bit of one replica differs, and a replica that was flipped elsewhere is spared (S11)."""
        folder = self.mktemp()
        os.makedirs(f"{folder}/data/chunks/0/0")
        name = f"{0:064x}.1.chunk"
        with open(f"{folder}/data/chunks/0/0/{name}", "wb") as file:
            file.write(bytes(100))
        self.assertEqual(flip_bit(folder, Random(1), set()), name)
        with open(f"{folder}/data/chunks/0/0/{name}", "rb") as file:
            self.assertEqual(sum(byte.bit_count() for byte in file.read()), 1)
        self.assertEqual(flip_bit(folder, Random(1), {name}), "")
