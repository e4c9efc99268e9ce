"""How a member is set up; the defaults are for production, tests and simulation make them small."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import field, frozen

from dfs.raft.core.types import Config, Configuration
from dfs.raft.founding import Founding, encode_founding
from dfs.raft.log import SEGMENT_LENGTH

FEATURE_LEVEL = 1


@frozen
class NodeConfig:
    """One member.

    :ivar node: its name, one of ``members``.
    :ivar members: every founder's name and address; the same on each of them.
    :ivar cluster_id: 16 bytes, or None to derive it from ``members``.
    :ivar tick: seconds; the other times are in ticks.
    :ivar trailing_entries: how many entries behind the durable state stay in the log.
    :ivar sync_interval: seconds between syncs of the state machine, if something was applied.
    :ivar sync_entries: so many applied entries also cause a sync.
    :ivar piece_length: bytes of one piece of a snapshot, at most 1 MiB.
    :ivar window_pieces: how many pieces may be on their way to one follower.
    :ivar queued_length: bytes of proposals that may wait for the next turn of the loop.
    """

    node: str
    members: Mapping[str, str]
    cluster_id: bytes | None = None
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
    queued_length: int = 64 << 20

    @piece_length.validator
    def _check_piece(self, _: object, value: int) -> None:
        if not 0 < value <= 1 << 20:
            raise ValueError(f"a piece of {value} bytes: must be 1 byte to 1 MiB (R40)")

    @property
    def election_timeout(self) -> float:
        """Seconds: the shortest election time-out."""
        return self.election_ticks * self.tick

    def founding(self) -> Founding:
        """What entry 1 says if this member founds the cluster."""
        cluster = self.cluster_id or derived_cluster_id(self.members)
        return Founding(cluster, FEATURE_LEVEL, Configuration(tuple(sorted(self.members))))

    def founding_payload(self) -> bytes:
        """The payload of entry 1."""
        return encode_founding(self.founding())

    def core_config(self) -> Config:
        """The core's share of the settings."""
        return Config(me=self.node, election_ticks=self.election_ticks, heartbeat_ticks=self.heartbeat_ticks)


def derived_cluster_id(members: Mapping[str, str]) -> bytes:
    """16 bytes that every founder derives from the same member list: SHA-256 over length-prefixed sorted pairs."""
    digest = hashlib.sha256(b"dfs cluster id 1")
    for name, address in sorted(members.items()):
        for text in (name.encode(), address.encode()):
            digest.update(len(text).to_bytes(4, "big") + text)
    return digest.digest()[:16]
