"""Many files up or down with one call: what ``dfs upload --recursive`` and ``dfs download --recursive`` do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

from dfs.client.context import Context
from dfs.client.granting import Wish
from dfs.client.many import DownloadMany, Pair, Told, UploadMany
from dfs.client.names import check_name, check_parallel
from dfs.client.places import Places, under
from dfs.client.progress import Meter, Observer
from dfs.protocol.messages import FileInfo
from dfs.protocol.values import CHUNK_SIZE


class Trees:
    """See dfs.client.api.Client.trees."""

    def __init__(self, context: Context, listing: Callable[[str], AsyncIterator[FileInfo]]) -> None:
        self._context = context
        self._listing = listing

    async def upload(
        self,
        pairs: AsyncIterator[Pair],
        told: Told,
        *,
        replication: int = 3,
        chunk_size: int = CHUNK_SIZE,
        parallel: int = 16,
        skip_same: bool = False,
        progress: Observer | None = None,
    ) -> None:
        """Store each file under its name; ``told`` hears what became of each, also of those that failed.

        :param parallel: small files, and chunks of one larger file, in flight at once.
        :param skip_same: a name that is there with the same bytes is as good as uploaded; with other bytes it fails
            with FileExists, as without.
        :raises Unavailable: no progress for the patience given; files that were not told of may be there or not.
        """
        check_parallel(parallel)

        def wish(name: str) -> Wish:
            check_name(name)
            return Wish(name, chunk_size, replication, parallel, True)

        meter = Meter(self._context.runtime.reactor.seconds, None, progress)
        await UploadMany(self._context, pairs, wish, skip_same, told, meter).run(parallel)

    async def download(
        self,
        prefix: str,
        out: str | os.PathLike[str],
        told: Told,
        *,
        parallel: int = 16,
        force: bool = False,
        skip_same: bool = False,
        progress: Observer | None = None,
        real_path: Callable[[str], str] = os.path.realpath,
    ) -> None:
        """Fetch every file below a prefix, verified, into the folder ``out``; ``told`` hears what became of each.

        A name that would lead out of the folder is refused.  Each file has its name only when it is whole and durable.

        :param force: overwrite files that are there; ``skip_same``: but not those with the same bytes.
        :param real_path: resolves links; see :class:`dfs.client.places.Places`.
        :raises Unavailable: as :meth:`upload`.
        """
        check_parallel(parallel)
        context = self._context
        place = Places(context.disk, context.runtime.threads, os.path.abspath(os.fspath(out)), prefix, real_path)
        meter = Meter(context.runtime.reactor.seconds, None, progress)
        infos = self._listing(under(prefix))
        await DownloadMany(context, infos, place, force, skip_same, told, meter).run(parallel)
