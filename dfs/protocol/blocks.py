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
        crcs = tuple(piece_crc(run[at : at + PIECE]) for at in range(0, len(run), PIECE))
        blocks.append(Block(offset=offset + start, length=len(run), crcs=crcs, pieces=(run,)))
    return blocks


def block_is_sound(block: Block) -> bool:
    """Whether the block's bytes have the checksums that it carries.  Its memoryviews may be cut anywhere."""
    crcs = block.crcs
    if len(crcs) != -(-block.length // PIECE):
        return False
    position, crc, left = 0, 0, min(PIECE, block.length)
    seen = 0
    for view in block.pieces:
        at = 0
        while at < len(view):
            run = view[at : at + left]
            crc = piece_crc(run, crc)
            at += len(run)
            left -= len(run)
            seen += len(run)
            if left == 0:
                if position == len(crcs) or crc != crcs[position]:
                    return False
                position, crc, left = position + 1, 0, min(PIECE, block.length - seen)
                if left <= 0:
                    left = PIECE
    return seen == block.length and position == len(crcs)
