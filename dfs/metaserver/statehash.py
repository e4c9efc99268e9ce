"""A running hash of all records, kept by apply, that does not depend on the order of changes (S38).

The multiset hash AdHash (Bellare and Micciancio 1997): the sum, modulo 2**256, of SHA-256 over each record.  A
changed record costs one hash to take the former value out and one to put the new one in, about a microsecond each;
nothing is ever scanned.  Additive hashes are weak against one who *searches* for collisions (generalised birthday);
what is looked for here is divergence by a bug or a broken disk, for which 256 bits of SHA-256 are far more than
enough.  Rejected: a Merkle tree (log n rewritten nodes a change), XOR (a record counted twice vanishes), CRC sums
(linear in what goes wrong).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

MODULUS = 1 << 256
EMPTY = bytes(32)


def record_hash(key: bytes, value: bytes) -> int:
    """One record's summand; the key's length keeps (key, value) pairs apart."""
    return int.from_bytes(sha256(len(key).to_bytes(2, "big") + key + value).digest(), "big")


def updated(total: bytes, originals: Mapping[bytes, bytes | None], changes: Mapping[bytes, bytes | None]) -> bytes:
    """The hash after ``changes``; ``originals`` has what each changed key held before."""
    number = int.from_bytes(total, "big")
    for key, value in changes.items():
        before = originals[key]
        if before == value:
            continue
        if before is not None:
            number -= record_hash(key, before)
        if value is not None:
            number += record_hash(key, value)
    return (number % MODULUS).to_bytes(32, "big")
