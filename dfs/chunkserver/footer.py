"""The footer that ends every chunk file: what makes the file describe itself.

A chunk file is the chunk's bytes from offset 0, then the footer.  The footer is
found from the file's end by its trailer, so the bytes keep their offsets and a
file that was cut anywhere has no footer.  From the footers alone the names of
files' chunks, their order, lengths and hashes can be rebuilt.

Footer, ``n`` = pieces of 64 KiB in ``length``, the last one perhaps shorter;
all numbers big endian::

    offset size
       0     1   version, 2; 1 where nobody told the file's name
       1     3   magic, "DFC"
       4     1   cipher; 0: the bytes are as the client sent them (others are reserved)
       5     3   zero
       8     4   key id, 0 without a cipher (reserved)
      12     4   index of the chunk in its file
      16    16   cluster id
      32     8   file id
      40     8   generation
      48     8   length of the chunk, bytes
      56     8   number of the add at this node
      64    32   SHA-256 of the chunk
      96    4n   CRC-32C of each piece

Description, version 2 only, from ``d`` = 96 + 4n on; ``k`` = 24 + length of the name, 0 in version 1::

       d     1   bit 0: this is the last chunk of the file; bit 1: the file's size is known; others zero
     d+1     1   replication
     d+2     2   length of the name, 1 to 4,096
     d+4     4   chunk size
     d+8     8   size of the file, 0 where it was not known when the upload began
    d+16     8   wall time, ms since 1970, at which the chunk was stored first
    d+24     -   name of the file, UTF-8

Trailer, the last 12 bytes of the file::

     d+k     4   magic, "DFCE"
   d+k+4     4   length of the footer with its trailer, 108 + 4n + k
   d+k+8     4   CRC-32C of every byte of the footer before this field

The piece checksums are the very values that the client computed: they are
checked at each hop and never made anew from bytes at hand (S07).
"""

from __future__ import annotations

import struct
import sys
from array import array

from attrs import frozen
from construct import Array, Bytes, Const, If, Int8ub, Int16ub, Int32ub, Int64ub, OneOf
from construct import Struct as Layout
from crc32c import crc32c

from dfs.protocol.values import (
    MAX_CHUNK_SIZE,
    MAX_NAME,
    PIECE,
    ChunkRef,
    Description,
    FileId,
    Generation,
    Label,
)

