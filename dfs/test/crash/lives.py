"""A process's life with a store, and the judgement of the folder that it left."""

from __future__ import annotations

import shutil
from random import Random

from attrs import frozen

from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.test.crash.draws import State
from dfs.test.crash.recording import Killed, Recorder, RecordingDisk, write_tree
from dfs.test.crash.subjects import Mark, Refused, Subject, Wrong


def live(subject: Subject, disk: IDisk, folder: str, chance: Random, steps: int, mark: Mark, clean: bool) -> None:
    """Open the store, take so many steps, and close it; unless ``clean`` it is left open, for the process to end."""
    store = subject.open(disk, folder)
    mark(store.seen())
    for _ in range(steps):
        store.step(chance, mark)
    if clean:
        store.close(mark)


def record(subject: Subject, recorder: Recorder, chance: Random, lives: int, steps: int) -> None:
    """Several lives on one disk, each but the last killed somewhere, all of it recorded."""
    for number in range(lives):
        disk = RecordingDisk(recorder)
        last = number == lives - 1
        recorder.kill_at = None if last else chance.randrange(chance.choice((10, 12 * steps)))
        try:
            live(subject, disk, recorder.root, chance, steps, recorder.mark, clean=last)
        except Killed:
            pass
        finally:
            disk.end_process()


@frozen
class Verdict:
    """What came of a crash state.

    :ivar problem: what is wrong, "" if nothing is.
    :ivar refused: the sentence with which the store did not open, where it may refuse.
    """

    problem: str = ""
    refused: str = ""


def judge(subject: Subject, state: State, folder: str, chance: Random) -> Verdict:
    """Put a state on the disk, open it, compare, go on for some steps, and open it once more.  ``folder`` is made and
    removed."""
    write_tree(folder, state.tree)
    try:
        return _judge(subject, state, folder, chance)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(subject: Subject, state: State, folder: str, chance: Random) -> Verdict:
    disk = RealDisk()
    try:
        store = subject.open(disk, folder)
        seen = store.seen()
        if seen not in state.allowed:
            return Verdict(f"{seen!r} is there, where one of {state.allowed!r} was promised")
        for _ in range(2):
            store.step(chance, _unmarked)
        now = store.seen()
        store.close(_unmarked)
        store = subject.open(disk, folder)
        again = store.seen()
        store.close(_unmarked)
        return Verdict("" if again == now else f"after it went on with {now!r} and closed, {again!r} is there")
    except Refused as error:
        if state.tear and state.tear < subject.torn_pages:
            return Verdict(refused=str(error))
        return Verdict(f"it does not open: {error}")
    except Wrong as error:
        return Verdict(str(error))
    except Exception as error:
        return Verdict(f"it opens and does not go on: {error!r}")


def _unmarked(*allowed: str) -> None:
    """Nothing is recorded of what is done to judge."""
