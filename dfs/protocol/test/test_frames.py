"""The bytes of a connection."""

from __future__ import annotations

from itertools import pairwise

from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.errors import BadRequest, DFSError, VersionMismatch
from dfs.protocol.frames import (
    BLOCK_HEAD_LENGTH,
    HEADER_LENGTH,
    Frame,
    FrameDecoder,
    FrameType,
    decode_end,
    encode_block,
    encode_end,
    encode_frame,
)
from dfs.protocol.interfaces import Block
from dfs.protocol.limits import MAX_BLOCK_BODY, MAX_BODY
from dfs.protocol.values import BLOCK, PIECE


def block_of(data: bytes, offset: int = 0) -> Block:
    """A block with true checksums."""
    crcs = tuple(crc32c(data[start : start + PIECE]) for start in range(0, len(data), PIECE))
    return Block(offset, len(data), crcs, (memoryview(data),))


def open_decoder() -> FrameDecoder:
    """A decoder as after Hello on a BULK connection."""
    decoder = FrameDecoder()
    decoder.limit = MAX_BODY
    decoder.blocks = True
    return decoder


def frames_of(decoder: FrameDecoder) -> list[Frame]:
    """All whole frames."""
    found = []
    while (frame := decoder.next_frame()) is not None:
        found.append(frame)
    return found


def plain(frame: Frame) -> tuple[object, ...]:
    """A frame's content, however its data were cut."""
    block = frame.block
    data = b"" if block is None else b"".join(block.pieces)
    head = None if block is None else (block.offset, block.length, block.crcs)
    return frame.type, frame.code, frame.request, frame.body, head, data


DATA = bytes(range(251)) * 700
FRAMES = [
    encode_frame(FrameType.REQUEST, 0x42, 7, b"body"),
    encode_block(9, block_of(DATA, PIECE)),
    encode_frame(FrameType.PING, 0, 0),
    encode_end(9, 5, b"s" * 32),
    encode_block(11, block_of(b"x")),
]


