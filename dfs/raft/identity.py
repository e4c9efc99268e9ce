"""Who a folder belongs to, decided once when it is founded.

What is on disk always wins over what the flags say (S28, R35).  The record is
the file ``identity`` in two copies (:mod:`dfs.raft.twin`, kind 3); big endian::

    offset size
       0     1   version, 1
       1    16   cluster id
      17    16   incarnation: random, made with the folder
      33     2   length of the node's name, at most 255
      35     n   the node's name, UTF-8
             m   the payload of log entry 1, to the end; nothing where the member joined later
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from attrs import frozen
from construct import Bytes, Const, GreedyBytes, Int8ub, Int16ub, this
from construct import Struct as Layout

from dfs.raft.codec import CodecError
from dfs.raft.errors import StorageCorrupt, WrongCluster
from dfs.raft.membership import decode_configuration

FILE_NAME = "identity"
UNFINISHED_NAME = "identity.new"
KIND = 3
VERSION = 1
ID_LENGTH = 16
MAX_NAME = 255
_HEAD = struct.Struct(">B16s16sH")

identity_layout = Layout(
    "version" / Const(VERSION, Int8ub),
    "cluster_id" / Bytes(ID_LENGTH),
    "incarnation" / Bytes(ID_LENGTH),
    "length" / Int16ub,
    "node" / Bytes(this.length),
    "configuration" / GreedyBytes,
)


@frozen
class Identity:
    """What a folder is.  ``incarnation`` tells it from a wiped folder of the same name (R35);
    ``configuration`` is the payload of log entry 1, which the founders made; b"" for a member that joined."""

    node: str
    cluster_id: bytes
    incarnation: bytes
    configuration: bytes


def encode_identity(identity: Identity) -> bytes:
    """The payload of the record."""
    name = identity.node.encode()
    assert len(identity.cluster_id) == len(identity.incarnation) == ID_LENGTH
    assert 1 <= len(name) <= MAX_NAME, identity.node
    return _HEAD.pack(VERSION, identity.cluster_id, identity.incarnation, len(name)) + name + identity.configuration


def decode_identity(payload: bytes) -> Identity:
    """The reverse; the checksum was verified.  Raises StorageCorrupt for a version that is not known here."""
    version, cluster_id, incarnation, length = _HEAD.unpack_from(payload)
    if version != VERSION:
        raise StorageCorrupt(f"the identity record has version {version}: it was written by a newer program.")
    middle = _HEAD.size + length
    return Identity(payload[_HEAD.size : middle].decode(), cluster_id, incarnation, payload[middle:])


def check_identity(found: Identity, node: str, cluster_id: bytes | None) -> None:
    """Raise WrongCluster with a sentence where the flags name another member or cluster than the folder (S28)."""
    if node != found.node:
        raise WrongCluster(
            f"this folder belongs to the member {found.node}, not to {node}: start {found.node} with it, or give "
            f"{node} a folder of its own."
        )
    if cluster_id is not None and cluster_id != found.cluster_id:
        raise WrongCluster(
            f"this folder belongs to the cluster {found.cluster_id.hex()}, not to {cluster_id.hex()}: check the "
            "cluster key and id that were given, or give this node an empty folder."
        )


def check_members(found: Identity, members: Collection[str], changed: bool = False) -> None:
    """Raise WrongCluster with a sentence where the flags name other members than the founders that the folder knows
    (S28): two lists under one key would be two clusters.  Addresses are the flags' to say; and once the membership
    was ``changed``, or where the member joined later, the log alone says who belongs.  Raises StorageCorrupt for
    members that cannot be read."""
    if changed or not found.configuration:
        return
    try:
        configuration = decode_configuration(found.configuration)
    except CodecError as error:
        raise StorageCorrupt(f"the identity record does not say who the members are: {error}.") from error
    known = configuration.voters + configuration.learners
    if set(known) != set(members):
        raise WrongCluster(
            f"this folder belongs to a cluster of the members {', '.join(sorted(known))}, and the flags name "
            f"{', '.join(sorted(members))}: name those that the folder knows (their addresses may change)."
        )
