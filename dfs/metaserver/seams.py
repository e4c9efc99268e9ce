"""What the parts of a metadata server are given: made once by dfs.metaserver.node, changed by nobody."""

from __future__ import annotations

from attrs import frozen

from dfs.metaserver.alarms import Alarms
from dfs.metaserver.config import MetaConfig
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.members import Members
from dfs.metaserver.neighbours import Neighbours
from dfs.metaserver.proposing import Proposer
from dfs.metaserver.reading import Reader
from dfs.metaserver.roster import Roster
from dfs.protocol.trust import KeyRing
from dfs.runtime.interfaces import Runtime


@frozen
class Seams:
    """See the classes."""

    config: MetaConfig
    members: Members
    runtime: Runtime
    machine: MetadataMachine
    proposer: Proposer
    reader: Reader
    roster: Roster
    alarms: Alarms
    keys: KeyRing
    neighbours: Neighbours

    def seconds(self) -> float:
        """Monotonic."""
        now: float = self.runtime.reactor.seconds()
        return now

    def wall_ms(self) -> int:
        """For display only (S34)."""
        return int(self.runtime.wall_time() * 1000)
