"""A cluster made by hand at the client's two seams: whom it asks (the leader), and whom it streams to (chunk servers).

Everything that happens is appended to one list, ``events``; faults are scripted by kind of request or by node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred, fail, succeed

from dfs.client.api import Client
from dfs.client.context import Context
from dfs.client.reporting import Reports
from dfs.client.session import Session
from dfs.client.test.fake_batches import commit_files, create_uploads, open_files
from dfs.client.test.fake_servers import FakePool, FakeServer, FakeStream
from dfs.protocol import messages as m
from dfs.protocol.errors import Cancelled, DFSError, Disconnected, FileExists, FileNotFound, UploadGone
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.pool import BulkPool
from dfs.protocol.values import (
    FileId,
    Generation,
    Grant,
    GrantKind,
    NodeNumber,
    NodeState,
    Target,
    chunk_id,
    file_digest,
)
from dfs.simulation.host import SimulatedHost, World

T = TypeVar("T")

CLUSTER = bytes(range(16))
CHUNK = 64 << 10
STATE = "/state"


@define
class Stored:
    """A committed chunk and the servers that have it."""

    committed: m.CommittedChunk
    nodes: list[str]


@define
class FakeUpload:
    """A file in the making, or made."""

    request: m.CreateUpload
    epoch: int = 1
    generations: dict[int, int] = Factory(dict)
    chunks: dict[int, Stored] = Factory(dict)
    info: m.FileInfo | None = None


class FakeMetadata:
    """A leader that answers at once.

    :ivar faults: errors that the next requests of a kind get instead of being executed.
    :ivar part_faults: the same for the parts of a CreateUploads, by name.
    :ivar finishes: the commit of a small file's chunk commits the file.
    :ivar lost: kinds whose next request is executed, and answered with Disconnected.
    :ivar silent: kinds that are never answered.
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = CLUSTER
        self.files: dict[int, FakeUpload] = {}
        self.faults: dict[type, list[DFSError]] = {}
        self.part_faults: dict[str, list[DFSError]] = {}
        self.lost: list[type] = []
        self.finishes = True
        self.silent: set[type] = set()
        self.asked: list[Any] = []
        self.stopped = False
        self.states: dict[str, NodeState] = {}
        self.between_pages: Callable[[], None] = lambda: None
        self._cluster = cluster
        self._generation = 0
        self.evidence = 0  # of grants; 0: metadata of before labels

    # ---- LeaderCaller

    def call(self, request: object, timeout: float = 5.0, patience: float = 30.0) -> Deferred[object]:
        kind = type(request)
        self.asked.append(request)
        self._cluster.events.append(kind.__name__)
        if kind in self.silent:
            return Deferred(lambda waiting: waiting.errback(Cancelled("the caller gave up")))
        if self.faults.get(kind):
            return fail(self.faults[kind].pop(0))
        try:
            answer = getattr(self, f"_{kind.__name__}")(request)
        except DFSError as error:
            return fail(error)
        if kind in self.lost:
            self.lost.remove(kind)
            return fail(Disconnected("the answer was lost"))
        return succeed(answer)

    def cluster_time_ms(self) -> int:
        return 1000

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)

    # ---- requests

    def of(self, kind: type[T]) -> list[T]:
        """What was asked of a kind."""
        return [request for request in self.asked if isinstance(request, kind)]

    def file(self, name: str) -> FakeUpload:
        """The committed file of a name.  Raises FileNotFound."""
        for file in self.files.values():
            if file.info is not None and file.info.name == name:
                return file
        raise FileNotFound(f"there is no file named {name!r}")

    def commit(self, file_id: int, chunk: m.CommittedChunk, nodes: list[str]) -> None:
        """A primary's word that a chunk is durable there."""
        self.files[file_id].chunks[chunk.index] = Stored(chunk, nodes)

    def _upload(self, file_id: int) -> FakeUpload:
        if file_id not in self.files or self.files[file_id].info is not None:
            raise UploadGone("the upload is gone")
        return self.files[file_id]

    def _GetStatus(self, request: m.GetStatus) -> m.Status:
        return m.Status(CLUSTER, "meta-1", "leader", "meta-1", 1, 1, b"", (), (), 0, 0, 0, 0, 0, ())

    def _CreateUpload(self, request: m.CreateUpload) -> m.UploadGranted:
        if any(file.info is not None and file.info.name == request.name for file in self.files.values()):
            raise FileExists(f"{request.name!r} exists already")
        file_id = len(self.files) + 1
        self.files[file_id] = FakeUpload(request)
        return self._granted(file_id, request.count)

    def _CreateUploads(self, request: m.CreateUploads) -> m.UploadsGranted:
        return create_uploads(self, request)

    def _CommitFiles(self, request: m.CommitFiles) -> m.FilesCommitted:
        return commit_files(self, request)

    def _OpenFiles(self, request: m.OpenFiles) -> m.FilesOpened:
        return open_files(self, request)

    def _ResumeUpload(self, request: m.ResumeUpload) -> m.UploadGranted:
        self._upload(request.file_id).epoch += 1
        return self._granted(request.file_id, request.count)

    def _granted(self, file_id: int, count: int) -> m.UploadGranted:
        file = self.files[file_id]
        asked = file.request
        placements = tuple(self._placement(file_id, index) for index in range(count))
        return m.UploadGranted(
            FileId(file_id), file.epoch, 60_000, asked.chunk_size, asked.replication, asked.size, False, placements
        )

    def _placement(self, file_id: int, index: int, avoid: tuple[str, ...] = ()) -> m.Placement:
        file = self.files[file_id]
        if index in file.chunks:
            committed = file.chunks[index].committed
            return m.Placement(index, committed.generation, (), 2, None, committed)
        self._generation += 1
        file.generations[index] = self._generation
        generation = Generation(self._generation)
        names = [name for name in self._cluster.servers if name not in avoid] or list(self._cluster.servers)
        targets = tuple(
            Target(NodeNumber(at), name, f"{name}:1") for at, name in enumerate(names[: file.request.replication])
        )
        grant = Grant(GrantKind.PUT, FileId(file_id), index, generation, 10**12, self.evidence, bytes(32))
        return m.Placement(index, generation, targets, 2, grant, None)

    def _AllocateChunks(self, request: m.AllocateChunks) -> m.Placements:
        indexes = range(request.first_index, request.first_index + request.count)
        return m.Placements(tuple(self._placement(request.file_id, index) for index in indexes))

    def _ReplaceChunk(self, request: m.ReplaceChunk) -> m.Placements:
        self._upload(request.file_id)
        return m.Placements((self._placement(request.file_id, request.index, request.avoid),))

    def _RenewLease(self, request: m.RenewLease) -> m.Lease:
        self._upload(request.file_id)
        return m.Lease(60_000)

    def _AbortUpload(self, request: m.AbortUpload) -> m.Done:
        self.files.pop(request.file_id, None)
        return m.Done()

    def _CommitFile(self, request: m.CommitFile) -> m.FileInfo:
        done = self.files[request.file_id].info if request.file_id in self.files else None
        if done is not None and done.digest == request.digest:
            return done
        file = self._upload(request.file_id)
        hashes = b"".join(file.chunks[index].committed.sha256 for index in range(request.count))
        assert file_digest(hashes) == request.digest
        assert sum(stored.committed.length for stored in file.chunks.values()) == request.size
        asked = file.request
        file.info = m.FileInfo(
            asked.name,
            request.file_id,
            request.size,
            request.digest,
            asked.replication,
            asked.chunk_size,
            request.count,
            1_700_000_000_000,
        )
        return file.info

    def _DeleteFile(self, request: m.DeleteFile) -> m.FileInfo:
        info = self._GetFile(m.GetFile(request.name, request.file_id))
        del self.files[info.file_id]
        return info

    def _GetFile(self, request: m.GetFile) -> m.FileInfo:
        if request.name is not None:
            found = self.file(request.name).info
        else:
            file = self.files.get(request.file_id or 0)
            found = file.info if file is not None else None
        if found is None:
            raise FileNotFound("there is no such file")
        return found

    def _ListChunks(self, request: m.ListChunks) -> m.ChunkPage:
        if request.file_id not in self.files:
            raise FileNotFound("there is no such file")
        file = self.files[request.file_id]
        indexes = sorted(index for index in file.chunks if index >= request.first_index)
        found = [self._chunk_info(request.file_id, file.chunks[index]) for index in indexes[: request.limit]]
        following = indexes[request.limit] if len(indexes) > request.limit else None
        return m.ChunkPage(tuple(found), following)

    def _chunk_info(self, file_id: FileId, stored: Stored) -> m.ChunkInfo:
        chunk = stored.committed
        replicas = tuple(m.Replica(node, f"{node}:1", NodeState.ALIVE) for node in stored.nodes)
        return m.ChunkInfo(
            chunk.index,
            chunk_id(CLUSTER, file_id, chunk.index),
            chunk.generation,
            chunk.length,
            chunk.sha256,
            replicas,
        )

    def _ListFiles(self, request: m.ListFiles) -> m.FilePage:
        infos = [file.info for file in self.files.values() if file.info is not None]
        names = sorted(info.name for info in infos if info.name.startswith(request.prefix))
        left = [name for name in names if name.encode() > request.token]
        page = left[: request.limit]
        token = page[-1].encode() if len(left) > len(page) else b""
        return m.FilePage(tuple(next(info for info in infos if info.name == name) for name in page), token)

    def _Survey(self, request: m.Survey) -> m.SurveyPage:
        """Two rows a page, whatever is asked for; after each page ``between_pages`` is called."""
        after = tuple(int(part) for part in request.after.decode().split()) if request.after else (0, -1)
        rows = [
            (file_id, index)
            for file_id, file in sorted(self.files.items())
            if file.info is not None
            for index in sorted(file.chunks) or [0]
            if (file_id, index) > after
        ]
        page: dict[int, list[m.SurveyedChunk]] = {}
        for file_id, index in rows[:2]:
            chunks = page.setdefault(file_id, [])
            stored = self.files[file_id].chunks.get(index)
            if stored is not None:
                c = stored.committed
                numbers = tuple(int(node.rpartition("-")[2]) for node in stored.nodes)
                chunks.append(m.SurveyedChunk(c.index, c.generation, c.length, c.sha256, numbers))
        files = tuple(m.SurveyedFile(self._info(file_id), tuple(chunks)) for file_id, chunks in page.items())
        nodes = tuple(
            m.SurveyedNode(int(name.rpartition("-")[2]), name, f"{name}:1", self.states.get(name, NodeState.ALIVE), "")
            for name in self._cluster.servers
        )
        answer = m.SurveyPage(files, nodes, b"%d %d" % rows[1] if len(rows) > 2 else b"")
        self.between_pages()
        return answer

    def _info(self, file_id: int) -> m.FileInfo:
        info = self.files[file_id].info
        assert info is not None
        return info

    def _ReportCorrupt(self, request: m.ReportCorrupt) -> m.Done:
        return m.Done()


