"""`dfs upload --recursive` and `dfs download --recursive`: whole folders, their files as they are found.

What cannot be moved is named on stderr, each with its sentence, and the rest is carried on.  Links and what is no
regular file are named and passed over.  Nothing is held but the folders that are open and one page of names.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from dfs.cli.errors import UsageError
from dfs.cli.output import Bar, print_error, print_json, printable
from dfs.client.api import Client
from dfs.client.errors import FileNotFound, LocalFileError, Unavailable
from dfs.client.many import Ended, Pair
from dfs.client.places import under
from dfs.runtime.interfaces import IThreads
from dfs.runtime.options import CHUNK_SIZE, PARALLEL, REPLICATION
from dfs.runtime.settings import Settings
from dfs.runtime.units import format_size

AT_ONCE = 16
"""Files in flight where neither flag nor setting says more."""

PAGE = 256
"""Names found, or files given their permissions, by one call on a thread."""

GO_ON = "the same command again with --skip-same goes on where this one stopped"
UNREADABLE = "check its permissions, then run the same command again with --skip-same"


@frozen
class Skipped:
    """A path whose files are not uploaded, and why; ``failed``: it is a folder that cannot be read, so files are
    missing that nobody left out on purpose."""

    path: str
    why: str
    failed: bool = False


class Walk:
    """The regular files below a folder, in no order; blocks.

    :param skipped: told of paths that are links or no regular files, and of folders that cannot be read.
    """

    def __init__(self, folder: str, skipped: Callable[[Skipped], None]) -> None:
        self._skipped = skipped
        self._folders = [folder]
        self._files = self._walk()

    def page(self) -> list[str]:
        """The next paths; none at the end."""
        return list(islice(self._files, PAGE))

    def _walk(self) -> Iterator[str]:
        while self._folders:
            here = self._folders.pop()
            try:
                with os.scandir(here) as entries:
                    yield from filter(None, map(self._file, entries))
            except OSError as error:
                self._skipped(Skipped(here, f"cannot be read: {error.strerror}", failed=True))

    def _file(self, entry: os.DirEntry[str]) -> str | None:
        """Its path, if it is a file to be uploaded; a folder's turn comes later."""
        if entry.is_symlink():
            self._skipped(Skipped(entry.path, "is a link and is not followed"))
        elif entry.is_dir(follow_symlinks=False):
            self._folders.append(entry.path)
        elif entry.is_file(follow_symlinks=False):
            return entry.path
        else:
            self._skipped(Skipped(entry.path, "is no regular file"))
        return None


class Tally:
    """What became of the files so far; each failure is told at once."""

    def __init__(self, as_json: bool, bar: Bar) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._as_json, self._bar = as_json, bar
        self._codes: set[int] = set()
        self._began = time.monotonic()

    def ended(self, end: Ended) -> None:
        """See dfs.client.many.Told."""
        if end.error is not None:
            self.counts["failed"] += 1
            self._codes.add(end.error.exit_code)
            self._bar.end()
            print_error(end.error.exit_code, f"{end.name}: {end.error.message}", end.error.hint, self._as_json)
            return
        self.counts["skipped" if end.skipped else "files"] += 1
        self.bytes += end.size

    def skipped(self, path: Skipped) -> None:
        """A path that is no file to be moved, or a folder whose files are not known."""
        self.counts["failed" if path.failed else "passed_over"] += 1
        code = LocalFileError.exit_code if path.failed else 0
        if code:
            self._codes.add(code)
        self._bar.end()
        print_error(code, f"{path.path} {path.why}", UNREADABLE if path.failed else "", self._as_json)

    def finish(self, what: str) -> int:
        """Print the sums; the exit code: that of the failures where they all have one, else 1."""
        seconds = time.monotonic() - self._began
        sums = {key: self.counts[key] for key in ("files", "skipped", "failed", "passed_over")}
        self._bar.end()
        if self._as_json:
            print_json({**sums, "bytes": self.bytes, "seconds": seconds})
        else:
            rate = self.counts["files"] / seconds if seconds > 0 else 0.0
            print(f"{what}: {sums['files']} files, {format_size(self.bytes)}, {rate:.0f} files/s")
            named = (("skipped", "were there already"), ("failed", "failed"), ("passed_over", "were passed over"))
            for key, text in named:
                if sums[key]:
                    print(f"  {sums[key]} {text}")
        if not self._codes:
            return 0
        return self._codes.pop() if len(self._codes) == 1 else 1


