"""The same API for scripts and notebooks: plain calls, no reactor in sight.

::

    from dfs.client import blocking

    with blocking.connect("127.0.0.1:7001") as fs:
        fs.upload("data.csv", "reports/data.csv")
        print([info.name for info in fs.list("reports/")])
        head = fs.read("reports/data.csv", 0, 100)

The global reactor runs on a daemon thread of its own, started at the first
``connect``.  A program that runs the reactor itself uses :mod:`dfs.client.api`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread

from dfs.client import api
from dfs.client.download import DownloadResult
from dfs.client.upload import UploadResult
from dfs.protocol.messages import ChunkInfo, FileInfo
from dfs.runtime.clock import install_monotonic

T = TypeVar("T")

_starting = threading.Lock()


def _running_reactor() -> Any:
    """The global reactor, running on a thread of ours or of the program's."""
    from twisted.internet import reactor

    running: Any = reactor
    with _starting:
        if not running.running:
            install_monotonic(running)
            ready = threading.Event()
            running.callWhenRunning(ready.set)
            threading.Thread(
                target=running.run, kwargs={"installSignalHandlers": False}, name="dfs-reactor", daemon=True
            ).start()
            ready.wait()
    return running


async def _collect(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class BlockingClient:
    """:class:`dfs.client.api.Client` with calls that return when they are done.  Use :func:`connect`."""

    def __init__(self, reactor: Any, client: api.Client) -> None:
        self._reactor = reactor
        self._client = client

    def _run(self, begin: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
        """Begin on the reactor's thread and wait here; Ctrl-C gives it up there too."""
        if isInIOThread():
            raise RuntimeError("a blocking call on the reactor's thread would wait for itself: use dfs.client.api")
        outcome: SimpleQueue[T | Failure] = SimpleQueue()
        started: list[Deferred[None]] = []

        def start() -> None:
            started.append(Deferred.fromCoroutine(begin()).addBoth(outcome.put))

        self._reactor.callFromThread(start)
        try:
            result = outcome.get()
        except BaseException:
            self._reactor.callFromThread(lambda: started[0].cancel())
            raise
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def __enter__(self) -> BlockingClient:
        self._run(self._client.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._client.close)

    def upload(self, source: str | BinaryIO, name: str, **options: Any) -> UploadResult:
        """See :meth:`dfs.client.api.Client.upload`."""
        return self._run(lambda: self._client.upload(source, name, **options))

    def download(self, name: str, out: str, **options: Any) -> DownloadResult:
        """See :meth:`dfs.client.api.Client.download`."""
        return self._run(lambda: self._client.download(name, out, **options))

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """A range of a file."""

        async def read() -> bytes:
            return await (await self._client.open(name)).read(offset, length)

        return self._run(read)

    def list(self, prefix: str = "", limit: int | None = None) -> list[FileInfo]:
        """See :meth:`dfs.client.api.Client.list`."""
        return self._run(lambda: _collect(self._client.list(prefix, limit)))

    def stat(self, name: str) -> FileInfo:
        """See :meth:`dfs.client.api.Client.stat`."""
        return self._run(lambda: self._client.stat(name))

    def chunks(self, info: FileInfo) -> list[ChunkInfo]:  # type: ignore[valid-type]
        """See :meth:`dfs.client.api.Client.chunks`."""
        return self._run(lambda: _collect(self._client.chunks(info)))

    def delete(self, name: str) -> FileInfo:
        """See :meth:`dfs.client.api.Client.delete`."""
        return self._run(lambda: self._client.delete(name))


def connect(meta: str, **options: Any) -> BlockingClient:
    """A client, to be used with ``with``; ``options`` as for :func:`dfs.client.api.connect`."""
    reactor = _running_reactor()
    call: Any = blockingCallFromThread
    client: api.Client = call(reactor, api.connect, meta, reactor, **options)
    return BlockingClient(reactor, client)
