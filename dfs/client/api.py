"""The Python API: ``async with connect(meta, reactor) as fs:``.

::

    async with connect("127.0.0.1:7001,127.0.0.1:7002", reactor) as fs:
        await fs.upload("data.csv", "reports/data.csv")
        async for info in fs.list("reports/"):
            print(info.name, info.size)
        file = await fs.open("reports/data.csv")
        head = await file.read(0, 100)

Everything is a coroutine on Twisted's reactor; :mod:`dfs.client.blocking` serves
scripts and notebooks.  Errors are those of :mod:`dfs.client.errors`.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, BinaryIO

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredList

from dfs.client.checking import Finding
from dfs.client.chunklist import chunk_page, find_file
from dfs.client.concurrency import at_most
from dfs.client.context import Context
from dfs.client.download import DownloadResult, FileDownload, download_to_stream
from dfs.client.errors import BadRequest
from dfs.client.fsck import Report, check_files
from dfs.client.granting import Wish
from dfs.client.membership import Membership
from dfs.client.names import check_name, check_parallel
from dfs.client.operating import Operator
from dfs.client.progress import Meter, Observer
from dfs.client.reading import RemoteFile
from dfs.client.reads import AnyMember
from dfs.client.reporting import Reports
from dfs.client.session import Session
from dfs.client.small import open_small, upload_small
from dfs.client.sources import ISource, from_file_object, from_iterator
from dfs.client.surveying import Part, parts
from dfs.client.trees import Trees
from dfs.client.upload import UploadResult, show_digest
from dfs.client.uploading import upload_path, upload_stream
from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.protocol.interfaces import Identity
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.limits import MAX_SMALL
from dfs.protocol.messages import (
    ChunkInfo,
    DeleteFile,
    Explain,
    Explanation,
    FileInfo,
    FilePage,
    GetFile,
    GetStatus,
    ListFiles,
    Status,
)
from dfs.protocol.pool import BulkPool
from dfs.protocol.values import CHUNK_SIZE, FileId, Role
from dfs.runtime.dial import parse_addresses
from dfs.runtime.interfaces import Runtime
from dfs.runtime.real import real_runtime

PAGE = 1000
CLOSING = 0.5  # seconds that the ends of connections are waited for


@frozen
class ClientOptions:
    """The times, in seconds, are those of :class:`dfs.client.context.Context`; ``state_folder`` "" takes DFS_STATE or
    ``$XDG_STATE_HOME/dfs``; with ``any_member`` reads of names and chunk lists go to any metadata member, not to the
    leader alone: as new as the leader's, and never going back."""

    patience: float = 30.0
    idle_timeout: float = 10.0
    hedge_after: float = 1.0
    state_folder: str = ""
    any_member: bool = False


def default_state_folder(environment: Any = None) -> str:
    """Where manifests are kept, an absolute path."""
    environment = os.environ if environment is None else environment
    if environment.get("DFS_STATE"):
        return os.path.abspath(str(environment["DFS_STATE"]))
    home = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.abspath(os.path.join(home, "dfs"))


