"""A namespace made anew from what chunk servers hold, for metadata that is lost altogether.

Two passes over the lists of all chunk servers, merged in the order of file ids, so that memory holds the names and a
few files, never all chunks.  The first finds which file has which name and the highest ids; the second records each
whole file with the new metadata, in bounded parts.  Then the chunk servers leave the lost cluster for the new one, and
their inventories tell which replicas are where.

Each step may be repeated, and so may the whole: what is recorded already is found, a server that came late adds what
was missing.  Nothing is ever deleted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from dfs.client.concurrency import gather, pause
from dfs.client.errors import DFSError, FileExists, Unavailable, WrongCluster
from dfs.client.recovery import Candidate, Finding, Histories, Names, Verdict, lost_name, shortage
from dfs.protocol.dial import connect
from dfs.protocol.errors import Advice, BadRequest, FileNotFound
from dfs.protocol.interfaces import IConnection, Identity
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.limits import MAX_RECOVERED
from dfs.protocol.messages import (
    AdoptCluster,
    BeginRebuild,
    DescribedReplica,
    Done,
    ListReplicas,
    Recovered,
    RecoverFile,
    ReplicaPage,
)
from dfs.protocol.values import FileId, Generation, Purpose, Role, cluster_id_of
from dfs.runtime.interfaces import Runtime

PAGE = 200
TOGETHER = 16
"""Files recorded at the same time."""

CALL_TIMEOUT = 30.0
LAST = b"\xff" * 12


@frozen
class Settings:
    """``patience`` in seconds for each question; ``allow_missing``: go on without servers that do not answer."""

    key: bytes
    meta: tuple[str, ...]
    chunk_servers: tuple[str, ...]
    dry_run: bool
    allow_missing: bool
    patience: float


@define
class Report:
    """The sum."""

    servers: list[str] = field(factory=list)
    absent: list[str] = field(factory=list)
    adopted: list[str] = field(factory=list)
    verdicts: Counter[Verdict] = field(factory=Counter)
    bytes: int = 0
    chunks: int = 0
    contradictions: int = 0
    unreadable: int = 0

    @property
    def exit_code(self) -> int:
        """0 all under their names; 1 something under lost+found or contradictory, or a server was not asked; 6 a file
        is not whole."""
        if self.verdicts[Verdict.INCOMPLETE] or self.verdicts[Verdict.REFUSED]:
            return 6
        doubtful = self.verdicts[Verdict.LOST_AND_FOUND] or self.contradictions or self.unreadable or self.absent
        return 1 if doubtful else 0


class Server:
    """One chunk server, by its address; asked again and connected to anew for as long as patience lasts."""

    def __init__(self, runtime: Runtime, identity: Identity, address: str, patience: float) -> None:
        self._runtime, self._identity, self._patience = runtime, identity, patience
        self.address = address
        self.name = address
        self.founding = b""
        self._connection: IConnection | None = None

    async def ask(self, request: object) -> object:
        """Raises the error of the answer, or Unavailable."""
        clock = self._runtime.reactor
        deadline = clock.seconds() + self._patience
        while True:
            try:
                if self._connection is None:
                    self._connection = await connect(
                        self._runtime, self.address, self._identity, Purpose.CONTROL, timeout=min(5.0, self._patience)
                    )
                return await self._connection.call(request, CALL_TIMEOUT)
            except DFSError as error:
                self.close()
                if error.advice is Advice.FAIL or clock.seconds() >= deadline:
                    raise
            await pause(clock, 0.2)

    async def page(self, after: bytes) -> ReplicaPage:
        """What it holds above a position."""
        page = await self.ask(ListReplicas(after, PAGE))
        if not isinstance(page, ReplicaPage) or page.upto <= after:
            raise BadRequest(f"{self.address} does not list its replicas: is it a chunk server?")
        self.name, self.founding = page.node, page.founding
        return page

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Cursor:
    """Where the merge is in one server's list."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._after = bytes(12)
        self.rows: list[DescribedReplica] = []
        self.unreadable = 0

    async def fill(self) -> bool:
        """Have a row at hand; False at the end."""
        while not self.rows and self._after != LAST:
            page = await self._server.page(self._after)
            self._after = page.upto
            self.unreadable += page.unreadable
            self.rows = list(reversed(page.replicas))
        return bool(self.rows)

    @property
    def position(self) -> tuple[int, int]:
        return self.rows[-1].held.file_id, self.rows[-1].held.index

    def take(self, position: tuple[int, int]) -> list[DescribedReplica]:
        """The rows of a chunk: a page never ends within one."""
        found = []
        while self.rows and self.position == position:
            found.append(self.rows.pop())
        return found


