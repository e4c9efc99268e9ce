"""What one operation costs on tables of a size: CPU microseconds on one core, no network and no log.

Each figure is over many operations at names drawn from all of the tables, applied in batches of eight as a group commit
makes them; the system's page cache is as warm as it is.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.local import resident_bytes
from bench.scale.tables import Author, name_of
from dfs.metaserver import commands, queries
from dfs.metaserver.machine import MetadataMachine

BATCH = 8
PIECE = 256 << 10  # bytes of a snapshot that are read in one turn, as Raft's sender does


class Stopwatch:
    """CPU and wall seconds of what runs between, a part at a time."""

    def __init__(self) -> None:
        self.cpu = self.wall = self.longest = 0.0

    def time(self, work: Callable[..., Any], *arguments: Any) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return work(*arguments)
        finally:
            took = time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            self.wall += took
            self.longest = max(self.longest, took)

    def each(self, count: int) -> dict[str, float]:
        """Microseconds of one of ``count``; the longest part in milliseconds."""
        return {
            "cpu_us": 1e6 * self.cpu / count,
            "wall_us": 1e6 * self.wall / count,
            "longest_ms": 1e3 * self.longest,
        }


def _batches(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH))


def writes(author: Author, files: int, count: int, chance: random.Random) -> dict[str, Any]:
    """Create, commit of the chunk, commit of the file, and delete, of new files with names among the others."""
    watches = {name: Stopwatch() for name in ("create", "commit_chunk", "commit_file", "delete")}
    for numbers in _batches([chance.randrange(files) for _ in range(count)]):
        names = [f"{name_of(number)}.{chance.getrandbits(40):x}" for number in numbers]
        created = [author.create(name) for name in names]
        watches["create"].time(author.apply, [command for command, _, _ in created])
        written: list[commands.Command] = [
            commands.CommitChunks((author.written(file_id, generation),)) for _, file_id, generation in created
        ]
        watches["commit_chunk"].time(author.apply, written)
        finished = [author.commit(file_id) for _, file_id, _ in created]
        watches["commit_file"].time(author.apply, finished)
        deleted: list[commands.Command] = [commands.DeleteFile(author.operation(), name, None) for name in names]
        watches["delete"].time(author.apply, deleted)
    return {name: watch.each(count) for name, watch in watches.items()}


def reads(machine: MetadataMachine, files: int, count: int, chance: random.Random) -> dict[str, Any]:
    """Stats of single names and pages of a listing, from anywhere."""
    stat, page = Stopwatch(), Stopwatch()
    for _ in range(count):
        name = name_of(chance.randrange(files))
        stat.time(queries.get_file, machine.store, name, None)
    pages = max(count // 50, 1)
    for _ in range(pages):
        name = name_of(chance.randrange(files))
        page.time(queries.list_files, machine.store, "archive/", name.encode(), 100)
    return {"stat": stat.each(count), "list_100": page.each(pages)}


def snapshot(machine: MetadataMachine) -> dict[str, Any]:
    """A whole snapshot in pieces: what all of it takes, and how long one piece keeps its thread."""
    before, watch, length, pieces = resident_bytes_here(), Stopwatch(), 0, 0
    source = Stopwatch()
    opened = source.time(machine.open_snapshot)
    while piece := watch.time(opened.read, PIECE):
        length, pieces = length + len(piece), pieces + 1
    opened.close()
    return {
        "seconds": watch.wall,
        "bytes": length,
        "pieces": pieces,
        "longest_piece_ms": 1e3 * watch.longest,
        "begin_ms": 1e3 * source.wall,
        "resident_grown": resident_bytes_here() - before,
    }


def resident_bytes_here() -> int:
    """This process's resident set."""
    return resident_bytes(os.getpid())