class Client:
    """A connection to one cluster.  Use :func:`connect`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seconds = context.runtime.reactor.seconds

    async def __aenter__(self) -> Client:
        """Reach any metadata node; from it the cluster's id and time are learnt."""
        context = self._context
        try:
            await self.status()
        except Exception:
            await self.close()
            raise
        context.pool.identity = evolve(context.pool.identity, cluster=context.caller.cluster)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections.  A peer that does not take our farewell is not waited for."""
        context = self._context
        await context.reports.finish()
        ends: tuple[Deferred[None], ...] = (context.pool.stop(), context.caller.stop())
        await at_most(context.runtime.reactor, CLOSING, DeferredList(ends, consumeErrors=True))

    @property
    def membership(self) -> Membership:
        """Who belongs to the metadata cluster."""
        return Membership(self._context)

    # ---- writing ---------------------------------------------------------------------------

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes | BinaryIO | AsyncIterator[bytes],
        name: str,
        *,
        replication: int = 3,
        chunk_size: int = CHUNK_SIZE,
        parallel: int = 4,
        resume: bool = True,
        progress: Observer | None = None,
    ) -> UploadResult:
        """Store ``source`` under ``name``; when it returns the file is durable and visible.

        :param source: a path (which can be resumed), the bytes, a file object, or an async iterator of bytes.  Small
            files that are held in memory (bytes, BytesIO) travel together with others under way at the same time.
        :param parallel: chunks in flight at once.
        :param progress: called with :class:`dfs.client.progress.Progress` as bytes move.
        :raises FileExists: a file of this name is there.
        :raises LocalFileError: the source cannot be read, or changed while it was.
        :raises Unavailable: no progress for the patience given.
        """
        check_name(name)
        check_parallel(parallel)
        wish = Wish(name, chunk_size, replication, parallel, resume)
        if isinstance(source, str | os.PathLike):
            return await upload_path(self._context, os.path.abspath(os.fspath(source)), wish, progress)
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        if isinstance(source, io.BytesIO) and source.getbuffer().nbytes - source.tell() <= MAX_SMALL:
            return await upload_small(self._context, source.read(), wish, progress)
        if isinstance(source, AsyncIterator):
            stream = from_iterator(source, chunk_size)
        else:
            stream = from_file_object(source, self._context.runtime.threads, chunk_size)
        return await upload_stream(self._context, stream, wish, progress)

    async def delete(self, name: str | None = None, *, file_id: int | None = None) -> FileInfo:
        """Remove a file by its name or its id (an id also ends an upload in progress).  Raises FileNotFound."""
        if (name is None) == (file_id is None):
            raise BadRequest("name the file or give its id, not both", "use --name NAME or --id FILE_ID")
        if name is not None:
            check_name(name)
        number = None if file_id is None else FileId(file_id)
        return await self._context.mutate(
            lambda operation: DeleteFile(operation, name, number), FileInfo, repeatable=False
        )

    # ---- reading ---------------------------------------------------------------------------

    async def download(
        self,
        name: str,
        out: str | os.PathLike[str] | Callable[[bytearray], Awaitable[None]],
        *,
        parallel: int = 4,
        force: bool = False,
        progress: Observer | None = None,
    ) -> DownloadResult:
        """Fetch a file, verified, into a path or to a coroutine function that takes its bytes in order.

        A path gets its name when all is there and durable, not before.

        :param force: overwrite an existing file.
        :raises FileNotFound, OutputExists, LocalFileError, ChunkUnreadable, Unavailable:
        """
        check_name(name)
        check_parallel(parallel)
        began = self._seconds()
        info = await find_file(self._context, name)
        meter = Meter(self._seconds, info.size, progress)
        if isinstance(out, str | os.PathLike):
            path = os.path.abspath(os.fspath(out))
            await FileDownload(self._context, info, path, force, meter).run(parallel)
        else:
            path = "-"
            await download_to_stream(self._context, info, out, parallel, meter)
        return DownloadResult(info.name, info.size, show_digest(info.digest), self._seconds() - began, path)

    async def open(self, name: str, *, parallel: int = 4) -> RemoteFile:
        """A file for reading ranges.  Raises FileNotFound."""
        check_name(name)
        check_parallel(parallel)
        opened = await open_small(self._context, GetFile(name, None))
        assert opened.info is not None
        return RemoteFile(self._context, opened.info, parallel, opened.chunk)

    async def stat(self, name: str | None = None, *, file_id: int | None = None) -> FileInfo:
        """What is known of a file.  Raises FileNotFound."""
        if name is not None:
            check_name(name)
        return await self._context.read(GetFile(name, None if file_id is None else FileId(file_id)), FileInfo)

    async def chunks(self, info: FileInfo) -> AsyncIterator[ChunkInfo]:
        """A file's chunks in order, with where each replica is."""
        first = 0
        while first < info.count:
            for chunk in await chunk_page(self._context, info, first, PAGE):
                yield chunk
                first = chunk.index + 1

    async def list(self, prefix: str = "", limit: int | None = None) -> AsyncIterator[FileInfo]:
        """Files by prefix in byte order of their names, fetched by pages."""
        token = b""
        while limit is None or limit > 0:
            wanted = PAGE if limit is None else min(PAGE, limit)
            page = await self._context.read(ListFiles(prefix, token, wanted), FilePage)
            for info in page.files:
                yield info
            limit = None if limit is None else limit - len(page.files)
            token = page.token
            if not token:
                return

    async def explain(self, file_id: int, index: int) -> Explanation:
        """Why a chunk lies where it lies, and what the mover is at with it.  Raises FileNotFound."""
        return await self._context.ask(Explain(FileId(file_id), index), Explanation)

    async def status(self) -> Status:
        """What the metadata node that answers knows of the cluster."""
        return await self._context.ask(GetStatus(), Status)

    @property
    def trees(self) -> Trees:
        """Many files up or down with one call."""
        return Trees(self._context, self.list)

    # ---- looking after it ------------------------------------------------------------------

    @property
    def operator(self) -> Operator:
        """Nodes and their states, rebalancing, events."""
        return Operator(self._context)

    def survey(self, prefix: str = "") -> AsyncIterator[Part]:
        """Every file with where its chunks lie, in parts of bounded size: for whoever judges redundancy."""
        return parts(self._context, prefix)

    async def check(
        self,
        prefix: str,
        found: Callable[[Finding], None],
        *,
        deep: bool = False,
        repair: bool = False,
        parallel: int = 4,
    ) -> Report:
        """What is wrong with files; see :func:`dfs.client.fsck.check_files`."""
        check_parallel(parallel)
        return await check_files(self._context, prefix, found, deep=deep, repair=repair, parallel=parallel)


def connect(
    meta: str | Iterable[str],
    reactor: Any,
    *,
    runtime: Runtime | None = None,
    disk: IDisk | None = None,
    options: ClientOptions | None = None,
) -> Client:
    """A client, to be used with ``async with``.

    :param meta: the metadata nodes, ``host:port`` separated by commas, or several such strings.
    :param runtime: instead of ``reactor``'s own (the simulator gives one).
    :raises SettingError: an address is malformed.
    """
    text = meta if isinstance(meta, str) else ",".join(meta)
    addresses = [str(address) for address in parse_addresses(text)]
    if not addresses:
        raise BadRequest("no metadata node is named", "give --meta host:port[,...] or set DFS_META")
    return Client(make_context(addresses, runtime or real_runtime(reactor), disk or RealDisk(), options))


def make_context(addresses: Iterable[str], runtime: Runtime, disk: IDisk, options: ClientOptions | None) -> Context:
    """What one client's operations share.  Nothing is connected yet."""
    options = options or ClientOptions()
    identity = Identity(Role.CLIENT, f"client-{runtime.entropy(6).hex()}", b"", runtime.entropy(16), b"")
    caller = LeaderCaller(runtime, identity, tuple(addresses))
    return Context(
        runtime,
        disk,
        caller,
        BulkPool(runtime, identity, cluster_time=caller.cluster_time_ms),
        Session(runtime.entropy, caller.cluster_time_ms),
        Reports(runtime.reactor, caller),
        options.state_folder or default_state_folder(),
        options.patience,
        options.idle_timeout,
        options.hedge_after,
        AnyMember(caller) if options.any_member else None,
    )


__all__ = ["Client", "ClientOptions", "ISource", "check_name", "connect", "default_state_folder"]