class Rebuild:
    """:param show: told of each file as its turn comes."""

    def __init__(self, runtime: Runtime, settings: Settings, show: Callable[[Finding], None]) -> None:
        self._runtime, self._settings, self._show = runtime, settings, show
        cluster = cluster_id_of(settings.key)
        self._identity = Identity(
            Role.META, f"rebuild-{runtime.entropy(4).hex()}", cluster, runtime.entropy(16), settings.key
        )
        self._servers: list[Server] = []
        self._highest = (FileId(0), Generation(0))
        self.report = Report()

    async def run(self) -> Report:
        """All of it; Report.  Raises DFSError before anything was changed where the cluster is not fit for it."""
        founding = b"" if self._settings.dry_run else await self._new_founding()
        metadata = LeaderCaller(self._runtime, self._identity, self._settings.meta)
        try:
            await self._reach_servers(founding)
            names = Names()
            async for candidate in self._candidates(counting=True):
                names.note(candidate)
            if not self._settings.dry_run and self._highest[0]:
                await self._tell(metadata, BeginRebuild(*self._highest))
            await self._recover_all(metadata, names)
            if not self._settings.dry_run:
                await self._adopt_all(founding)
        except Exception:
            await self._close(metadata)
            raise
        await self._close(metadata)  # not in a finally: one that is dropped with its program awaits nothing
        return self.report

    async def _close(self, metadata: LeaderCaller) -> None:
        for server in self._servers:
            server.close()
        await metadata.stop()

    # ---- who is there

    async def _new_founding(self) -> bytes:
        """Of the new metadata: all of its nodes that answer must name the same.  Raises Unavailable, WrongCluster."""
        found: dict[bytes, str] = {}
        clock = self._runtime.reactor
        deadline = clock.seconds() + self._settings.patience
        why: DFSError | None = None
        while not found:
            for address in self._settings.meta:
                try:
                    connection = await connect(self._runtime, address, self._identity, Purpose.CONTROL)
                except DFSError as error:
                    why = error
                    continue
                if any(connection.peer.founding):
                    found[connection.peer.founding] = address
                connection.close()
            if not found:
                if clock.seconds() >= deadline:
                    raise Unavailable(
                        f"no metadata node tells that it was founded: {why or 'there is no leader yet'}",
                        "start the new metadata nodes with empty folders and the cluster's own key, then try again",
                    )
                await pause(clock, 0.5)
        if len(found) > 1:
            raise WrongCluster(f"{' and '.join(found.values())} belong to different clusters of this key")
        return next(iter(found))

    async def _reach_servers(self, founding: bytes) -> None:
        """Raises Unavailable where one does not answer and all are wanted, WrongCluster where they do not belong
        together."""
        for address in self._settings.chunk_servers:
            server = Server(self._runtime, self._identity, address, self._settings.patience)
            try:
                await server.page(bytes(12))
            except DFSError as error:
                if error.advice is Advice.FAIL or not self._settings.allow_missing:
                    raise Unavailable(
                        f"the chunk server at {address} does not answer: {error.message}",
                        "start it, or go on without it (--allow-missing) and run the command again when it is back",
                    ) from error
                self.report.absent.append(address)
                continue
            self._servers.append(server)
        self.report.servers = [server.name for server in self._servers]
        if not self._servers:
            raise Unavailable("no chunk server answers", "name them with --chunk-servers")
        former = {server.founding for server in self._servers} - {b"", founding}
        if len(former) > 1:
            told = ", ".join(f"{server.name} of {server.founding.hex() or 'none'}" for server in self._servers)
            raise WrongCluster(f"the chunk servers belong to different clusters of this key ({told})")

    # ---- what they hold

    async def _candidates(self, counting: bool = False) -> AsyncIterator[Candidate]:
        """Every file, in the order of ids."""
        histories, current = None, FileId(0)
        async for file_id, index, replicas in self._merged(counting):
            if histories is not None and file_id != current:
                for candidate in histories.finish():
                    yield candidate
                histories = None
            if histories is None:
                histories, current = Histories(file_id), file_id
            histories.add(index, replicas)
            if counting:
                highest = max(replica.held.generation for replica in replicas)
                self._highest = (max(file_id, self._highest[0]), max(highest, self._highest[1]))
        if histories is not None:
            for candidate in histories.finish():
                yield candidate

    async def _merged(self, counting: bool) -> AsyncIterator[tuple[FileId, int, list[DescribedReplica]]]:
        """Every chunk with its replicas at all servers."""
        cursors = [_Cursor(server) for server in self._servers]
        left = list(cursors)
        while True:
            filled = await gather(self._runtime.reactor, (cursor.fill() for cursor in left))
            left = [cursor for cursor, more in zip(left, filled, strict=True) if more]
            if not left:
                break
            while all(cursor.rows for cursor in left):
                position = min(cursor.position for cursor in left)
                replicas = [replica for cursor in left for replica in cursor.take(position)]
                yield FileId(position[0]), position[1], replicas
        if counting:
            self.report.unreadable = sum(cursor.unreadable for cursor in cursors)

    # ---- what is recorded

    async def _recover_all(self, metadata: LeaderCaller, names: Names) -> None:
        batch: list[Candidate] = []
        async for candidate in self._candidates():
            batch.append(candidate)
            if len(batch) == TOGETHER:
                await self._recover_some(metadata, names, batch)
                batch = []
        await self._recover_some(metadata, names, batch)

    async def _recover_some(self, metadata: LeaderCaller, names: Names, batch: Sequence[Candidate]) -> None:
        work = (self._recover(metadata, names, candidate) for candidate in batch)
        for finding, candidate in zip(await gather(self._runtime.reactor, work), batch, strict=True):
            self.report.verdicts[finding.verdict] += 1
            self.report.contradictions += len(finding.contradictions)
            if finding.verdict not in (Verdict.INCOMPLETE, Verdict.REFUSED):
                self.report.bytes += candidate.size
                self.report.chunks += len(candidate.chunks)
            self._show(finding)

    async def _recover(self, metadata: LeaderCaller, names: Names, candidate: Candidate) -> Finding:
        """Record one file, under its own name or apart."""
        file_id, told = candidate.file_id, candidate.contradictions
        if not candidate.whole:
            own = candidate.name or lost_name(candidate)
            return Finding(Verdict.INCOMPLETE, file_id, own, candidate.size, shortage(candidate), told)
        if candidate.rival:
            own = candidate.name or lost_name(candidate)
            sentence = f"{candidate.rival!r}, of another history of the metadata, has the same file id: kept, not named"
            return Finding(Verdict.REFUSED, file_id, own, candidate.size, sentence, told)
        name, why = names.name_of(candidate)
        new = True
        try:
            if not self._settings.dry_run:
                try:
                    new = await self._record(metadata, candidate, name)
                except FileExists as error:
                    if why:
                        raise
                    name, why = lost_name(candidate), error.message
                    new = await self._record(metadata, candidate, name)
        except (FileExists, FileNotFound, BadRequest) as error:
            return Finding(Verdict.REFUSED, file_id, name, candidate.size, error.message, told)
        verdict = Verdict.LOST_AND_FOUND if why else Verdict.RECOVERED if new else Verdict.KNOWN
        return Finding(verdict, file_id, name, candidate.size, why, told)

    async def _record(self, metadata: LeaderCaller, candidate: Candidate, name: str) -> bool:
        """In parts; whether any of it was new.  Raises FileExists where the name is another's."""
        new = False
        count = len(candidate.chunks)
        for first in range(0, count, MAX_RECOVERED):
            part = RecoverFile(
                candidate.file_id,
                name,
                candidate.size,
                candidate.chunk_size,
                candidate.replication,
                count,
                candidate.digest,
                candidate.created_ms,
                first,
                candidate.chunks[first : first + MAX_RECOVERED],
            )
            answer = await self._tell(metadata, part)
            new = new or (isinstance(answer, Recovered) and answer.new)
        return new

    def _tell(self, metadata: LeaderCaller, request: object) -> Deferred[object]:
        return metadata.call(request, patience=self._settings.patience)

    # ---- the new cluster

    async def _adopt_all(self, founding: bytes) -> None:
        """Have each server leave the lost cluster; those that did already, or never belonged to one, stay."""
        for server in self._servers:
            if server.founding in (b"", founding):
                continue
            if not isinstance(await server.ask(AdoptCluster(server.founding, founding)), Done):
                raise BadRequest(f"{server.name} does not leave its cluster")
            self.report.adopted.append(server.name)
