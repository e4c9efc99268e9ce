"""What chunk servers tell of damage and of their disks, and how inventories are compared.

See :mod:`dfs.protocol.messages`.
"""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.values import FileId, Generation, NodeNumber


class DamageKind(enum.IntEnum):
    """What is wrong with a replica that a chunk server had: its bytes are not those of its checksums, the disk does
    not read them, or the file is not there."""

    CORRUPT = 1
    UNREADABLE = 2
    MISSING = 3


@frozen
class ReportDamage:
    """A chunk server's word that it has the replica of this ``number`` (its durable add) no more: it was read twice,
    and is set aside (S11).  ``offset``: the first bad piece of 64 KiB, where it is known."""

    node: NodeNumber
    incarnation: bytes
    file_id: FileId
    index: int
    generation: Generation
    number: int
    kind: DamageKind
    offset: int | None


@frozen
class ReportHealth:
    """How a chunk server's disk does, told to every metadata node when it changes.  ``trouble``: why the node had
    better get nothing new, "" for nothing.  ``unreadable`` replicas since its start; the scrub has verified
    ``scrubbed`` bytes of about ``to_scrub`` in this pass, found ``rotten`` replicas since the start; ``quarantined``
    bytes are set aside."""

    node: NodeNumber
    incarnation: bytes
    trouble: str
    unreadable: int
    rotten: int
    scrubbed: int
    to_scrub: int
    quarantined: int


@frozen
class SetAside:
    """A replica in quarantine.  ``whole``: it was just read whole and is what its footer says."""

    file_id: FileId
    index: int
    generation: Generation
    length: int
    sha256: bytes
    whole: bool
    expired: bool


@frozen
class JudgeQuarantined:
    """What is to become of replicas in quarantine; at most 256."""

    node: NodeNumber
    incarnation: bytes
    replicas: tuple[SetAside, ...]


class QuarantineVerdict(enum.IntEnum):
    """KEEP it; ADMIT it, for it is whole and its chunk is short; DELETE it, for its time is over and its chunk has its
    full replication elsewhere, or belongs to a file that has ended."""

    KEEP = 1
    ADMIT = 2
    DELETE = 3


@frozen
class QuarantineJudged:
    """One a replica, in order."""

    verdicts: tuple[QuarantineVerdict, ...]


@frozen
class RangeDigest:
    """Everything held from the range before up to and including (file id, index) ``upto``: how many replicas, and
    the sum of their hashes (see dfs.protocol.digests)."""

    upto: bytes
    count: int
    digest: bytes


@frozen
class CompareInventory:
    """What a node holds above ``after``, in ranges that follow one another; only those that differ from the record are
    told one by one.  ``after`` is 12 zeros at the beginning of an inventory; the last ``upto`` of all is 12 x ff."""

    node: NodeNumber
    incarnation: bytes
    after: bytes
    ranges: tuple[RangeDigest, ...]


@frozen
class InventoryDiffers:
    """Positions in ``ranges`` of those that differ, lowest first."""

    ranges: tuple[int, ...]
