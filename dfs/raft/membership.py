"""Who belongs to the group: the payload of a configuration entry, and the changes that make the next one.

The log's first entry is the founders' configuration; each later one differs from the one before by one member, so
any majority of one and any majority of the next have a member in common (Raft thesis 4.1; R51).  Names that were
removed stay in it for ever and never come back (R35).

Version 1, what founders make of their flags; big endian::

    offset  length  field
         0       1  version, 1
         1      16  cluster id
        17       2  feature level that every member understands
        19       1  count of voters, 1 to 7
         .     1+n  each: length, UTF-8
         .       1  count of learners, 0 to 7
         .     1+n  each: length, UTF-8

All founders make the same bytes, in term 1, before anybody has talked to anybody: so it holds no addresses, which
their flags may spell differently.  Version 2, from the first change on::

         0       1  version, 2
         1      16  cluster id
        17       2  feature level
        19       1  count of members, 1 to 14
         .       1  each: 0 voter, 1 learner
         .     1+n        length, name
         .     1+n        length, contact (may be empty: then it is in the flags)
         .       2  count of names that were removed
         .     1+n  each: length, UTF-8

Names are in ascending order, voters and learners together in version 2.  The entry's checksum covers it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from attrs import evolve, field, frozen

from dfs.raft.codec import MAX_CONFIGURATION, CodecError

VERSION: Final = 1
CHANGED_VERSION: Final = 2
MAX_MEMBERS: Final = 7
MAX_NAME: Final = 255
CLUSTER_LENGTH: Final = 16
_HEAD = struct.Struct(">B16sH")
_REMOVED = struct.Struct(">H")


@frozen
class Configuration:
    """Who belongs to the group.  Learners receive entries but neither vote nor count.

    :ivar contacts: (name, contact) of the members whose contact is known here; opaque to Raft, host:port in use.
    :ivar removed: the names that were members once and never will be again.
    :ivar cluster: 16 bytes that tell this group from every other one.
    :ivar level: the feature level of commands and tables at the founding.
    """

    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()
    contacts: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    removed: tuple[str, ...] = ()
    cluster: bytes = field(default=bytes(CLUSTER_LENGTH), repr=False)
    level: int = field(default=1, repr=False)

    @property
    def quorum(self) -> int:
        """How many voters are a majority."""
        return len(self.voters) // 2 + 1

    @property
    def members(self) -> tuple[str, ...]:
        """Voters and learners."""
        return self.voters + self.learners

    def contact(self, name: str) -> str:
        """Where a member is reached; "" where the configuration does not say."""
        return dict(self.contacts).get(name, "")


@frozen
class AddLearner:
    """Let ``name`` in as a learner.  Done already if it is a member under this contact."""

    name: str
    contact: str


@frozen
class Promote:
    """Make a learner that has caught up a voter (R54).  Done already if it votes."""

    name: str


@frozen
class Remove:
    """Take a voter or a learner out, for ever.  Done already if it was removed."""

    name: str


Change = AddLearner | Promote | Remove


def with_learner(configuration: Configuration, name: str, contact: str) -> Configuration:
    """The next configuration, with one learner more."""
    contacts = {**dict(configuration.contacts), name: contact}
    return evolve(
        configuration, learners=_sorted(configuration.learners, name), contacts=tuple(sorted(contacts.items()))
    )


def with_promoted(configuration: Configuration, name: str) -> Configuration:
    """The next configuration, in which a learner votes."""
    learners = tuple(learner for learner in configuration.learners if learner != name)
    return evolve(configuration, voters=_sorted(configuration.voters, name), learners=learners)


def without(configuration: Configuration, name: str) -> Configuration:
    """The next configuration, with one member less and its name used up."""
    return evolve(
        configuration,
        voters=tuple(voter for voter in configuration.voters if voter != name),
        learners=tuple(learner for learner in configuration.learners if learner != name),
        contacts=tuple(pair for pair in configuration.contacts if pair[0] != name),
        removed=_sorted(configuration.removed, name),
    )


def with_contacts(configuration: Configuration, known: Mapping[str, str]) -> Configuration:
    """The same members; contacts that it lacks are taken from ``known``."""
    contacts = {name: known.get(name, "") for name in configuration.members}
    contacts.update(configuration.contacts)
    return evolve(configuration, contacts=tuple(sorted((n, c) for n, c in contacts.items() if c)))


def fits(configuration: Configuration) -> bool:
    """Whether it can be written, now and when all of its members have been removed one after the other."""
    tombstones = sum(1 + len(name.encode()) for name in configuration.members)
    try:
        return len(encode_configuration(configuration)) + tombstones <= MAX_CONFIGURATION
    except ValueError:
        return False


def encode_configuration(configuration: Configuration) -> bytes:
    """The payload of a configuration entry; members in sorted order, so that the order of flags does not matter.
    ValueError where there are too many, none, doubles, names or contacts over 255 bytes, or all is too long."""
    c = configuration
    named = c.members + c.removed
    if not c.voters or len(set(named)) != len(named) or not all(named):
        raise ValueError(f"{named} is not a list of distinct names with at least one voter")
    if len(c.cluster) != CLUSTER_LENGTH:
        raise ValueError(f"a cluster id has {CLUSTER_LENGTH} bytes")
    if max(len(c.voters), len(c.learners)) > MAX_MEMBERS:
        raise ValueError(f"{len(c.voters)} voters and {len(c.learners)} learners: at most {MAX_MEMBERS} of each")
    changed = bool(c.contacts or c.removed)
    head = _HEAD.pack(CHANGED_VERSION if changed else VERSION, c.cluster, c.level)
    payload = b"".join((head, *(_changed(c) if changed else _founders(c))))
    if len(payload) > MAX_CONFIGURATION:
        raise ValueError(f"a configuration of {len(payload)} bytes is over the limit of {MAX_CONFIGURATION}")
    return payload


def _founders(c: Configuration) -> list[bytes]:
    parts = []
    for members in (c.voters, c.learners):
        parts.append(bytes([len(members)]))
        parts += [_text(member) for member in sorted(members)]
    return parts


def _changed(c: Configuration) -> list[bytes]:
    parts = [bytes([len(c.members)])]
    for member in sorted(c.members):
        parts += [bytes([member in c.learners]), _text(member), _text(c.contact(member))]
    return [*parts, _REMOVED.pack(len(c.removed)), *(_text(name) for name in sorted(c.removed))]


def decode_configuration(payload: bytes) -> Configuration:
    """The inverse; CodecError for anything else."""
    if not _HEAD.size <= len(payload) <= MAX_CONFIGURATION or payload[0] not in (VERSION, CHANGED_VERSION):
        raise CodecError("not a configuration of version 1 or 2")
    version, cluster, level = _HEAD.unpack_from(payload)
    reader = _Reader(payload, _HEAD.size)
    if version == VERSION:
        found = Configuration(_names(reader), _names(reader), cluster=cluster, level=level)
    else:
        found = _decode_changed(reader, cluster, level)
    if reader.offset != len(payload) or not found.voters:
        raise CodecError("a configuration does not add up")
    return found


def _names(reader: _Reader) -> tuple[str, ...]:
    return tuple(reader.text() for _ in range(reader.count(MAX_MEMBERS)))


def _decode_changed(reader: _Reader, cluster: bytes, level: int) -> Configuration:
    roles: tuple[list[str], list[str]] = ([], [])
    contacts = []
    for _ in range(reader.count(2 * MAX_MEMBERS)):
        role, name, contact = reader.count(1), reader.text(), reader.text(empty=True)
        roles[role].append(name)
        if contact:
            contacts.append((name, contact))
    removed = tuple(reader.text() for _ in range(reader.count(0xFF) << 8 | reader.count(0xFF)))
    return Configuration(tuple(roles[0]), tuple(roles[1]), tuple(contacts), removed, cluster, level)


class _Reader:
    """Reads counts and names one after the other; CodecError where the bytes end or do not fit."""

    def __init__(self, payload: bytes, offset: int) -> None:
        self._payload = payload
        self.offset = offset

    def count(self, limit: int) -> int:
        if self.offset >= len(self._payload) or self._payload[self.offset] > limit:
            raise CodecError("a configuration has a bad count")
        self.offset += 1
        return self._payload[self.offset - 1]

    def text(self, empty: bool = False) -> str:
        length = self.count(MAX_NAME)
        end = self.offset + length
        if end > len(self._payload) or not (length or empty):
            raise CodecError("a configuration is cut short in a name")
        try:
            found = self._payload[self.offset : end].decode()
        except UnicodeDecodeError as error:
            raise CodecError("a member's name is not UTF-8") from error
        self.offset = end
        return found


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > MAX_NAME:
        raise ValueError(f"{text} is longer than {MAX_NAME} bytes")
    return bytes([len(encoded)]) + encoded


def _sorted(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(sorted({*names, name}))
