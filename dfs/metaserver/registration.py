"""A chunk server introduces itself, on every new connection; only what is new becomes a command.

One folder run twice is refused as soon as it can be told (S19).  A process that names another address waits while the
folder's process at the recorded one was heard lately: a node that moved is let in when that one is silent; if it beats
once more, both live, and the newcomer is a clone that must stop.  A beat of a process that another one followed shows
two at once.

A folder whose numbers are below what was recorded of it was put back from an older copy: replicas are recorded that
it does not hold, and no inventory of its could ever strike them off (S06).  It is not let in, and so its records count
as dead.  A living process may seem so for a moment, while an add is open below those that were recorded.
"""

from __future__ import annotations

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries, tables
from dfs.metaserver.answers import NodeRegistered
from dfs.metaserver.commands import RegisterNode
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.records import NodeRecord, Standing, number_codec
from dfs.metaserver.seams import Seams
from dfs.protocol.errors import Forbidden, Unavailable
from dfs.protocol.interfaces import PeerInfo
from dfs.protocol.limits import MAX_CHUNK_SERVERS
from dfs.protocol.messages import Register, Registered
from dfs.protocol.values import NodeNumber, NodeState


@frozen
class _Claim:
    """A process that wants to be the node in place of the one at the recorded address; ``since`` in seconds."""

    boot: bytes
    since: float


@frozen
class _Known:
    number: int
    record: NodeRecord


def _known(store: IKeyValueStore, incarnation: bytes) -> _Known | None:
    raw = store.get(tables.incarnation_key(incarnation))
    if raw is None:
        return None
    number = number_codec.decode(raw).number
    record = queries.node(store, number)
    return None if record is None else _Known(number, record)


class Registration:
    """For one leadership: remembers which process of each folder registered last."""

    def __init__(self, seams: Seams, term: LeaderTerm) -> None:
        self._seams, self._term = seams, term
        self._boots: dict[int, bytes] = {}
        self._waiting: dict[int, _Claim] = {}

    async def register(self, peer: PeerInfo, request: Register) -> Registered:
        """See Register.  Raises Forbidden, Unavailable."""
        if (peer.name, peer.incarnation) != (request.name, request.incarnation):
            raise Forbidden("a node registers under the name and folder that it named in Hello")
        known = await self._seams.reader.look(_known, request.incarnation)
        self._term.check()
        if known is not None:
            self._refuse_clone(known, request)
            self._refuse_put_back(known, request)
        number = known.number if known is not None else 0
        if known is None or not _is_recorded(known.record, request):
            number = await self._record(request)
        self._registered(number, request)
        config = self._seams.config
        return Registered(
            NodeNumber(number), int(config.heartbeat_interval * 1000), self._term.now_ms(), inventory=False
        )

    def _refuse_clone(self, known: _Known, request: Register) -> None:
        """Raises Unavailable while it may have moved, Forbidden once it is proven to be a second process."""
        number = known.number
        moved = request.address != known.record.address
        is_same_process = self._boots.get(number) == request.boot
        if not moved or is_same_process or self._term.state(number) is not NodeState.ALIVE:
            return
        claim = self._waiting.get(number)
        if claim is None or claim.boot != request.boot:
            claim = self._waiting[number] = _Claim(request.boot, self._seams.seconds())
        sentence = (
            f"the folder of {request.name} is in use at {known.record.address} and was started at "
            f"{request.address} as well"
        )
        entry = self._seams.roster.entry(number)
        if entry is None or entry.heard is None or entry.heard <= claim.since:
            raise Unavailable(sentence, hint="a node that moved is let in once the former process is silent")
        self._seams.alarms.set(f"clone {number}", sentence)
        raise Forbidden(sentence, hint="stop one of the two, and give each node a folder of its own")

    def _refuse_put_back(self, known: _Known, request: Register) -> None:
        """Raises Unavailable."""
        highest, key = known.record.highest, f"put back {known.number}"
        if request.number >= highest:
            self._seams.alarms.clear(key)
            return
        sentence = (
            f"the folder of {request.name} counts to {request.number}, but number {highest} was recorded of it: "
            "it was put back from an older copy"
        )
        self._seams.alarms.set(key, sentence)
        raise Unavailable(sentence, hint="start it with an empty folder and keep this one; the cluster copies anew")

    async def _record(self, request: Register) -> int:
        if len(self._seams.roster.numbers()) >= MAX_CHUNK_SERVERS:
            raise Forbidden(f"there are {MAX_CHUNK_SERVERS} chunk servers already")
        command = RegisterNode(request.name, request.incarnation, request.address, request.rack)
        registered = await self._seams.proposer.propose(command, NodeRegistered)
        record = await self._seams.reader.look(queries.node, registered.node)
        self._term.check()
        assert record is not None  # the command was applied here
        self._seams.roster.recorded(registered.node, record)
        return registered.node

    def _registered(self, number: int, request: Register) -> None:
        now = self._seams.seconds()
        is_new_process = self._boots.get(number) != request.boot
        self._boots[number] = request.boot
        self._waiting.pop(number, None)
        self._term.liveness.registered(number, request.boot, now)
        self._seams.roster.registered(number, request.total, request.free, now)
        self._seams.alarms.clear(f"clone {number}")
        self._term.inventorying.registered(number, is_new_process)
        self._term.judging.changed(number)


def _is_recorded(record: NodeRecord, request: Register) -> bool:
    """Whether the tables say all that the registration says."""
    same = (record.name, record.address, record.rack) == (request.name, request.address, request.rack)
    return same and record.standing != Standing.DEAD
