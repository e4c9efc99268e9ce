"""To whom this server reports: every metadata node, as long as it is one.

It begins with the addresses that it was given.  The leader is asked now and then who the members are: a new one gets a
link and a reporter, one that was removed loses them.  A member that is reached already, under whatever address, is not
dialed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dfs.chunkserver.heartbeat import Reporter, Standing
from dfs.protocol.errors import DFSError, Forbidden, WrongCluster
from dfs.protocol.interfaces import Identity
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.link import Link
from dfs.protocol.messages import GetMembers, MemberInfo, Members
from dfs.protocol.values import Purpose
from dfs.runtime.ticker import Ticker

_log = Logger()

INTERVAL = 5.0
"""Seconds between questions who the members are."""

TIMEOUT = 2.0


@frozen(eq=False)
class _Line:
    """One metadata node."""

    link: Link
    reporter: Reporter


class Reporting:
    """:param addresses: the metadata nodes as the flags name them.
    :param leader: whom to ask who the members are.
    :param refused: called with a sentence when metadata will not have this node, and will not change its mind.
    """

    def __init__(
        self,
        standing: Standing,
        identity: Identity,
        addresses: tuple[str, ...],
        leader: LeaderCaller,
        refused: Callable[[str], None],
    ) -> None:
        self._standing, self._identity, self._leader, self._refused = standing, identity, leader, refused
        self._given = addresses
        self._lines: dict[str, _Line] = {}
        self._names: dict[str, str] = {}  # who was found at an address
        self._strangers: set[str] = set()  # metadata nodes that turned us away
        self._started = False
        self._asking: Deferred[None] | None = None
        self._ticker = Ticker(standing.runtime.reactor, INTERVAL, self._tick, f"members for {identity.name}")
        for address in addresses:
            self._add(address)

    def start(self) -> None:
        """Begin to report."""
        self._started = True
        for line in self._lines.values():
            line.reporter.start()
        self._ticker.start()

    def stop(self) -> None:
        """No beat begins after this."""
        self._ticker.stop()
        if self._asking is not None:
            self._asking.cancel()
        for line in self._lines.values():
            line.reporter.stop()
            line.link.stopService()

    def kick(self) -> None:
        """Beat at once to who leads, for whom alone there is news; where nobody is known to lead, to everybody."""
        reporters = [line.reporter for line in self._lines.values()]
        for reporter in [reporter for reporter in reporters if reporter.leads] or reporters:
            reporter.kick()

    def introduce(self, founding: bytes) -> None:
        """What our Hellos name from here on."""
        self._identity = evolve(self._identity, founding=founding)
        for line in self._lines.values():
            line.link.identity = self._identity

    # ---- who they are

    def _tick(self, _ticks: int) -> None:
        if self._asking is None and self._standing.number:
            asking = self._leader.call(GetMembers(True), TIMEOUT, TIMEOUT).addCallbacks(self._told, self._not_told)
            self._asking = asking
            asking.addBoth(self._asked)  # type: ignore[unused-awaitable]

    def _asked(self, _: object) -> None:
        self._asking = None

    def _not_told(self, failure: object) -> None:
        """There is no leader now, or it is of an older version: those that are known must do."""

    def _told(self, answer: object) -> None:
        assert isinstance(answer, Members)  # nothing else answers this request
        self.follow(answer.members)

    def follow(self, members: tuple[MemberInfo, ...]) -> None:
        """These are all the members, and the leader says so."""
        for address, line in self._lines.items():
            if line.link.connection is not None:
                self._names[address] = line.link.connection.peer.name
        reached = {self._names.get(a) for a, line in self._lines.items() if line.link.connection is not None}
        names = {member.name for member in members}
        for member in members:
            if member.address and member.name not in reached and member.address not in self._lines:
                _log.info("{name} at {address} is a metadata node now", name=member.name, address=member.address)
                self._add(member.address)
        wanted = {member.address for member in members}
        twice = {self._names.get(a) for a in wanted if a in self._lines and self._lines[a].link.connection is not None}
        for address in [a for a in self._lines if a not in wanted]:
            name = self._names.get(address)
            if (name is None and address not in self._given) or (name is not None and name not in names - twice):
                _log.info("{address} is not reported to any more", address=address)
                self._drop(address)

    def _add(self, address: str) -> None:
        runtime, clock = self._standing.runtime, self._standing.clock
        link = Link(
            runtime,
            address,
            self._identity,
            Purpose.CONTROL,
            refused=partial(self._turned_away, address),
            cluster_time=lambda: clock.now_ms(runtime.reactor.seconds()),
        )
        link.startService()
        self._lines[address] = line = _Line(link, Reporter(self._standing, link, self._refused))
        if self._started:
            line.reporter.start()

    def _drop(self, address: str) -> None:
        line = self._lines.pop(address)
        self._names.pop(address, None)
        line.reporter.stop()
        line.link.stopService()

    def _turned_away(self, address: str, error: DFSError) -> None:
        """Turned away by all metadata nodes and never registered: key or addresses are wrong.  Once it served, in this
        process or before, it is metadata that changed, and this server waits for it to be mended, or to be rebuilt from
        what is held here."""
        if isinstance(error, Forbidden | WrongCluster):
            self._strangers.add(address)
        served = self._standing.number or self._standing.founding.known
        if not served and self._strangers.issuperset(self._given):
            self._refused(f"{error.message}; check --key-file and --meta")
