"""``twistd dfs-meta``: from options to a running service.

twistd forks between makeService and startService, so nothing here opens a file, a thread or a socket for good.
"""

from __future__ import annotations

from functools import partial

from twisted.application.service import IService

from dfs.disk.real import RealDisk
from dfs.metaserver.node import MetaServer
from dfs.metaserver.options import Options as Options
from dfs.runtime.clock import install_monotonic
from dfs.runtime.exiting import end_process
from dfs.runtime.garbage import spare_garbage_collector
from dfs.runtime.real import real_runtime


def makeService(options: Options) -> IService:
    """See twisted.application.service.IServiceMaker."""
    from twisted.internet import reactor

    install_monotonic(reactor)
    spare_garbage_collector(reactor)
    runtime = real_runtime(reactor)
    server = MetaServer(options["meta_config"], runtime, RealDisk(), partial(_ended, reactor))
    server.ready.addErrback(_told)  # type: ignore[unused-awaitable]
    service: IService = server
    return service


def _told(failure: object) -> None:
    """Why it did not start is in the log, and the process is ending."""


def _ended(reactor: object, sentence: str) -> None:
    """The sentence is in the log."""
    end_process(reactor)
