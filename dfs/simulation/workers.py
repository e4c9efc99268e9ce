"""Runs in several processes, told in the order of their seeds: what is printed does not depend on who was faster.

Worker processes are spawned, so that each run begins in the same clean state.  A worker is given one run at a time over
a pipe and answers with its results.  Runs ahead of the one that is waited for are bounded, so one slow seed costs no
memory.  When the iteration ends early, by an interrupt too, the workers are ended: they hold nothing worth saving.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from attrs import define

from dfs.simulation.plan import Result
from dfs.simulation.run import Run, Say, prepare

AHEAD = 4
"""Runs per worker that may be done and not yet told."""

PATIENCE = 1.0
"""Real seconds that a worker gets to end by itself once it was told to."""


_alive: set[int] = set()
"""Process ids of the workers that there are, for :func:`end_all`."""


class WorkerFailed(Exception):
    """A run could not be brought to its end: a defect of the simulator, or somebody ended its process."""


@define(eq=False)
class _Worker:
    process: Any
    pipe: Connection
    place: int = -1
    run: Run | None = None


def run_in_order(
    runs: Iterable[Run], jobs: int, write_trace: Say | None = None
) -> Generator[tuple[Run, list[Result]], None, None]:
    """Each run with its results, in the order given.  ``jobs`` below 2: in this process, where the traces can be
    written too.  Raises WorkerFailed.

    ``runs`` may be without end: close the iterator when enough was lived.
    """
    if jobs < 2:
        for run in runs:
            yield run, run.results(write_trace)
        return
    workers = [_start() for _ in range(jobs)]
    try:
        yield from _in_order(iter(runs), workers)
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            _alive.discard(worker.process.pid)


def end_all() -> None:
    """Kill every worker, from a signal handler before this process ends at once.  One that was just started and is not
    known yet has no run and ends by itself, with its pipe."""
    for process in tuple(_alive):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there,), daemon=True)
    process.start()
    assert process.pid is not None
    _alive.add(process.pid)
    there.close()
    return _Worker(process, here)


def _in_order(runs: Iterator[Run], workers: list[_Worker]) -> Iterator[tuple[Run, list[Result]]]:
    waiting: deque[Run] = deque()
    done: dict[int, list[Result]] = {}
    given = told = 0
    ended = False
    while True:
        while told in done:
            yield waiting.popleft(), done.pop(told)
            told += 1
        for worker in workers:  # at least one gets a run where nobody has one: then all that was given is told
            if worker.run is None and not ended and given - told < AHEAD * len(workers):
                run = next(runs, None)
                if run is None:
                    ended = True
                    break
                _give(worker, run, given)
                waiting.append(run)
                given += 1
        if ended and told == given:
            return
        busy = {worker.pipe: worker for worker in workers if worker.run is not None}
        for pipe in wait(list(busy)):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            done[worker.place] = _answer(worker)
            worker.run = None


def _give(worker: _Worker, run: Run, place: int) -> None:
    worker.run, worker.place = run, place
    try:
        worker.pipe.send(run)
    except OSError:
        raise WorkerFailed(f"there is no process left for {run.command!r}") from None


def _answer(worker: _Worker) -> list[Result]:
    assert worker.run is not None
    try:
        answer = worker.pipe.recv()
    except EOFError:
        raise WorkerFailed(f"the process of {worker.run.command!r} ended before it answered") from None
    if isinstance(answer, str):
        raise WorkerFailed(f"{worker.run.command!r} broke the simulator:\n{answer}")
    results: list[Result] = answer
    return results


def work(pipe: Connection) -> None:
    """A worker's life: until the pipe ends.  An interrupt is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    while True:
        try:
            run: Run = pipe.recv()
        except EOFError:
            return
        try:
            answer: list[Result] | str = run.results()
        except Exception:  # noqa: BLE001 - whatever it was, the parent tells it
            answer = traceback.format_exc()
        pipe.send(answer)