class DecoderTests(SynchronousTestCase):
    def test_any_cut(self) -> None:
        """Frames come out the same however the bytes were cut on their way."""
        stream = b"".join(FRAMES)
        whole = open_decoder()
        whole.receive(stream)
        expected = [plain(frame) for frame in frames_of(whole)]
        self.assertEqual(len(expected), len(FRAMES))

        @settings(max_examples=40, deadline=None, database=None)
        @given(st.lists(st.integers(0, len(stream)), max_size=40))
        def check(cuts: list[int]) -> None:
            decoder = open_decoder()
            found = []
            edges = [0, *sorted(cuts), len(stream)]
            for start, end in pairwise(edges):
                decoder.receive(stream[start:end])
                found += [plain(frame) for frame in frames_of(decoder)]
            self.assertEqual(found, expected)
            self.assertEqual(decoder.buffered, 0)

        check()

    def test_data_are_not_copied(self) -> None:
        """The data of a block are received where they stay: its one piece is the room that the decoder gave."""
        data = encode_block(1, block_of(DATA)) + encode_end(1, len(DATA), b"")
        decoder, at, rooms, found = open_decoder(), 0, [], []
        while at < len(data):
            count = 0
            for room in decoder.room():
                part = data[at : at + len(room)]
                room[: len(part)] = part
                at, count = at + len(part), count + len(part)
                rooms.append(room)
            decoder.filled(count)
            found += frames_of(decoder)
        self.assertEqual([frame.type for frame in found], [FrameType.BLOCK, FrameType.END])
        assert found[0].block is not None
        (piece,) = found[0].block.pieces
        self.assertEqual(bytes(piece), DATA)
        self.assertIn(id(piece.obj), [id(room.obj) for room in rooms])

    def test_dripped_bytes_are_merged(self) -> None:
        """A block that comes byte by byte is held in few pieces, not in one object a byte (S43)."""
        decoder = open_decoder()
        for byte in encode_block(1, block_of(DATA)):
            decoder.receive(bytes((byte,)))
        (frame,) = frames_of(decoder)
        assert frame.block is not None
        self.assertLess(len(frame.block.pieces), 60)
        self.assertEqual(b"".join(frame.block.pieces), DATA)

    def test_length_is_checked_before_the_body_comes(self) -> None:
        """A header that announces too much is refused at once (S43)."""
        for type in FrameType:
            decoder = open_decoder()
            header = bytearray(encode_frame(type, 0, 1))
            longest = MAX_BLOCK_BODY if type == FrameType.BLOCK else MAX_BODY
            header[:4] = (longest + 1).to_bytes(4, "big")
            decoder.receive(bytes(header))
            self.assertRaises(BadRequest, decoder.next_frame)

    def test_small_before_hello(self) -> None:
        """Before Hello is finished even a frame of 5,000 bytes is too long, and a BLOCK has no place (S43)."""
        for frame in (encode_frame(FrameType.HELLO, 0, 0, bytes(5000)), encode_block(1, block_of(b"x"))):
            decoder = FrameDecoder()
            decoder.receive(frame)
            self.assertRaises(BadRequest, decoder.next_frame)

    def test_version(self) -> None:
        """A frame of another version is refused with a sentence that says which (S39)."""
        frame = bytearray(FRAMES[0])
        frame[8] = 9
        decoder = open_decoder()
        decoder.receive(bytes(frame))
        error = self.assertRaises(VersionMismatch, decoder.next_frame)
        self.assertIn("version 9", error.message)

    def test_any_flipped_bit_is_noticed(self) -> None:
        """A flipped bit anywhere but in a block's data leads to an error, or to waiting for more (S43)."""
        for original in (FRAMES[0], FRAMES[3], encode_block(1, block_of(b"data"))):
            covered = len(original) - (4 if original[9] == FrameType.BLOCK else 0)
            for bit in range(8 * covered):
                flipped = bytearray(original)
                flipped[bit // 8] ^= 1 << bit % 8
                decoder = open_decoder()
                decoder.receive(bytes(flipped))
                try:
                    self.assertIsNone(decoder.next_frame(), f"bit {bit}")
                    self.assertLess(bit, 32)
                except DFSError:
                    pass

    def test_a_dead_decoder_stays_dead(self) -> None:
        """After malformed bytes nothing is read any more: nobody knows where the next frame begins."""
        decoder = open_decoder()
        decoder.receive(b"\xff" * HEADER_LENGTH)
        self.assertRaises(DFSError, decoder.next_frame)
        decoder.receive(FRAMES[0])
        self.assertRaises(DFSError, decoder.next_frame)

    def test_block_that_contradicts_itself(self) -> None:
        """A BLOCK whose length, table and frame do not agree is refused, whatever its checksum says (S43)."""
        good = block_of(DATA)
        for block in (
            Block(1, good.length, good.crcs, good.pieces),
            Block(0, good.length + PIECE, good.crcs, good.pieces),
            Block(0, good.length, good.crcs[:-1], good.pieces),
            Block(0, 0, (), (memoryview(b"x"),)),
        ):
            decoder = open_decoder()
            decoder.receive(encode_block(1, block))
            decoder.receive(bytes(2 * PIECE))
            self.assertRaises(BadRequest, decoder.next_frame)

    def test_noise(self) -> None:
        """Random bytes give a clean error or nothing, never a crash (S43)."""

        @settings(max_examples=200, deadline=None, database=None)
        @given(st.binary(max_size=200))
        def check(noise: bytes) -> None:
            decoder = open_decoder()
            decoder.receive(noise)
            try:
                frames_of(decoder)
            except DFSError:
                self.assertEqual(decoder.buffered, HEADER_LENGTH if decoder.buffered else 0)

        check()


class LayoutTests(SynchronousTestCase):
    def test_offsets(self) -> None:
        """The header lies as the specification shows it."""
        frame = encode_frame(FrameType.REQUEST, 0x0102, 0x03040506, b"body")
        self.assertEqual(frame[0:4], b"\x00\x00\x00\x04")
        self.assertEqual(frame[4:8], crc32c(frame[8:]).to_bytes(4, "big"))
        self.assertEqual(frame[8:], b"\x01\x04\x01\x02\x03\x04\x05\x06body")
        self.assertEqual(len(frame), HEADER_LENGTH + 4)

    def test_block_head(self) -> None:
        """A BLOCK's checksum covers its head and not its data."""
        frame = encode_block(5, block_of(b"data", 3 * PIECE))
        head = frame[HEADER_LENGTH : HEADER_LENGTH + BLOCK_HEAD_LENGTH + 4]
        self.assertEqual(head[:12], (3 * PIECE).to_bytes(8, "big") + b"\x00\x00\x00\x04")
        self.assertEqual(frame[4:8], crc32c(frame[8:16] + head).to_bytes(4, "big"))

    def test_end(self) -> None:
        """END carries a length and the hash of a whole chunk, or none for a range."""
        for sha256 in (b"", b"h" * 32):
            self.assertEqual(decode_end(encode_end(1, 77, sha256)[HEADER_LENGTH:]), (77, sha256))
        self.assertRaises(BadRequest, decode_end, bytes(9))

    def test_longest_block(self) -> None:
        """A block of the greatest length passes."""
        decoder = open_decoder()
        decoder.receive(encode_block(1, block_of(bytes(BLOCK))))
        (frame,) = frames_of(decoder)
        assert frame.block is not None
        self.assertEqual(frame.block.length, BLOCK)

    def test_too_long_to_send(self) -> None:
        """A frame that the peer would refuse is refused at home."""
        self.assertRaises(BadRequest, encode_frame, FrameType.MESSAGE, 0, 0, bytes(MAX_BODY + 1))