NAMELESS, VERSION = 1, 2
MAGIC = b"DFC"
END_MAGIC = b"DFCE"
HEAD_LENGTH = 96
TRAILER_LENGTH = 12
MIN_FOOTER = HEAD_LENGTH + TRAILER_LENGTH
DESCRIPTION_LENGTH = 24  # without the name
MAX_DESCRIPTION = DESCRIPTION_LENGTH + MAX_NAME
MAX_FOOTER = MIN_FOOTER + 4 * (MAX_CHUNK_SIZE // PIECE) + MAX_DESCRIPTION
LAST, SIZED = 1, 2

_HEAD = struct.Struct(">B3sB3sII16sQQQQ32s")
_DESCRIPTION = struct.Struct(">BBHIQQ")
_TRAILER = struct.Struct(">4sII")

description_layout = Layout(
    "flags" / Int8ub,
    "replication" / Int8ub,
    "name_length" / Int16ub,
    "chunk_size" / Int32ub,
    "size" / Int64ub,
    "written_ms" / Int64ub,
    "name" / Bytes(lambda context: context.name_length),
)
footer_layout = Layout(
    "version" / OneOf(Int8ub, (NAMELESS, VERSION)),
    "magic" / Const(MAGIC),
    "cipher" / Int8ub,
    "zero" / Const(bytes(3)),
    "key_id" / Int32ub,
    "index" / Int32ub,
    "cluster" / Bytes(16),
    "file_id" / Int64ub,
    "generation" / Int64ub,
    "length" / Int64ub,
    "number" / Int64ub,
    "sha256" / Bytes(32),
    "crcs" / Array(lambda context: piece_count(context.length), Int32ub),
    "description" / If(lambda context: context.version == VERSION, description_layout),
    "end_magic" / Const(END_MAGIC),
    "footer_length" / Int32ub,
    "checksum" / Int32ub,
)
"""The declaration of the bytes; the struct below is its fast path, held equal by a property test."""


class BadFooter(Exception):
    """The file does not end in a footer that belongs to it; ``reason`` is one word for the quarantine."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@frozen
class Footer:
    """What a chunk file says of itself.  ``crcs`` has one CRC-32C a piece; ``number`` counts adds at this node;
    ``description`` is None where the writer did not know the file's name."""

    cluster: bytes
    file_id: FileId
    index: int
    generation: Generation
    length: int
    number: int
    sha256: bytes
    crcs: tuple[int, ...]
    cipher: int = 0
    key_id: int = 0
    description: Description | None = None

    @property
    def ref(self) -> ChunkRef:
        """The generation of the chunk that the file holds."""
        return ChunkRef(self.file_id, self.index, self.generation)


def piece_count(length: int) -> int:
    """How many CRC-32C values a chunk of ``length`` bytes has."""
    return -(-length // PIECE)


def footer_length(length: int, description: Description | None = None) -> int:
    """Bytes of the footer, trailer included, behind a chunk of ``length`` bytes."""
    named = 0 if description is None else DESCRIPTION_LENGTH + len(description.label.name.encode())
    return MIN_FOOTER + 4 * piece_count(length) + named


def told_length(content: bytes, length: int) -> int:
    """Bytes of the footer that begins behind ``length`` bytes of ``content``, by what it says itself, right or wrong;
    where it is cut or says nothing, of one without a description."""
    bare = footer_length(length)
    at = length + bare - TRAILER_LENGTH
    if content[length : length + 1] != bytes([VERSION]) or len(content) < at + DESCRIPTION_LENGTH:
        return bare
    return bare + DESCRIPTION_LENGTH + int(_DESCRIPTION.unpack_from(content, at)[2])


def encode(footer: Footer) -> bytes:
    """The footer's bytes.  The number of checksums fits the length (asserted)."""
    assert len(footer.crcs) == piece_count(footer.length), (len(footer.crcs), footer.length)
    head = _HEAD.pack(
        NAMELESS if footer.description is None else VERSION,
        MAGIC,
        footer.cipher,
        bytes(3),
        footer.key_id,
        footer.index,
        footer.cluster,
        footer.file_id,
        footer.generation,
        footer.length,
        footer.number,
        footer.sha256,
    )
    table = struct.pack(f">{len(footer.crcs)}I", *footer.crcs)
    described = b"" if footer.description is None else _encode_description(footer.description)
    whole = len(head) + len(table) + len(described) + TRAILER_LENGTH
    body = head + table + described + END_MAGIC + whole.to_bytes(4, "big")
    return body + crc32c(body).to_bytes(4, "big")


def _encode_description(description: Description) -> bytes:
    label, name = description.label, description.label.name.encode()
    assert 1 <= len(name) <= MAX_NAME, len(name)
    flags = (LAST if description.last else 0) | (0 if label.size is None else SIZED)
    fields = (flags, label.replication, len(name), label.chunk_size, label.size or 0, description.written_ms)
    return _DESCRIPTION.pack(*fields) + name


def decode(tail: bytes, file_length: int) -> Footer:
    """The footer at the end of a file of ``file_length`` bytes whose last bytes are ``tail``
    (MAX_FOOTER of them are always enough).  Raises BadFooter."""
    if file_length < MIN_FOOTER or len(tail) < MIN_FOOTER:
        raise BadFooter("empty" if file_length == 0 else "truncated", f"{file_length} bytes cannot hold a footer")
    magic, whole, checksum = _TRAILER.unpack_from(tail, len(tail) - TRAILER_LENGTH)
    if magic != END_MAGIC or not MIN_FOOTER <= whole <= MAX_FOOTER or whole > len(tail):
        raise BadFooter(_reason_of(tail), "the file does not end in a footer")
    footer = memoryview(tail)[len(tail) - whole :]
    if crc32c(footer[:-4]) != checksum:
        raise BadFooter("damaged", "the footer fails its checksum")
    return _decode_body(footer, file_length)


def _decode_body(body: memoryview, file_length: int) -> Footer:
    """The fields of a footer whose checksum is right."""
    version, magic, cipher, zero, key_id, index, cluster, file_id, generation, length, number, sha256 = (
        _HEAD.unpack_from(body)
    )
    if version not in (NAMELESS, VERSION) or magic != MAGIC or cipher != 0 or zero != bytes(3):
        raise BadFooter(
            "version", f"the footer has version {version} and cipher {cipher}; this server knows 1, 2 and cipher 0"
        )
    at = HEAD_LENGTH + 4 * piece_count(length)
    described = bytes(body[at:-TRAILER_LENGTH])
    if file_length != length + len(body) or at + len(described) + TRAILER_LENGTH != len(body):
        raise BadFooter("truncated", f"the footer tells of {length} bytes, the file has {file_length} with the footer")
    if version == NAMELESS and described:
        raise BadFooter("truncated", f"a footer of version 1 has {len(described)} bytes too many")
    table = array("I", bytes(body[HEAD_LENGTH:at]))
    if sys.byteorder == "little":
        table.byteswap()
    return Footer(
        cluster,
        FileId(file_id),
        index,
        Generation(generation),
        length,
        number,
        sha256,
        tuple(table),
        cipher,
        key_id,
        None if version == NAMELESS else _decode_description(described),
    )


def _decode_description(content: bytes) -> Description:
    """Raises BadFooter for what no version of this program writes."""
    if len(content) < DESCRIPTION_LENGTH:
        raise BadFooter("damaged", f"a description of {len(content)} bytes is cut")
    flags, replication, length, chunk_size, size, written_ms = _DESCRIPTION.unpack_from(content)
    name = content[DESCRIPTION_LENGTH:]
    if flags & ~(LAST | SIZED) or not 1 <= length <= MAX_NAME or len(name) != length or (size and not flags & SIZED):
        raise BadFooter("damaged", "the description of the file contradicts itself")
    try:
        label = Label(name.decode(), size if flags & SIZED else None, chunk_size, replication)
    except UnicodeDecodeError as error:
        raise BadFooter("damaged", "the name of the file is not UTF-8") from error
    return Description(label, bool(flags & LAST), written_ms)


def _reason_of(tail: bytes) -> str:
    """A zero-filled file is what a file system leaves after a power cut; it is worth telling apart."""
    return "zeros" if not any(tail) else "truncated"
