"""The numbers of adds and removes, which never go back."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.numbers import (
    LEAP,
    RANGE,
    SLOT,
    NumberLine,
    decode_slot,
    encode_slot,
    first_line,
    format_numbers,
    read_reserved,
    reserve,
)
from dfs.chunkserver.reservation import Numbers
from dfs.disk.real import RealDisk


class NumberLineTests(SynchronousTestCase):
    def test_as_of_stops_below_the_open(self) -> None:
        """An inventory claims nothing at or above a number whose add is not in the index yet (S06)."""
        line = NumberLine(10, 20)
        first, second = line.give(), line.give()
        line.settle(second)
        self.assertEqual(line.as_of, first - 1)
        line.settle(first)
        self.assertEqual(line.as_of, second)

    def test_start_is_above_all(self) -> None:
        """A start goes on above the reservation and every footer; without a reservation it leaps."""
        self.assertEqual(first_line(20_000, 3).last, 20_000)
        self.assertGreaterEqual(first_line(0, 25_001).last, 25_001)
        self.assertGreater(first_line(None, 7).last, LEAP)


class ReservationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = RealDisk()
        self.path = self.mktemp()
        format_numbers(self.disk, self.path)

    def test_survives_a_torn_slot(self) -> None:
        """The last reservation but one holds when the last write was torn at any byte."""
        reserve(self.disk, self.path, RANGE)
        file = self.disk.open(self.path)
        before = file.pread(2 * SLOT, 0)
        new = encode_slot(2 * RANGE)
        for cut in range(24):
            file.pwrite([before], 0)
            file.pwrite([new[:cut]], 0)
            self.assertEqual(read_reserved(self.disk, self.path), RANGE)
        file.pwrite([new], 0)
        self.assertEqual(read_reserved(self.disk, self.path), 2 * RANGE)
        file.close()

    def test_flipped_slots(self) -> None:
        """A slot with any bit flipped is no slot; with both lost, nothing is claimed."""
        slot = encode_slot(RANGE)
        for bit in range(24 * 8):
            flipped = bytearray(slot)
            flipped[bit // 8] ^= 1 << bit % 8
            self.assertIsNone(decode_slot(bytes(flipped)))
        file = self.disk.open(self.path)
        file.pwrite([bytes(2 * SLOT)], 0)
        file.close()
        self.assertIsNone(read_reserved(self.disk, self.path))

    def test_dropped_while_it_extends(self) -> None:
        """A program that is dropped in the middle of extending (its process died) passes the lock to nobody."""
        waiting: Deferred[None] = Deferred()
        numbers = Numbers(lambda *call: waiting, self.disk, self.path, NumberLine(0, 0))
        dropped = numbers.take()
        dropped.send(None)
        second = Deferred.fromCoroutine(numbers.take())
        dropped.close()
        self.assertNoResult(second)
        self.assertEqual(len(numbers._extending.waiting), 1)