class FakeCluster:
    """Three chunk servers, a leader and a host for the client, on virtual time."""

    def __init__(self, seed: int = 1, servers: int = 3) -> None:
        self.world = World(seed)
        self.host: SimulatedHost = self.world.host("client")
        self.events: list[str] = []
        self.puts: list[m.PutChunk] = []
        self.streams: list[FakeStream] = []
        self.metadata = FakeMetadata(self)
        self.servers = {f"chunk-{n}": FakeServer(f"chunk-{n}", self) for n in range(1, servers + 1)}
        self.pool = FakePool(self)
        self.context = self.new_context()

    def new_context(self, **changes: Any) -> Context:
        """What a new process of the client has."""
        runtime = self.host.runtime
        caller = cast(LeaderCaller, self.metadata)
        session = Session(runtime.entropy, self.metadata.cluster_time_ms)
        reports = Reports(runtime.reactor, caller)
        context = Context(
            runtime, self.host.disk, caller, cast(BulkPool, self.pool), session, reports, STATE, 5.0, 2.0, 1.0
        )
        return evolve(context, **changes)

    @property
    def client(self) -> Client:
        return Client(self.context)

    def run(self, work: Coroutine[Deferred[Any], Any, T], timeout: float = 60.0) -> T:
        """Its result; whatever it raises."""
        return cast(T, self.world.run_until(Deferred.fromCoroutine(work), timeout))

    def write_file(self, path: str, data: bytes) -> None:
        """A file of the client's machine."""
        file = self.host.disk.open(path, True)
        file.truncate(0)
        file.pwrite([data], 0)
        file.sync()
        file.close()

    def read_file(self, path: str) -> bytes | None:
        """Its bytes now, None where it is missing."""
        if not self.host.disk.exists(path):
            return None
        file = self.host.disk.open(path, writable=False)
        return file.pread(file.size(), 0)

    def store(self, name: str, data: bytes, chunk_size: int = CHUNK) -> None:
        """A committed file."""

        async def pieces() -> Any:
            yield data

        self.run(self.client.upload(pieces(), name, chunk_size=chunk_size))
        self.events.clear()
        self.metadata.asked.clear()


def sample(length: int, seed: int = 0) -> bytes:
    """Bytes that differ everywhere."""
    found = bytearray()
    block = hashlib.sha256(seed.to_bytes(4, "big")).digest()
    while len(found) < length:
        found += block
        block = hashlib.sha256(block).digest()
    return bytes(found[:length])
