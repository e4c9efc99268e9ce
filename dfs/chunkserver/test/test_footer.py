"""The footer of a chunk file."""

from __future__ import annotations

from attrs import evolve
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import footer as footers
from dfs.chunkserver.footer import BadFooter, Footer
from dfs.protocol.values import PIECE, Description, FileId, Generation, Label

SAMPLE = Footer(bytes(range(16)), FileId(7), 3, Generation(11), PIECE + 1, 42, b"h" * 32, (0x01020304, 0xFFFEFDFC))

GOLDEN = bytes.fromhex(
    "01444643000000000000000000000003000102030405060708090a0b0c0d0e0f"
    "0000000000000007000000000000000b0000000000010001000000000000002a"
    "6868686868686868686868686868686868686868686868686868686868686868"
    "01020304fffefdfc4446434500000074"
)

NAMED = evolve(SAMPLE, description=Description(Label("a/ü", 5 * PIECE, 4 << 20, 3), True, 0x0102030405))

GOLDEN_NAMED = bytes.fromhex(
    "02444643000000000000000000000003000102030405060708090a0b0c0d0e0f"
    "0000000000000007000000000000000b0000000000010001000000000000002a"
    "6868686868686868686868686868686868686868686868686868686868686868"
    "01020304fffefdfc"
    "0303000400400000000000000005000000000001020304"
    "05612fc3bc4446434500000090"
)

words = some.integers(0, 2**64 - 1)
footers_of_any_kind = some.builds(
    lambda cluster, file_id, index, generation, crcs, short, number, sha256, description: Footer(
        cluster,
        FileId(file_id),
        index,
        Generation(generation),
        max(0, len(crcs) * PIECE - short),
        number,
        sha256,
        tuple(crcs),
        description=description,
    ),
    some.binary(min_size=16, max_size=16),
    words,
    some.integers(0, 2**32 - 1),
    words,
    some.lists(some.integers(0, 2**32 - 1), max_size=70),
    some.integers(0, PIECE - 1),
    words,
    some.binary(min_size=32, max_size=32),
    some.none()
    | some.builds(
        Description,
        some.builds(
            Label,
            some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
            some.none() | words,
            some.integers(0, 2**32 - 1),
            some.integers(0, 255),
        ),
        some.booleans(),
        words,
    ),
)


class FooterTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """Versions 1 and 2 have exactly these bytes, and both are read (S39)."""
        for footer, golden in ((SAMPLE, GOLDEN), (NAMED, GOLDEN_NAMED)):
            content = golden + crc32c(golden).to_bytes(4, "big")
            self.assertEqual(footers.encode(footer).hex(), content.hex())
            self.assertEqual(footers.decode(content, footer.length + len(content)), footer)
            self.assertEqual(footers.footer_length(footer.length, footer.description), len(content))

    def test_length_of_chunk_and_footer_bind(self) -> None:
        """A whole footer behind fewer or more bytes than it tells of is refused as truncated (S10)."""
        for footer in (SAMPLE, NAMED):
            content = footers.encode(footer)
            self.assertEqual(footers.decode(content, SAMPLE.length + len(content)), footer)
            for wrong in (-1, 1):
                error = self.assertRaises(BadFooter, footers.decode, content, SAMPLE.length + len(content) + wrong)
                self.assertEqual(error.reason, "truncated")

    def test_cut_anywhere(self) -> None:
        """A file cut at any byte of its footer has no footer."""
        for content in map(footers.encode, (SAMPLE, NAMED)):
            for kept in range(len(content)):
                self.assertRaises(BadFooter, footers.decode, content[:kept], SAMPLE.length + kept)

    def test_flip_any_bit(self) -> None:
        """A footer with any single bit flipped is refused."""
        for content in map(footers.encode, (SAMPLE, NAMED)):
            for bit in range(8 * len(content)):
                flipped = bytearray(content)
                flipped[bit // 8] ^= 1 << bit % 8
                self.assertRaises(BadFooter, footers.decode, bytes(flipped), SAMPLE.length + len(content))

    def test_zeros_and_empty(self) -> None:
        """An empty file and a zero-filled one are told apart from a cut one (S10)."""
        self.assertEqual(self.assertRaises(BadFooter, footers.decode, b"", 0).reason, "empty")
        self.assertEqual(self.assertRaises(BadFooter, footers.decode, bytes(5000), 5000).reason, "zeros")

    def test_other_version(self) -> None:
        """A footer of another version is refused, not guessed at (S39)."""
        for footer in (SAMPLE, NAMED):
            error = self.refused(b"\x03" + footers.encode(footer)[1:-4])
            self.assertEqual(error.reason, "version")

    def refused(self, body: bytes) -> BadFooter:
        """What decoding a footer says whose bytes are these and whose checksum is right."""
        content = body + crc32c(body).to_bytes(4, "big")
        error: BadFooter = self.assertRaises(BadFooter, footers.decode, content, SAMPLE.length + len(content))
        return error

    def test_contradictions(self) -> None:
        """A description that contradicts itself is refused although its checksum is right: nobody guesses a name."""
        at = footers.HEAD_LENGTH + 8
        whole = footers.encode(NAMED)[:-4]
        for offset, content in (
            (at, b"\x04"),  # a flag that nobody knows
            (at, b"\x01"),  # a size, and the word that it is not known
            (at + 2, b"\x00\x03"),  # a shorter name
            (at + 2, b"\x00\x05"),  # a longer one
            (at + footers.DESCRIPTION_LENGTH, b"\xff"),  # no UTF-8
            (0, b"\x01"),  # of version 1
        ):
            self.refused(whole[:offset] + content + whole[offset + len(content) :])
        self.refused(b"\x02" + footers.encode(SAMPLE)[1:-4])

    @settings(max_examples=50, deadline=None)
    @given(footers_of_any_kind)
    def test_fast_path_is_the_declaration(self, footer: Footer) -> None:
        """The quick codec and the construct declaration agree, both ways."""
        content = footers.encode(footer)
        self.assertEqual(footers.decode(content, footer.length + len(content)), footer)
        parsed = footers.footer_layout.parse(content)
        self.assertEqual(
            (parsed.cluster, parsed.file_id, parsed.index, parsed.generation, parsed.length, parsed.number),
            (footer.cluster, footer.file_id, footer.index, footer.generation, footer.length, footer.number),
        )
        self.assertEqual((parsed.sha256, tuple(parsed.crcs)), (footer.sha256, footer.crcs))
        if footer.description is not None:
            label = footer.description.label
            self.assertEqual((parsed.description.name.decode(), parsed.description.size), (label.name, label.size or 0))
        self.assertEqual(footers.footer_layout.build(parsed), content)
