"""What entry 1 holds: which cluster this log belongs to and who its members are (R35).

Big endian::

    offset  length  field
         0       1  version, 1
         1      16  cluster id, random
        17       2  feature level that every member understands
        19       1  count of voters, 1 to 7
         .     1+n  each: length, UTF-8
         .       1  count of learners, 0 to 7
         .     1+n  each: length, UTF-8

All founders make the same bytes from the same flags, in term 1, so entry 1 is equal everywhere before anybody has
talked to anybody.  The entry's own checksum covers it.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

from dfs.raft.codec import CodecError, encode_entry
from dfs.raft.core.types import Configuration
from dfs.raft.messages import Entry, EntryKind

VERSION: Final = 1
FOUNDING_TERM: Final = 1
MAX_MEMBERS: Final = 7
_HEAD = struct.Struct(">B16sH")


@frozen
class Founding:
    """The decoded payload of entry 1.

    :ivar cluster: 16 random bytes drawn by whoever planned the cluster.
    :ivar level: the feature level of commands and tables at the founding.
    """

    cluster: bytes
    level: int
    configuration: Configuration


def encode_founding(founding: Founding) -> bytes:
    """The payload of entry 1; members in sorted order, so that the order of flags does not matter.
    ValueError where there are too many, none, doubles or names over 255 bytes."""
    configuration = founding.configuration
    everyone = configuration.voters + configuration.learners
    if not configuration.voters or len(set(everyone)) != len(everyone) or not all(everyone):
        raise ValueError(f"{everyone} is not a list of distinct members with at least one voter")
    if len(founding.cluster) != 16:
        raise ValueError("a cluster id has 16 bytes")
    parts = [_HEAD.pack(VERSION, founding.cluster, founding.level)]
    for members in (configuration.voters, configuration.learners):
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"{len(members)} members are more than {MAX_MEMBERS}")
        parts.append(bytes([len(members)]))
        for member in sorted(members):
            name = member.encode()
            if len(name) > 255:
                raise ValueError(f"the name {member} is too long")
            parts += [bytes([len(name)]), name]
    return b"".join(parts)


def decode_founding(payload: bytes) -> Founding:
    """The inverse; CodecError for anything else."""
    if len(payload) < _HEAD.size or payload[0] != VERSION:
        raise CodecError("entry 1 is not a founding of version 1")
    _, cluster, level = _HEAD.unpack_from(payload)
    voters, offset = _members(payload, _HEAD.size)
    learners, offset = _members(payload, offset)
    if offset != len(payload) or not voters:
        raise CodecError("entry 1 does not add up")
    return Founding(cluster, level, Configuration(voters, learners))


def founding_entry(founding: Founding) -> Entry:
    """Entry 1 as every founder writes it, before it starts with HardState(FOUNDING_TERM, None)."""
    return encode_entry(1, FOUNDING_TERM, EntryKind.CONFIGURATION, encode_founding(founding), 0)


def _members(payload: bytes, offset: int) -> tuple[tuple[str, ...], int]:
    if offset >= len(payload) or payload[offset] > MAX_MEMBERS:
        raise CodecError("entry 1 has a bad count of members")
    members, count = [], payload[offset]
    offset += 1
    for _ in range(count):
        end = offset + 1 + (payload[offset] if offset < len(payload) else 0)
        if end > len(payload) or end <= offset + 1:
            raise CodecError("entry 1 is cut short in a name")
        try:
            members.append(payload[offset + 1 : end].decode())
        except UnicodeDecodeError as error:
            raise CodecError("a member's name is not UTF-8") from error
        offset = end
    return tuple(members), offset
