"""Cutting a chunk's bytes into blocks, and checking blocks.

CPU work over many bytes: these run on a thread, not on the reactor's.
"""

from __future__ import annotations

from crc32c import crc32c

from dfs.protocol.interfaces import Block
from dfs.protocol.values import BLOCK, PIECE

_KEEP_LOCK = 0


def piece_crc(data: memoryview, crc: int = 0) -> int:
    """CRC-32C of a piece, or of a part of one after ``crc``.  It keeps the interpreter lock: 64 KiB take 4 us, less
    than it costs to give the lock away and to wait for it again."""
    found: int = crc32c(data, crc, _KEEP_LOCK)
    return found


def cut_blocks(data: memoryview, offset: int) -> list[Block]:
    """Blocks over ``data``, which lies at ``offset`` (a multiple of PIECE) of its chunk, with their checksums."""
    blocks = []
    for start in range(0, len(data), BLOCK):
        run = data[start : start + BLOCK]
        crcs = tuple([crc32c(run[at : at + PIECE], 0, _KEEP_LOCK) for at in range(0, len(run), PIECE)])
        blocks.append(Block(offset=offset + start, length=len(run), crcs=crcs, pieces=(run,)))
    return blocks


def first_unsound(block: Block) -> int | None:
    """The number of the first piece of the block whose bytes do not have the checksum that it carries, None if all
    do.  Its memoryviews may be cut anywhere; in one they are fastest."""
    crcs = block.crcs
    if len(block.pieces) == 1 and len(block.pieces[0]) == block.length and len(crcs) == -(-block.length // PIECE):
        data = block.pieces[0]
        for at, crc in enumerate(crcs):
            if crc32c(data[at * PIECE : (at + 1) * PIECE], 0, _KEEP_LOCK) != crc:
                return at
        return None
    return _first_unsound_of_many(block)


def _first_unsound_of_many(block: Block) -> int | None:
    position, crc, room, seen = 0, 0, PIECE, 0
    for view in block.pieces:
        while view:
            run = view[:room]
            crc = piece_crc(run, crc)
            room -= len(run)
            seen += len(run)
            view = view[len(run) :]
            if room == 0 or seen == block.length:
                if position >= len(block.crcs) or crc != block.crcs[position]:
                    return position
                position, crc, room = position + 1, 0, PIECE
    return None if seen == block.length and position == len(block.crcs) else position


def block_is_sound(block: Block) -> bool:
    """Whether the block's bytes have the checksums that it carries."""
    return first_unsound(block) is None
