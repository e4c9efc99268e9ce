"""Frames: the bytes of a connection, without any input or output.

Header (16 bytes), then the body::

    offset size
       0     4   length of the body
       4     4   CRC-32C of bytes 8 to 15 and the body; of a BLOCK, of bytes 8 to 15 and its head
       8     1   version, 1
       9     1   type (FrameType)
      10     2   code: of a message (REQUEST, RESPONSE) or an error (FAILURE, ABORT), else 0
      12     4   request id; a stream has the id of the request that opened it

Body of a BLOCK: its head, then the data, which only its own CRCs cover::

       0     8   offset in the chunk
       8     4   length of the data, 1 byte to 1 MiB
      12    4n   CRC-32C of each 64 KiB of the data

Problem: at 250 MiB/s a copy of the data is a tenth of a core, and joining what
is there with what arrives is quadratic.  Design: as soon as the head of a BLOCK is there
and sound, a buffer of its length is taken, and whoever has the socket receives straight
into it (:meth:`FrameDecoder.room`); so the data of a block leave as one memoryview that
nobody copied.  Behind the block lies a little more room, so that the next head comes along.
Heads and small bodies are joined.  Receives of a few bytes are merged in powers of two, so
that a peer that drips bytes costs no more memory than one that does not.

Invariants: a frame's length is checked against the limit in force before its
body is waited for; nothing but a DFSError is raised, after which the decoder is dead;
memory is bounded by one frame and one receive; a BLOCK that nobody wants (its stream is
over) takes none, so that a stranger whose puts are refused cannot have us hold a MiB for each connection.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from collections.abc import Callable

from attrs import define, frozen
from crc32c import crc32c

from dfs.protocol.buffers import BUFFERS, WASTE
from dfs.protocol.errors import BadRequest, DFSError, VersionMismatch
from dfs.protocol.interfaces import Block
from dfs.protocol.limits import MAX_BLOCK_BODY, MAX_BODY, MAX_HELLO_BODY
from dfs.protocol.values import BLOCK, PIECE

VERSION = 1
HEADER_LENGTH = 16
BLOCK_HEAD_LENGTH = 12

_HEADER = struct.Struct(">IIBBHI")
_COVERED = struct.Struct(">BBHI")
_BLOCK_HEAD = struct.Struct(">QI")
_END = struct.Struct(">Q")
_MERGE_BELOW = 16 << 10
_BEHIND = 4 << 10  # room behind a block: for the next one's head


class FrameType(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    WELCOME = 2
    PROOF = 3
    REQUEST = 4
    RESPONSE = 5
    FAILURE = 6
    CANCEL = 7
    BLOCK = 8
    END = 9
    ABORT = 10
    MESSAGE = 11
    PING = 12


_TYPES = {int(member): member for member in FrameType}


@frozen
class Frame:
    """One frame received.  ``block`` is there for a BLOCK that is wanted, the ``body`` for all other types."""

    type: FrameType
    code: int
    request: int
    body: bytes
    block: Block | None = None


def encode_frame(type: FrameType, code: int, request: int, body: bytes = b"") -> bytes:
    """A frame that is no BLOCK."""
    if len(body) > MAX_BODY:
        raise BadRequest(f"a frame of {len(body)} bytes is above the limit of {MAX_BODY}")
    checksum = crc32c(body, crc32c(_COVERED.pack(VERSION, type, code, request)))
    return _HEADER.pack(len(body), checksum, VERSION, type, code, request) + body


def block_frame(request: int, block: Block) -> list[bytes | memoryview]:
    """The pieces of a BLOCK frame; its data are not copied."""
    head = _BLOCK_HEAD.pack(block.offset, block.length) + struct.pack(f">{len(block.crcs)}I", *block.crcs)
    checksum = crc32c(head, crc32c(_COVERED.pack(VERSION, FrameType.BLOCK, 0, request)))
    header = _HEADER.pack(len(head) + block.length, checksum, VERSION, FrameType.BLOCK, 0, request)
    return [header + head, *block.pieces]


def encode_block(request: int, block: Block) -> bytes:
    """A BLOCK frame in one."""
    return b"".join(block_frame(request, block))


def encode_end(request: int, length: int, sha256: bytes) -> bytes:
    """END: the stream had this many bytes; ``sha256`` has 32 bytes, or none for a range."""
    return encode_frame(FrameType.END, 0, request, _END.pack(length) + sha256)


def decode_end(body: bytes) -> tuple[int, bytes]:
    """(length, sha256) of an END."""
    if len(body) not in (8, 40):
        raise BadRequest(f"an END of {len(body)} bytes; 8 or 40 belong there")
    return _END.unpack_from(body)[0], body[8:]


@define
class _Filling:
    """A BLOCK whose data come: ``room`` is what of ``data`` is still empty; ``wanted``, or received into WASTE."""

    request: int
    offset: int
    crcs: tuple[int, ...]
    data: memoryview
    room: memoryview
    wanted: bool


class FrameDecoder:
    """Bytes in by :meth:`receive`, or by :meth:`room` and :meth:`filled`; frames out by :meth:`next_frame`.

    :ivar limit: the longest body of a frame that is no BLOCK; raised when Hello is finished.
    :ivar blocks: whether BLOCK frames may come at all.
    :ivar wanted: whether anyone still wants a BLOCK of this stream; asked once its head is there.  May raise DFSError.
    """

    def __init__(self) -> None:
        self.limit = MAX_HELLO_BODY
        self.blocks = False
        self.wanted: Callable[[int], bool] = lambda stream_id: True
        self._chunks: deque[bytes] = deque()
        self._at = 0  # offset in the first chunk
        self._size = 0  # bytes not yet taken
        self._header: tuple[int, int, int, int, int, int] | None = None
        self._dead: DFSError | None = None
        self._filling: _Filling | None = None
        self._behind = memoryview(b"")

    @property
    def buffered(self) -> int:
        """Bytes received and not yet handed out as frames."""
        filling = self._filling
        held = 0 if filling is None else HEADER_LENGTH + len(filling.data) - len(filling.room)
        return self._size + held + (HEADER_LENGTH if self._header is not None else 0)

    @property
    def missing(self) -> int:
        """Bytes that the block that is being filled still waits for, 0 without one."""
        return 0 if self._filling is None else len(self._filling.room)

    def room(self) -> list[memoryview]:
        """Where the next bytes may be received, in order: what is missing of a block, and a little behind it."""
        if not self._behind:
            self._behind = memoryview(bytearray(_BEHIND))
        return [self._behind] if self._filling is None else [self._filling.room, self._behind]

    def filled(self, count: int) -> None:
        """So many bytes were received into :meth:`room`."""
        if self._filling is not None:
            within = min(count, len(self._filling.room))
            self._filling.room = self._filling.room[within:]
            count -= within
        if count:
            self._keep(bytes(self._behind[:count]))

    def receive(self, data: bytes) -> None:
        """Take what arrived; a block's data are copied to where they belong, all else is kept as it is."""
        if self._filling is not None and data:
            room = self._filling.room
            within = min(len(data), len(room))
            room[:within] = data[:within]
            self._filling.room = room[within:]
            data = data[within:]
        if data:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        chunks = self._chunks
        while len(chunks) > 1 and len(chunks[-1]) <= len(data) and len(chunks[-1]) + len(data) <= _MERGE_BELOW:
            data = chunks.pop() + data
        chunks.append(data)

    def next_frame(self) -> Frame | None:
        """The next whole frame, None if more bytes are needed.  Raises DFSError (BadRequest, VersionMismatch) when the
        bytes are no frame; then and ever after, since nothing tells where the next one would begin."""
        if self._dead is not None:
            raise self._dead
        try:
            return self._next_frame()
        except DFSError as error:
            self._dead = error
            self._chunks.clear()
            self._size = 0
            self._filling = None
            raise

    def _next_frame(self) -> Frame | None:
        if self._filling is not None:
            return self._filled_block(self._filling)
        if self._header is None:
            if self._size < HEADER_LENGTH:
                return None
            self._header = _HEADER.unpack(self._take(HEADER_LENGTH))
            self._check_header()
        length, checksum, version, type, code, request = self._header
        covered = crc32c(_COVERED.pack(version, type, code, request))
        if type == FrameType.BLOCK:
            return self._begin_block(length, checksum, covered, request)
        if self._size < length:
            return None
        self._header = None
        body = self._take(length)
        _check_sum(crc32c(body, covered), checksum)
        return Frame(_TYPES[type], code, request, body)

    def _check_header(self) -> None:
        assert self._header is not None
        length, _, version, type, _, _ = self._header
        if version != VERSION:
            raise VersionMismatch(
                f"a frame of version {version}; this node reads version {VERSION}",
                hint="check that the address is that of a node of the cluster, and upgrade the older of the two nodes",
            )
        if type not in _TYPES:
            raise BadRequest(f"a frame of the unknown type {type}")
        if type == FrameType.BLOCK:
            if not self.blocks:
                raise BadRequest("a BLOCK on a connection that is not for bulk data")
            if not BLOCK_HEAD_LENGTH < length <= MAX_BLOCK_BODY:
                raise BadRequest(f"a BLOCK of {length} bytes")
        elif length > self.limit:
            raise BadRequest(f"a frame of {length} bytes is above the limit of {self.limit}")

    def _begin_block(self, frame_length: int, checksum: int, covered: int, request: int) -> Frame | None:
        """The head, once it is there; the data may follow later."""
        head_length = _head_length(frame_length)
        if self._size < head_length:
            return None
        self._header = None
        head = self._take(head_length)
        offset, length = _BLOCK_HEAD.unpack_from(head)
        count = -(-length // PIECE)
        if not 0 < length <= BLOCK or frame_length != BLOCK_HEAD_LENGTH + 4 * count + length or offset % PIECE:
            raise BadRequest(f"a BLOCK of {length} bytes from {offset} in a frame of {frame_length}")
        _check_sum(crc32c(head, covered), checksum)
        crcs = struct.unpack_from(f">{count}I", head, BLOCK_HEAD_LENGTH)
        wanted = self.wanted(request)
        data = BUFFERS.take(length) if wanted else WASTE[:length]
        self._filling = filling = _Filling(request, offset, crcs, data, data, wanted)
        while filling.room and self._size:
            view = self._view(len(filling.room))
            filling.room[: len(view)] = view
            filling.room = filling.room[len(view) :]
        return self._filled_block(filling)

    def _filled_block(self, filling: _Filling) -> Frame | None:
        if filling.room:
            return None
        self._filling = None
        data = filling.data
        block = Block(filling.offset, len(data), filling.crcs, (data,)) if filling.wanted else None
        return Frame(FrameType.BLOCK, 0, filling.request, b"", block)

    def _take(self, length: int) -> bytes:
        """The next ``length`` bytes, which are there, joined."""
        if not length:
            return b""
        first, at = self._chunks[0], self._at
        left = len(first) - at - length
        if left < 0:
            return b"".join(self._views(length))
        self._size -= length
        if left:
            self._at += length
            return first[at : at + length]
        self._chunks.popleft()
        self._at = 0
        return first[at:]

    def _views(self, length: int) -> list[memoryview]:
        """The next ``length`` bytes, which are there, uncopied."""
        views = []
        while length:
            views.append(self._view(length))
            length -= len(views[-1])
        return views

    def _view(self, length: int) -> memoryview:
        """At most ``length`` bytes of the next piece, uncopied."""
        first = self._chunks[0]
        view = memoryview(first)[self._at : self._at + length]
        self._size -= len(view)
        self._at += len(view)
        if self._at == len(first):
            self._chunks.popleft()
            self._at = 0
        return view


def _head_length(frame_length: int) -> int:
    """Bytes of a BLOCK's head and checksums, by the length of its body (which is within its bounds)."""
    count = -(-(frame_length - BLOCK_HEAD_LENGTH) // (PIECE + 4))
    return BLOCK_HEAD_LENGTH + 4 * count


def _check_sum(found: int, named: int) -> None:
    if found != named:
        raise BadRequest("a frame whose checksum does not match its bytes")
