"""Recordings upon recordings, each begun in a crash state of the one before, and every state judged."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from random import Random

from attrs import define, field

from dfs.test.crash import strace
from dfs.test.crash.calls import Mark, Recording, Tree
from dfs.test.crash.chunks import Chunks
from dfs.test.crash.draws import State, states
from dfs.test.crash.lives import judge, record
from dfs.test.crash.packed import Segments
from dfs.test.crash.raftlog import RaftLog
from dfs.test.crash.recording import Recorder, read_tree, write_tree
from dfs.test.crash.subjects import Subject
from dfs.test.crash.tables import Tables
from dfs.test.crash.volume import Volume

SUBJECTS: tuple[Subject, ...] = (
    Tables("berkeleydb", traced=True, torn_pages=4096),
    Tables("semidbm"),
    Chunks(),
    Segments(),
    RaftLog(),
)
DEPTH = 4
"""Recordings in a row, before a new folder is begun."""

STEPS = 8
LIVES = 3
STALE = 2000
"""Draws in a row without a new state after which a recording has no more to give."""


@define
class Found:
    """What a hunt came to."""

    subject: str
    recordings: int = 0
    calls: int = 0
    states: int = 0
    refused: int = 0
    problems: list[str] = field(factory=list)


class Hunt:
    """Distinct crash states of one subject.  Everything follows from the seed.

    :param per_recording: states judged of one recording.
    """

    def __init__(self, subject: Subject, seed: int, folder: str, per_recording: int = 60) -> None:
        self.found = Found(subject.name)
        self._subject = subject
        self._seed = seed
        self._folder = folder
        self._per_recording = per_recording
        self._known: set[bytes] = set()
        self._number = 0

    def run(self, count: int) -> Found:
        """Judge so many states."""
        chains = 0
        with self._subject.small():
            while self.found.states < count:
                self._chain(Random(f"{self._seed} {chains}"), count)
                chains += 1
        return self.found

    def _chain(self, chance: Random, count: int) -> None:
        start: Tree = {}
        allowed: tuple[str, ...] = (self._subject.empty,)
        for depth in range(DEPTH):
            recording = self._record(start, allowed, chance, depth)
            self.found.recordings += 1
            self.found.calls += sum(not isinstance(call, Mark) for call in recording.calls)
            last = None
            for state in islice(self._fresh(recording, chance), min(self._per_recording, count - self.found.states)):
                if self._opens(state, chance):
                    last = state
            if last is None or self.found.states >= count:
                return
            start, allowed = last.tree, last.allowed

    def _record(self, start: Tree, allowed: tuple[str, ...], chance: Random, depth: int) -> Recording:
        """Some lives that begin with a tree."""
        root = self._new_folder("life")
        write_tree(root, start)
        recorder = Recorder(root)
        recorder.mark(*allowed)
        if self._subject.traced:
            self._trace(recorder, chance)
        else:
            record(self._subject, recorder, chance, LIVES, STEPS)
        recording = recorder.recording
        compare(recording, root)
        shutil.rmtree(root)
        return recording

    def _trace(self, recorder: Recorder, chance: Random) -> None:
        for number in range(LIVES):
            clean = number == LIVES - 1 or chance.random() < 0.3
            command = [sys.executable, "-m", "dfs.test.crash.driver", self._subject.name, recorder.root]
            command += [str(chance.getrandbits(30)), str(2 * STEPS), "close" if clean else "leave"]
            kill = [] if clean else ["-e", f"inject=pwrite64,fdatasync:signal=SIGKILL:when={chance.randrange(1, 60)}"]
            strace.trace(recorder, command, *kill)

    def _fresh(self, recording: Recording, chance: Random) -> Iterator[State]:
        """States that were not seen before."""
        places = len(recording.calls) + 1
        few = min(places, 3 * self._per_recording)
        positions = frozenset(chance.sample(range(places), few)) if few < places else None
        stale = 0
        for state in states(recording, chance, positions):
            digest = digest_of(state)
            stale = stale + 1 if digest in self._known else 0
            if stale > STALE:
                return
            if not stale:
                self._known.add(digest)
                yield state

    def _opens(self, state: State, chance: Random) -> bool:
        """Judge it; False where nobody can go on from it."""
        verdict = judge(self._subject, state, self._new_folder("state"), chance)
        self.found.states += 1
        self.found.refused += bool(verdict.refused)
        if verdict.problem:
            where = f"{self._subject.name}, seed {self._seed}, state {self.found.states}: {state.story}"
            self.found.problems.append(f"{where}: {verdict.problem}")
        return not verdict.problem and not verdict.refused

    def _new_folder(self, kind: str) -> str:
        self._number += 1
        return f"{self._folder}/{self._subject.name}-{kind}-{self._number}"


def digest_of(state: State) -> bytes:
    """Equal for equal trees of which the same is promised."""
    digest = hashlib.sha256("\t".join(state.allowed).encode())
    for path, content in state.tree.items():
        digest.update(f"\n{path}\n{-1 if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.digest()


def compare(recording: Recording, root: str) -> None:
    """That nothing was overlooked: the calls, carried out on the model, leave what the kernel has."""
    volume = Volume.of(recording.start)
    for call in recording.calls:
        volume.apply(call)
    model, real = volume.kept(), read_tree(root)
    differing = sorted(path for path in {*model, *real} if model.get(path, b"?") != real.get(path, b"?"))
    if differing:
        raise AssertionError(f"the recording does not account for {differing}")


def scratch() -> str:
    """A folder for states: in memory where that can be had, since a state is read back at once."""
    memory = "/dev/shm"
    return tempfile.mkdtemp(prefix="dfs-crash-", dir=memory if os.access(memory, os.W_OK) else None)
