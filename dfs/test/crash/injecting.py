"""The n-th call of a real process on a real disk fails, or ends it; then the folder is opened and judged.

strace puts the fault in: EIO or ENOSPC in the place of the call, or SIGKILL before it.  The process is one life of a
store (see ``driver``): it may go on where its store may, or end with a sentence.  What is judged is the folder as the
kernel shows it, and, from the calls that were recorded meanwhile, what a power cut right after would leave.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from random import Random

from attrs import evolve, frozen

from dfs.test.crash import strace
from dfs.test.crash.calls import Mark, Tree
from dfs.test.crash.draws import State, states
from dfs.test.crash.hunt import compare, digest_of
from dfs.test.crash.lives import judge
from dfs.test.crash.recording import Recorder, read_tree, write_tree
from dfs.test.crash.subjects import Subject

ROOM = "pwrite64,pwritev,pwritev2,fallocate,rename,renameat,renameat2,mkdir,mkdirat"
CHANGES = f"{ROOM},fsync,fdatasync,ftruncate,unlink,unlinkat,rmdir"
STEPS = 24
SEED = "3"
FEW = 40
STRIDE = 24
"""Of an opening of more than FEW calls (a chunk server syncs 256 folders) every STRIDE-th is tried."""

CUTS = 8
"""Crash states that are judged after each fault."""

MOST = 1000
SUSPICION = "sync-failed."
"""In the name of what a chunk server leaves after a failed sync: nobody starts there before the machine did anew."""


@frozen
class Fault:
    """What is put in: an effect in strace's words, in the place of the n-th of some calls."""

    name: str
    effect: str
    calls: str


FAULTS = (
    Fault("SIGKILL", "signal=SIGKILL", CHANGES),
    Fault("EIO", "error=EIO", CHANGES),
    Fault("ENOSPC", "error=ENOSPC", ROOM),
)


class Injection:
    """Faults in one subject's life."""

    def __init__(self, subject: Subject, folder: str) -> None:
        self.subject = subject
        self.judged = 0
        self._folder = folder
        self._start: Tree = {}
        if subject.name in ("chunks", "segments"):  # its format takes a thousand calls, and is tried elsewhere
            self._start = self._begun(0, self._root("founded"))[0]
        self.opening = self._begun(0, self._root("opened"))[1]
        """Calls of a life before it is open."""

    def _root(self, name: str) -> str:
        return f"{self._folder}/{self.subject.name}-{name}"

    def _begun(self, steps: int, root: str) -> tuple[Tree, int]:
        """What a life without a fault leaves, and how many calls it made."""
        write_tree(root, self._start)
        recorder = Recorder(root)
        strace.trace(recorder, self._command(root, steps, "leave"))
        return read_tree(root), sum(not isinstance(call, Mark) for call in recorder.calls)

    def _command(self, root: str, steps: int, end: str) -> list[str]:
        return [sys.executable, "-m", "dfs.test.crash.driver", self.subject.name, root, SEED, str(steps), end]

    def tried(self, fault: Fault, number: int) -> list[str] | None:
        """Put the fault in the place of the ``number``-th call; what is wrong afterwards.  None: no call so far."""
        root = self._root(f"{fault.name}-{number}")
        write_tree(root, self._start)
        recorder = Recorder(root)
        recorder.mark(self.subject.empty)
        inject = f"inject={fault.calls}:{fault.effect}:when={number}"
        ended = strace.trace(recorder, self._command(root, STEPS, "close"), "-e", inject)
        if not ended.injected:
            return None
        compare(recorder.recording, root)
        where = f"{self.subject.name}, {fault.name} at call {number}"
        found = []
        if ended.status == strace.FAILED and not ended.said.strip():
            found.append(f"{where}: it ended without a sentence")
        for state in self._left(recorder):
            found += [f"{where}, {state.story}: {problem}" for problem in self._judge(state)]
        return found

    def _left(self, recorder: Recorder) -> Iterator[State]:
        """What the kernel shows, and what a power cut leaves of it."""
        recording = recorder.recording
        places = frozenset((len(recording.calls),))
        drawn = list(islice(states(recording, Random(1), places), CUTS))
        shown = State(read_tree(recorder.root), drawn[0].allowed, "as the kernel shows it", 0)
        yield from {digest_of(state): state for state in (shown, *drawn)}.values()

    def _judge(self, state: State) -> Iterator[str]:
        """Problems.  Where the store suspects the disk it must say so, and holds once the operator has answered."""
        self.judged += 1
        folder = self._root(f"state-{self.judged}")
        suspects = [path for path in state.tree if SUSPICION in path]
        if suspects:
            verdict = judge(self.subject, state, folder, Random(1))
            if "reboot" not in verdict.problem:
                yield "a sync failed, and the next start does not refuse"
            state = evolve(state, tree={path: state.tree[path] for path in state.tree if path not in suspects})
        verdict = judge(self.subject, state, folder, Random(1))
        if verdict.problem:
            yield verdict.problem

    def run(self, fault: Fault) -> tuple[int, list[str]]:
        """Each number up to the last call; how many were tried, and what is wrong."""
        found: list[str] = []
        for tried, number in enumerate(self._numbers()):
            problems = self.tried(fault, number)
            if problems is None:
                return tried, found
            found += problems
        raise AssertionError(f"{self.subject.name} made more than {MOST} calls")

    def _numbers(self) -> Iterator[int]:
        if self.opening > FEW:
            yield from range(1, self.opening, STRIDE)
        yield from range(self.opening if self.opening > FEW else 1, MOST)
