"""Commands of any content, one after the other: whatever was agreed on is applied, and the same by every member."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, packing
from dfs.metaserver.answers import decode_answer
from dfs.metaserver.test.bench import CHUNK, Bench, sha
from dfs.protocol.errors import DFSError
from dfs.protocol.messages import BeginRebuild, Operation
from dfs.protocol.values import HISTORY_SHIFT, FileId, Generation
from dfs.raft.interfaces import Command

SEEDS = 12
STEPS = 80
FILE = 5 << 48 | 77
GENERATION = 9 << HISTORY_SHIFT | 1000
TOP = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF, "Q": 0xFFFF_FFFF_FFFF_FFFF}
LIKELY: dict[str, tuple[int, ...]] = {
    "chunk_size": (CHUNK,),
    "replication": (2, 3),
    "quorum": (1, 2),
    "epoch": (1, 1, 0, 2),
    "index": (0, 0, 1),
    "first_index": (0, 0, 1),
    "size": (CHUNK, CHUNK, 0),
    "length": (CHUNK,),
    "count": (1, 1, 2),
    "node": (1, 2, 3),
    "nodes": (1, 2, 3),
    "placements": (1, 2, 3),
}
"""What makes a command that may succeed, by the name of its field."""


class Strange:
    """Draws commands, and remembers what was issued."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.bench = Bench()
        self.files = [FILE, FILE - 1]
        self.log: list[Command] = []
        self.answers: list[bytes] = []
        self.accepted = 0
        if self.random.random() < 0.5:
            self.apply(BeginRebuild(FileId(FILE), Generation(GENERATION)))
        for name in ("one", "two", "three"):
            self.apply(commands.RegisterNode(name, name.encode().ljust(16, b"."), f"{name}:1", ""))

    def apply(self, command: commands.Command) -> None:
        """What cannot be written is never proposed."""
        try:
            entry = self.bench.entry(command)
        except packing.Malformed:
            self.bench.index -= 1
            return
        self.log.append(entry)
        self.answers += self.bench.machine.apply([entry])
        try:
            answer = decode_answer(self.answers[-1])
        except DFSError:
            return
        self.accepted += 1
        granted = [outcome.granted for outcome in getattr(answer, "outcomes", ()) if hasattr(outcome, "granted")]
        self.files += [found.file_id for found in (answer, *granted) if getattr(found, "file_id", 0)]

    def step(self) -> None:
        """One command of any kind."""
        self.bench.time_ms += self.random.choice((0, 0, 1, 10_000, 100_000))
        codec = self.random.choice(tuple(commands.BY_CODE.values()))
        self.apply(codec.cls(*(self.value(name, kind) for name, kind in codec.fields)))

    def value(self, name: str, kind: packing.Kind) -> Any:
        """Of one field."""
        if name == "operation":
            sequence = self.bench.sequence = self.bench.sequence + 1
            return Operation(self.bench.session, sequence, max(0, sequence - 3))
        if isinstance(kind, packing.Fields):
            return kind.cls(*(self.value(inner, each) for inner, each in kind.fields))
        if isinstance(kind, packing.Optional):
            return self.random.choice((None, self.value(name, kind._kind)))
        if isinstance(kind, packing.Many):
            return tuple(self.value(name, kind._kind) for _ in range(self.random.choice((0, 1, 3, 3))))
        if isinstance(kind, packing.Fixed):
            return self.fixed(name, kind.code)
        return self.random.choice(("a", "b", "one", "", "a\0b", "x" * 200))

    def fixed(self, name: str, code: str) -> Any:
        """A number or a few bytes: mostly what may do something, else what is at an edge."""
        if code not in TOP:
            return {"?": True, "16s": b"one".ljust(16, b"."), "32s": sha(self.random.choice((0, 1)))}[code]
        if self.random.random() < 0.15:
            return self.random.choice((0, 1, TOP[code] - 1, TOP[code]))
        if name == "file_id":
            return self.random.choice(self.files[-4:])
        if name == "generation":
            return max(1, self.bench.machine.head.generation - self.random.choice((0, 0, 1, 2, 1 << 32)))
        return self.random.choice(LIKELY.get(name, (0, 1, 2, 5)))


class AnyCommandTests(SynchronousTestCase):
    def test_applied_by_every_member_alike(self) -> None:
        """Whatever a command holds it is answered, and stops no member, for it would stop them all and for ever; and
        however the log is cut into batches, there are the same answers and the same state (R34, S38, S43)."""
        accepted = 0
        for seed in range(SEEDS):
            strange = Strange(seed)
            for _ in range(STEPS):
                strange.step()
            accepted += strange.accepted
            other, answers, at = Bench(), [], 0
            while at < len(strange.log):
                count = strange.random.choice((1, 2, 5, 20))
                answers += other.machine.apply(strange.log[at : at + count])
                at += count
            self.assertEqual(answers, strange.answers, seed)
            self.assertEqual(other.machine.state_hash(), strange.bench.machine.state_hash(), seed)
        self.assertGreater(accepted, SEEDS * STEPS // 4, "most commands were refused")
