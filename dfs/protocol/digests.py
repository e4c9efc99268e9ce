"""The digest of a range of replicas: what a chunk server and metadata compare before they exchange lists.

The sum, modulo 2**128, of one hash a replica; so a range's digest follows its adds and removes one by one, in any
order, and neighbouring ranges add up.  A replica is (file id, index, number of its durable add at the node): a number
is never given twice at a node, and metadata records it with the generation and the sums of the bytes, so what is equal
in these three is equal in all.  Pure.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

DIGEST_LENGTH = 16
_MODULUS = 1 << (8 * DIGEST_LENGTH)
_REPLICA = struct.Struct(">QIQ")


def replica_hash(file_id: int, index: int, number: int) -> int:
    """One replica's share of a digest."""
    said = _REPLICA.pack(file_id, index, number)
    return int.from_bytes(blake2b(said, digest_size=DIGEST_LENGTH).digest(), "big")


def digest_of(total: int) -> bytes:
    """A sum of shares as it travels; removes may have made it negative."""
    return (total % _MODULUS).to_bytes(DIGEST_LENGTH, "big")
