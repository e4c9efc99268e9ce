"""How a member is set up; the defaults are for production, tests and simulation make them small."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import field, frozen

from dfs.raft.core.types import Config
from dfs.raft.log import SEGMENT_LENGTH
from dfs.raft.membership import Configuration, encode_configuration

FEATURE_LEVEL = 1


@frozen
class NodeConfig:
    """One member.

    :ivar node: its name; one of ``members`` unless it joins.
    :ivar members: every founder's name and address; the same on each of them.  Once a cluster was founded they only
        say where those that they name are reached: who belongs is in the log.
    :ivar cluster_id: 16 bytes, or None to derive it from ``members``.
    :ivar join: if the folder is new, begin with an empty log and wait to be added (IRaft.change) to the cluster of
        ``cluster_id``, which must be given; a folder that holds a log already goes on as what it is (S28).  Its
        ``members`` have to name whoever may lead when it is added: before it holds a log it answers only those.
    :ivar tick: seconds; the other times are in ticks.
    :ivar trailing_entries: how many entries behind the durable state stay in the log.
    :ivar sync_interval: seconds between syncs of the state machine, if something was applied.
    :ivar sync_entries: so many applied entries also cause a sync.
    :ivar piece_length: bytes of one piece of a snapshot, at most 1 MiB.
    :ivar window_pieces: how many pieces may be on their way to one follower.
    :ivar append_length: bytes of entries in one message, at most (one entry always goes).
    :ivar append_window: how many such messages may be on their way to one follower.
    :ivar queued_length: bytes of proposals that may wait for the next turn of the loop.
    """

    node: str
    members: Mapping[str, str]
    cluster_id: bytes | None = None
    join: bool = field(default=False)
    tick: float = 0.05
    heartbeat_ticks: int = 2
    election_ticks: int = 10
    trailing_entries: int = 10_000
    sync_interval: float = 10.0
    sync_entries: int = 50_000
    piece_length: int = field(default=256 << 10)
    window_pieces: int = 4
    segment_length: int = SEGMENT_LENGTH
    reserve_length: int = 16 << 20
    append_length: int = 256 << 10
    append_window: int = 8
    queued_length: int = 64 << 20

    @piece_length.validator
    def _check_piece(self, _: object, value: int) -> None:
        if not 0 < value <= 1 << 20:
            raise ValueError(f"a piece of {value} bytes: must be 1 byte to 1 MiB (R40)")

    @join.validator
    def _check_join(self, _: object, value: bool) -> None:
        if value and self.cluster_id is None:
            raise ValueError("one that joins must be told the cluster id")
        if not value and self.node not in self.members:
            raise ValueError(f"{self.node} is not among the members {', '.join(sorted(self.members))}")

    @property
    def election_timeout(self) -> float:
        """Seconds: the shortest election time-out."""
        return self.election_ticks * self.tick

    def founding(self) -> Configuration:
        """What entry 1 says if this member founds the cluster."""
        cluster = self.cluster_id or derived_cluster_id(self.members)
        return Configuration(tuple(sorted(self.members)), cluster=cluster, level=FEATURE_LEVEL)

    def founding_payload(self) -> bytes:
        """The payload of entry 1; b"" for one that joins: it learns who belongs from the others."""
        return b"" if self.join else encode_configuration(self.founding())

    def core_config(self) -> Config:
        """The core's share of the settings."""
        return Config(
            me=self.node,
            election_ticks=self.election_ticks,
            heartbeat_ticks=self.heartbeat_ticks,
            message_bytes=self.append_length,
            window_messages=self.append_window,
        )


def derived_cluster_id(members: Mapping[str, str]) -> bytes:
    """16 bytes that every founder derives from the same member list: SHA-256 over length-prefixed sorted pairs."""
    digest = hashlib.sha256(b"dfs cluster id 1")
    for name, address in sorted(members.items()):
        for text in (name.encode(), address.encode()):
            digest.update(len(text).to_bytes(4, "big") + text)
    return digest.digest()[:16]
