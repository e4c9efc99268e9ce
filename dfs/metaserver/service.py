"""What this node answers: one literal table from request to handler.

Who may ask what is the protocol's table; a peer that proved the cluster's key is a node, anybody else a client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from dfs.metaserver import commands
from dfs.metaserver.answers import Changed
from dfs.metaserver.any_reading import AnyReading
from dfs.metaserver.damages import Damages, check_speaker
from dfs.metaserver.explaining import Explaining
from dfs.metaserver.files_reading import FilesReading
from dfs.metaserver.heartbeats import Heartbeats, check_identity
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.membership import Membership
from dfs.metaserver.operating import Operating
from dfs.metaserver.quarantines import Quarantines
from dfs.metaserver.raft_transport import RaftTransport
from dfs.metaserver.registration import Registration
from dfs.metaserver.seams import Seams
from dfs.metaserver.status import StatusView
from dfs.metaserver.translating import not_leader, translate
from dfs.metaserver.uploading import Uploading
from dfs.metaserver.uploading_together import UploadingTogether
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest, Forbidden, Unavailable, UnknownRequest
from dfs.protocol.interfaces import IBlockSink, IConnection, IIncomingStream, IOutgoingStream, IService
from dfs.protocol.messages import (
    CommitOutcomes,
    Done,
    HeartbeatAnswer,
    InventoryDiffers,
    InventoryTaken,
    QuarantineJudged,
    Registered,
)
from dfs.raft.errors import RaftError
from dfs.raft.interfaces import IRaft

_log = Logger()

Handler = Callable[[IConnection, Any], Awaitable[object]]


@implementer(IService)
class MetaService:
    """The leadership of this node comes and goes; Raft knows who has it."""

    def __init__(self, seams: Seams, transport: RaftTransport, status: StatusView, raft: IRaft) -> None:
        self.seams = seams
        self._transport, self._status, self._raft = transport, status, raft
        self.term: LeaderTerm | None = None
        self._registration: Registration | None = None
        self._heartbeats: Heartbeats | None = None
        uploading, together = Uploading(seams, self.leading), UploadingTogether(seams, self.leading)
        explaining = Explaining(seams, self.leading)
        reading = FilesReading(seams, self.leading)
        membership, anywhere = Membership(seams, raft), AnyReading(seams, lambda: self.term)
        operating = Operating(seams, self.leading)
        self._damages = Damages(seams)
        self._quarantines = Quarantines(seams)
        self.handlers: dict[type[Any], Handler] = {
            m.CreateUpload: lambda _, request: uploading.create(request),
            m.CreateUploads: lambda _, request: together.create(request),
            m.CommitFiles: lambda _, request: together.commit(request),
            m.FinishUploads: lambda _, request: together.finish(request),
            m.OpenFiles: lambda _, request: together.open(request),
            m.ResumeUpload: lambda _, request: uploading.resume(request),
            m.AllocateChunks: lambda _, request: uploading.allocate(request),
            m.ReplaceChunk: lambda _, request: uploading.replace(request),
            m.RenewLease: lambda _, request: uploading.renew(request),
            m.CommitFile: lambda _, request: uploading.commit(request),
            m.AbortUpload: lambda _, request: uploading.abort(request),
            m.DeleteFile: lambda _, request: uploading.delete(request),
            m.GetFile: lambda _, request: reading.get_file(request),
            m.ListChunks: lambda _, request: reading.list_chunks(request),
            m.ListFiles: lambda _, request: reading.list_files(request),
            m.GetFileAt: lambda _, request: anywhere.get_file(request),
            m.ListChunksAt: lambda _, request: anywhere.list_chunks(request),
            m.ListFilesAt: lambda _, request: anywhere.list_files(request),
            m.Survey: lambda _, request: reading.survey(request),
            m.Explain: lambda _, request: explaining.explain(request),
            m.ReportCorrupt: lambda _, request: reading.report_corrupt(request),
            m.GetStatus: lambda _, request: status.status(),
            m.GetMembers: lambda _, request: membership.members(request),
            m.ChangeMember: lambda _, request: membership.change(request),
            m.TransferLeadership: lambda _, request: membership.transfer(request),
            m.ListNodes: lambda _, request: operating.list_nodes(request),
            m.ChangeNode: lambda _, request: operating.change_node(request),
            m.Rebalance: lambda _, request: operating.rebalance(request),
            m.GetRedundancy: lambda _, request: operating.redundancy(request),
            m.ListEvents: lambda _, request: operating.list_events(request),
            m.Register: self._register,
            m.Heartbeat: self._heartbeat,
            m.Inventory: self._inventory,
            m.CompareInventory: self._compare_inventory,
            m.CommitChunks: self._commit_chunks,
            m.AddReplicas: self._add_replicas,
            m.BeginRebuild: self._begin_rebuild,
            m.RecoverFile: self._recover_file,
            m.GetCheckpoints: lambda _, request: self._status.checkpoints(),
            m.ReportDamage: self._damage,
            m.ReportHealth: self._health,
            m.JudgeQuarantined: self._judge_quarantined,
        }

    # ---- leadership

    def leads(self, term: LeaderTerm) -> None:
        """A leadership begins."""
        self.term = term
        self._registration = Registration(self.seams, term)
        self._heartbeats = Heartbeats(self.seams, term)

    def ceased(self) -> None:
        """It ended."""
        self.term = self._registration = self._heartbeats = None

    def leading(self) -> LeaderTerm:
        """The present leadership.  Raises NotLeader with a hint, Unavailable while it still loads."""
        if self.term is None:
            leader = self._raft.status().leader
            raise not_leader(leader if leader != self.seams.config.node else None, self.seams.members)
        if not self.term.loaded:
            raise Unavailable("the new leader is getting ready", hint="ask again")
        return self.term

    # ---- chunk servers

    async def _register(self, connection: IConnection, request: m.Register) -> Registered:
        self.leading()
        assert self._registration is not None
        return await self._registration.register(connection.peer, request)

    async def _heartbeat(self, connection: IConnection, beat: m.Heartbeat) -> HeartbeatAnswer:
        if self.term is not None and self.term.loaded and self._heartbeats is not None:
            return await self._heartbeats.beat(connection.peer, beat)
        check_identity(self.seams, connection.peer, beat)
        self.seams.roster.beat(beat, self.seams.seconds())
        return HeartbeatAnswer(
            leads=False, term=0, cluster_time_ms=self._status.cluster_time_ms, register=False, inventory=False, jobs=()
        )

    async def _inventory(self, connection: IConnection, page: m.Inventory) -> InventoryTaken:
        term = self.leading()
        entry = self.seams.roster.entry(page.node)
        if entry is None or not entry.record.incarnation == page.incarnation == connection.peer.incarnation:
            raise Forbidden(f"{connection.peer.name} speaks for another node's folder")
        term.liveness.spoke(page.node, self.seams.seconds())
        return await term.inventorying.taken(page)

    async def _damage(self, connection: IConnection, report: m.ReportDamage) -> Done:
        term = self.leading()
        check_speaker(self.seams, connection.peer, report.node, report.incarnation)
        return await self._damages.damage(term, report)

    async def _judge_quarantined(self, connection: IConnection, request: m.JudgeQuarantined) -> QuarantineJudged:
        term = self.leading()
        check_speaker(self.seams, connection.peer, request.node, request.incarnation)
        return await self._quarantines.judge(term, request)

    async def _health(self, connection: IConnection, report: m.ReportHealth) -> Done:
        check_speaker(self.seams, connection.peer, report.node, report.incarnation)
        return self._damages.health(self.term, report)

    async def _compare_inventory(self, connection: IConnection, request: m.CompareInventory) -> InventoryDiffers:
        term = self.leading()
        entry = self.seams.roster.entry(request.node)
        if entry is None or not entry.record.incarnation == request.incarnation == connection.peer.incarnation:
            raise Forbidden(f"{connection.peer.name} speaks for another node's folder")
        term.liveness.spoke(request.node, self.seams.seconds())
        return await term.inventorying.compared(request)

    async def _commit_chunks(self, _: IConnection, request: m.CommitChunks) -> CommitOutcomes:
        self.leading()
        return await self.seams.proposer.propose(commands.CommitChunks(request.commits), CommitOutcomes)

    async def _add_replicas(self, _: IConnection, request: m.AddReplicas) -> Done:
        self.leading()
        await self.seams.proposer.propose(commands.AddReplicas(request.replicas), Changed)
        return Done()

    async def _begin_rebuild(self, _: IConnection, request: m.BeginRebuild) -> Done:
        self.leading()
        await self.seams.proposer.propose(request, Changed)
        return Done()

    async def _recover_file(self, _: IConnection, request: m.RecoverFile) -> m.Recovered:
        term = self.leading()
        changed: Changed | None = None
        try:
            changed = await self.seams.proposer.propose(request, Changed)
        finally:
            if changed is None or changed.count:  # one that is not waited for may be recorded all the same
                term.inventorying.recovered()
        return m.Recovered(changed.count > 0)

    # ---- IService

    def connected(self, connection: IConnection) -> None:
        """See IService."""

    def disconnected(self, connection: IConnection) -> None:
        """See IService."""
        self._transport.disconnected(connection)

    def handle(self, connection: IConnection, request: object) -> Deferred[object]:
        """See IService."""
        handler = self.handlers.get(type(request))
        if handler is None:
            raise UnknownRequest(f"a metadata server does not serve {type(request).__name__}")
        return Deferred.fromCoroutine(self._answer(handler, connection, request))

    async def _answer(self, handler: Handler, connection: IConnection, request: object) -> object:
        try:
            return await handler(connection, request)
        except RaftError as error:
            raise translate(error, self.seams.members) from error

    def put_opened(
        self, connection: IConnection, request: object, stream: IIncomingStream
    ) -> tuple[IBlockSink, Deferred[object]]:
        """See IService: file bytes never come here."""
        self._refuse_bytes()

    def get_opened(self, connection: IConnection, request: object, stream: IOutgoingStream) -> Deferred[object]:
        """See IService: file bytes never come from here."""
        self._refuse_bytes()

    def _refuse_bytes(self) -> NoReturn:
        raise BadRequest("a metadata server holds no chunks")

    def message_received(self, connection: IConnection, payload: bytes) -> None:
        """See IService."""
        if not self._transport.message_received(connection, payload):
            _log.warn("a message of {name} is not for us: closed", name=connection.peer.name)
            connection.close()
