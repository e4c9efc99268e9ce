"""What a run is made of, and what comes of it."""

from __future__ import annotations

from attrs import field, frozen

from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.faults import USUAL, Decision, Mix

ACTS: dict[str, float] = {
    "upload": 5.0,
    "download": 4.0,
    "delete": 2.0,
    "list": 1.0,
    "stat": 1.0,
    "upload_many": 1.5,
    "read_many": 1.0,
}
"""What clients do, with its usual weight."""


@frozen
class Plan:
    """What a run is made of.

    :ivar seconds: of the phase with faults.
    :ivar pace: seconds between two faults, at least and at most.
    :ivar acts: what clients do, with its weight.
    :ivar shared: the share of operations on names that all clients use.
    :ivar names: names that a client has for itself, and names that all share.
    :ivar think: seconds between two operations of a client, at most.
    :ivar small: files of at most one byte only: there is more of metadata.
    :ivar any_member: the share of clients that read names from any metadata member, not from the leader alone.
    :ivar keep: numbers of the faults that are carried out (:mod:`dfs.simulation.faults.ground`); None is all.
    :ivar latency: of every link, in seconds at least; up to as much again is drawn for each packet.
    """

    settings: ClusterSettings = field(factory=ClusterSettings)
    clients: int = 2
    seconds: float = 12.0
    mix: Mix = field(factory=lambda: USUAL)
    pace: tuple[float, float] = (0.1, 1.5)
    acts: dict[str, float] = field(factory=lambda: ACTS)
    shared: float = 0.3
    names: int = 4
    latency: float = 0.0003
    think: float = 0.6
    small: bool = False
    any_member: float = 0.3
    keep: frozenset[int] | None = None


@frozen
class Result:
    """What a run did and found.  ``trace`` is the digest of everything that happened, ``schedule`` the faults."""

    seed: int
    trace: str
    virtual_seconds: float
    wall_seconds: float
    events: int
    faults: dict[str, int]
    operations: dict[str, int]
    violations: tuple[str, ...]
    schedule: tuple[Decision, ...] = ()
