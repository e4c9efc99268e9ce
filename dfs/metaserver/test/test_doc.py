"""doc/formats-metadata.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import answers, commands, records, records_moving, snapshotting, tables
from dfs.metaserver.packing import Codec

PAGE = Path(__file__).parents[3] / "doc" / "formats-metadata.md"
NAME = "four"  # n is 6, with its length

EXAMPLES: dict[str, tuple[Codec[Any], Any]] = {
    "file": (records.file_codec, records.FileRecord(NAME, 1, b"d" * 32, 3, 4, 5, 6, 7)),
    "upload": (records.upload_codec, records.UploadRecord(NAME, 1, 2, 3, 2, 5, 6, 7, 8, 9, 10)),
    "chunk": (records.chunk_codec, records.ChunkRecord(1, 2, True, 3, b"s" * 32, (1, 2, 3), (4,))),
    "replica": (records.replica_codec, records.ReplicaRecord(1, 2)),
    "short": (records.short_codec, records.ShortRecord(1, 2)),
    "garbage": (records.garbage_codec, records.GarbageRecord(1, 2, True)),
    "node": (records.node_codec, records.NodeRecord("aa", "", "", b"i" * 16, 1, 2, 3, 4, 5)),
    "life": (records_moving.life_codec, records_moving.LifeRecord(1, 2, 3, 4, 5)),
    "retired": (records_moving.retired_codec, records_moving.RetiredRecord(1, 2, 3, 4)),
    "event": (records_moving.event_codec, records_moving.EventRecord(1, 2, 3, NAME, 4, 5, "d")),
    "care": (records_moving.care_codec, records_moving.CareRecord(1, 2, 3, 1, 5)),
    "session": (records.session_codec, records.SessionRecord(1, 2, (3,))),
    "head": (records.head_codec, records.Head(b"c" * 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, b"h" * 32)),
    "Snapshot": (snapshotting.stream_head_codec, snapshotting.StreamHead(b"c" * 16, 1, 2, b"h" * 32)),
}
#: n: bytes of the texts with their lengths; s: of the optional size; k: nodes of the chunk
LENGTHS = {"node": {"n": 8}, "chunk": {"k": 3}}


def offsets(codec: Codec[Any], value: Any) -> list[int]:
    """Where each field begins, the version at 0."""
    found, offset = [0], 1
    for name, kind in codec.fields:
        found.append(offset)
        out: list[bytes] = []
        kind.pack(getattr(value, name), out)
        offset += len(b"".join(out))
    return found


def worth(expression: str, lengths: dict[str, int]) -> int:
    """An offset as the page writes it: a sum of numbers, letters and 4k."""
    total = 0
    for term in expression.split("+"):
        match = re.fullmatch(r"(\d*)([a-z]?)", term.strip())
        assert match is not None, expression
        factor, letter = match.groups()
        total += int(factor or 1) * (lengths[letter] if letter else 1)
    return total


class DocTests(SynchronousTestCase):
    """The page beside the literal tables."""

    def setUp(self) -> None:
        self.text = PAGE.read_text(encoding="utf-8")

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the table that begins with this header row."""
        start = self.text.index(heading)
        lines = self.text[start:].split("\n\n")[0].splitlines()[2:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def test_offsets_of_records(self) -> None:
        """Every offset on the page is where that field begins, and no field is left out."""
        for name, (codec, value) in EXAMPLES.items():
            if name == "Snapshot":
                said = [row[0] for row in self.rows("| offset | type | |\n|---|---|---|\n| 0 | u8 | version, 1 |")]
            else:
                said = [each for row in self.rows(f"| {name} | offset | type |") for each in row[1].split(", ")]
            lengths = LENGTHS.get(name, {"n": 2 + len(NAME), "s": 9})
            found = [worth(each, lengths) for each in said]
            real = offsets(codec, value)
            if name == "node":
                real = [real[0], real[1], *real[4:]]  # the three texts stand in one row
            self.assertEqual(found, real, name)

    def test_codes(self) -> None:
        """The commands and answers of the page are those of the literal tables, with as many fields."""
        said = {int(code): (name, fields) for code, name, fields in self.rows("| code | command | fields |")}
        self.assertEqual({code: name for code, (name, _) in said.items()}, _names(commands.BY_CODE))
        for code, codec in commands.BY_CODE.items():
            fields = re.sub(r"\([^()]*\)|\([^()]*\([^()]*\)[^()]*\)", "", said[code][1])
            count = 0 if fields == "none" else len(fields.split(", "))
            self.assertEqual(count, len(codec.fields), said[code])
        answered = {int(code): name for code, name, _ in self.rows("| first byte | answer |") if code != "0"}
        self.assertEqual(answered, {code: cls.__name__ for code, (cls, _) in answers.BY_CODE.items()})

    def test_tables(self) -> None:
        """The letters of the page are the first bytes of the keys."""
        letters = {row[0][1] for row in self.rows("| table | key | bytes | value |")}
        keys = [
            *(key(1) for key in (tables.file_key, tables.upload_key, tables.garbage_key, tables.node_key)),
            *(key(1, 2) for key in (tables.chunk_key, tables.short_key)),
            *(key("a") for key in (tables.name_key, tables.node_name_key, tables.member_key)),
            *(key(b"i" * 16) for key in (tables.session_key, tables.incarnation_key)),
            tables.replica_key(1, 2, 3),
            tables.answer_key(b"s" * 16, 1),
            tables.activity_key(1, b"s" * 16),
            tables.HEAD,
            tables.life_key(1),
            tables.retired_key(1, 2, 3),
            tables.event_key(1),
            tables.CARE,
            tables.REBUILD,
            tables.deleted_key(1),
        ]
        self.assertEqual({chr(key[0]) for key in keys}, letters)
        self.assertEqual(len(keys), len(letters))


def _names(table: dict[int, Codec[Any]]) -> dict[int, str]:
    return {code: getattr(codec.cls, "__name__", "") for code, codec in table.items()}