def at_once(options: argparse.Namespace, settings: Settings) -> int:
    """Files in flight."""
    parallel: int = settings[PARALLEL]
    return parallel if options.parallel is not None else max(parallel, AT_ONCE)


async def or_how_to_go_on(work: Awaitable[None]) -> None:
    """A tree on its way; where the cluster does not answer any more the hint tells how to go on.  Raises DFSError."""
    try:
        await work
    except Unavailable as error:
        raise Unavailable(error.message, f"{error.hint}; {GO_ON}" if error.hint else GO_ON) from error


async def upload_tree(
    client: Client, options: argparse.Namespace, settings: Settings, bar: Bar, threads: IThreads
) -> int:
    """`dfs upload --recursive`."""
    folder = options.file
    if not await threads.run(os.path.isdir, folder):
        raise LocalFileError(f"{folder} is no folder", "leave --recursive out for a single file")
    prefix = options.name if options.name is not None else os.path.basename(os.path.abspath(folder))
    tally = Tally(options.json, bar)
    skipped: list[Skipped] = []
    walk = Walk(folder, skipped.append)

    async def pairs() -> AsyncIterator[Pair]:
        while True:
            paths = await threads.run(walk.page)
            while skipped:
                tally.skipped(skipped.pop())
            for path in paths:
                yield Pair(os.path.abspath(path), under(prefix) + os.path.relpath(path, folder))
            if not paths:
                return

    work = client.trees.upload(
        pairs(),
        tally.ended,
        replication=settings[REPLICATION],
        chunk_size=settings[CHUNK_SIZE],
        parallel=at_once(options, settings),
        skip_same=options.skip_same,
        progress=bar,
    )
    await or_how_to_go_on(work)
    return tally.finish(f"{printable(folder)} to {printable(under(prefix))}")


async def download_tree(
    client: Client, options: argparse.Namespace, settings: Settings, bar: Bar, threads: IThreads
) -> int:
    """`dfs download --recursive`."""
    if options.out is None or options.out == "-":
        raise UsageError("--recursive needs a folder to write to", "name it with --out DIR")
    tally, modes = Tally(options.json, bar), Modes(threads)

    def told(end: Ended) -> None:
        tally.ended(end)
        if end.error is None and not end.skipped:
            modes.add(end.path)

    work = client.trees.download(
        options.name,
        options.out,
        told,
        parallel=at_once(options, settings),
        force=options.force,
        skip_same=options.skip_same,
        progress=bar,
    )
    try:
        await or_how_to_go_on(work)
    except Exception:
        await modes.finish()  # the same command again passes over what is there, so it is now or never
        raise
    await modes.finish()
    if not tally.counts:
        raise FileNotFound(f"there is no file below {under(options.name)!r}", "see `dfs list --prefix`")
    return tally.finish(f"{printable(under(options.name))} to {printable(options.out)}")


class Modes:
    """Gives files that were written the permissions that new files get here, many to a call on a thread."""

    def __init__(self, threads: IThreads) -> None:
        self._threads = threads
        self._paths: list[str] = []
        self._running: list[Deferred[Any]] = []

    def add(self, path: str) -> None:
        """One more; its turn comes soon."""
        self._paths.append(path)
        if len(self._paths) >= PAGE:
            self._start()

    def _start(self) -> None:
        paths, self._paths = self._paths, []
        self._running = [each for each in self._running if not each.called]
        self._running.append(self._threads.run(give_modes, paths))

    async def finish(self) -> None:
        """Returns when all have theirs."""
        self._start()
        for each in self._running:
            await each


def give_modes(paths: Sequence[str]) -> None:
    """As dfs.cli.files.give_usual_mode, for many."""
    mask = os.umask(0)
    os.umask(mask)
    for path in paths:
        with suppress(FileNotFoundError):  # somebody moved it on already
            os.chmod(path, 0o666 & ~mask)
