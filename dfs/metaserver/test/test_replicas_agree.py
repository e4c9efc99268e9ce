"""Replicas of the state machine hold the same state, however entries were cut into batches (R34, S38)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import scan_all
from dfs.metaserver import commands, queries
from dfs.metaserver import commands_moving as moving
from dfs.metaserver.commands import Freed, Lost
from dfs.metaserver.test.bench import CHUNK, Bench, sha
from dfs.protocol.messages import ChunkCommit, DurableReplica, Operation
from dfs.protocol.values import FileId, Generation, NodeNumber
from dfs.raft.interfaces import Command

_FIRST = 1 << 48


def random_entries(seed: int, count: int) -> list[Command]:
    """A history of everything at once: good, stale, repeated, hostile."""
    chance = random.Random(seed)

    def pick(limit: int) -> int:
        return int(chance.random() * limit)

    def nodes() -> tuple[int, ...]:
        return tuple(dict.fromkeys(1 + pick(5) for _ in range(3)))

    def operation() -> Operation:
        sequence = 1 + pick(30)
        return Operation((1_000 + pick(6)).to_bytes(8, "big") + b"session-", sequence, 1 + pick(sequence))

    def file_id() -> int:
        return _FIRST + 1 + pick(6)

    def commit() -> ChunkCommit:
        replicas = tuple(DurableReplica(NodeNumber(node), 1 + pick(9)) for node in nodes())
        return ChunkCommit(FileId(file_id()), pick(3), Generation(1 + pick(20)), CHUNK, sha(pick(2)), replicas)

    def retirement() -> moving.Retirement:
        survivors = tuple(DurableReplica(NodeNumber(node), 1 + pick(9)) for node in nodes())
        return moving.Retirement(file_id(), pick(3), 1 + pick(20), 1 + pick(5), 1 + pick(9), survivors)

    makers: list[Any] = [
        lambda: commands.CreateUpload(operation(), "abc"[pick(3)], None, CHUNK, 3, 2, 5, (nodes(),) * pick(3)),
        lambda: commands.ResumeUpload(operation(), file_id(), (nodes(),) * pick(3)),
        lambda: commands.AllocateChunks(file_id(), 1 + pick(2), pick(2), (nodes(),) * pick(3)),
        lambda: commands.ReplaceChunk(file_id(), 1 + pick(2), pick(2), 1 + pick(20), nodes()),
        lambda: commands.CommitChunks(tuple(commit() for _ in range(pick(12)))),
        lambda: commands.AddReplicas(tuple(commit() for _ in range(pick(4)))),
        lambda: commands.RemoveReplicas(1 + pick(5), pick(9), (Lost(file_id(), pick(3), 1 + pick(9)),)),
        lambda: commands.CommitFile(operation(), file_id(), 1 + pick(2), CHUNK * pick(3), pick(3), sha(1), 9),
        lambda: commands.AbortUpload(operation(), file_id(), 1),
        lambda: commands.DeleteFile(operation(), "abc"[pick(3)], None),
        lambda: commands.DeleteFile(operation(), None, file_id()),
        lambda: commands.ExpireUpload(file_id(), 1 + pick(2)),
        lambda: commands.RegisterNode(f"n{pick(6)}", bytes([pick(7)]) * 16, "h:1", ""),
        lambda: commands.NodeDied(1 + pick(5)),
        lambda: commands.NodeReturned(1 + pick(5)),
        lambda: commands.PinMember("m", bytes([pick(3)]) * 16),
        lambda: commands.AdvanceTime(),
        lambda: moving.DrainNode(1 + pick(5)),
        lambda: moving.UndrainNode(1 + pick(5)),
        lambda: moving.NodeDrained(1 + pick(5), pick(400)),
        lambda: moving.BeginMaintenance(1 + pick(5), 1_000 + pick(400_000)),
        lambda: moving.EndMaintenance(1 + pick(5), pick(2) == 0),
        lambda: moving.RemoveNode(1 + pick(5)),
        lambda: moving.ForgetReplicas(1 + pick(5), tuple(moving.Place(file_id(), pick(3)) for _ in range(pick(9)))),
        lambda: moving.ForgetNode(1 + pick(5)),
        lambda: moving.RetireReplicas(tuple(retirement() for _ in range(pick(9)))),
        lambda: moving.TrimmedReplicas((moving.Trimmed(1 + pick(5), file_id(), pick(3), 1 + pick(9)),)),
        lambda: moving.NoteEvent(12, pick(6), 1, 2, "why"),
        lambda: moving.SetBalancing(pick(4), 100),
        lambda: commands.CollectGarbage(file_id(), tuple(Freed(pick(3), 1 + pick(5)) for _ in range(pick(12)))),
    ]
    entries = []
    for index in range(1, count + 1):
        if pick(20) == 0:
            payload = b""
        elif index <= 5:
            payload = commands.encode_command(1_000, commands.RegisterNode(f"n{index}", bytes([index]) * 16, "h:1", ""))
        else:
            payload = commands.encode_command(1_000 + index * 700, makers[pick(len(makers))]())
        entries.append(Command(index, 1 + index // 50, payload))
    return entries


def run(entries: list[Command], cuts: list[int]) -> tuple[Bench, list[bytes]]:
    """Apply in batches of the lengths given (the last one repeated)."""
    bench = Bench(max_sessions=4)
    answers: list[bytes] = []
    rest = list(entries)
    sizes = list(cuts)
    while rest:
        size = sizes.pop(0) if sizes else cuts[-1]
        answers += bench.machine.apply(rest[:size])
        rest = rest[size:]
    return bench, answers


def check_counts(test: SynchronousTestCase, bench: Bench) -> None:
    """The counters of the head are those of the tables."""
    store, head = bench.machine.store, bench.machine.head
    rows: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for key, value in scan_all(store, b""):
        rows.setdefault(key[:1], []).append((key, value))
    count = {table: len(pairs) for table, pairs in rows.items()}
    test.assertEqual(
        (head.files, head.uploads, head.garbage, head.sessions),
        tuple(count.get(table, 0) for table in (b"F", b"U", b"G", b"S")),
    )
    test.assertEqual((count.get(b"N", 0), count.get(b"T", 0)), (head.files, head.sessions))
    recorded: dict[int, int] = {}
    committed = 0
    for file_id in range(_FIRST, _FIRST + 40):
        for index, chunk in queries.chunks_page(store, file_id, 0):
            committed += chunk.committed
            for node in chunk.nodes if chunk.committed else ():
                recorded[node] = recorded.get(node, 0) + 1
                test.assertIn((file_id, index), [(f, i) for f, i, _ in queries.replicas_page(store, node)])
    test.assertEqual(head.chunks, committed)
    test.assertEqual({number: record.chunks for number, record in queries.nodes_page(store) if record.chunks}, recorded)


class AgreementTests(SynchronousTestCase):
    """Same entries, same state."""

    def test_batches_leave_no_trace(self) -> None:
        """However the same entries are cut into batches: same answers, same tables, same hash (R34, S38)."""

        @settings(max_examples=25, deadline=None, derandomize=True, database=None)
        @given(st.integers(0, 2**32), st.lists(st.integers(1, 40), min_size=1, max_size=5))
        def holds(seed: int, cuts: list[int]) -> None:
            entries = random_entries(seed, 150)
            one, first = run(entries, [1])
            many, second = run(entries, cuts)
            self.assertEqual(first, second)
            self.assertEqual(one.machine.state_hash(), many.machine.state_hash())
            self.assertEqual(list(scan_all(one.machine.store, b"")), list(scan_all(many.machine.store, b"")))
            check_counts(self, one)

        holds()

    def test_histories_reach_every_rule(self) -> None:
        """The random histories above do get to committed files, garbage and its collection."""
        seen = set()
        for seed in range(30):
            bench, answers = run(random_entries(seed, 400), [7])
            seen |= {answer[:1] for answer in answers}
            check_counts(self, bench)
        self.assertEqual(seen, {b"", *(bytes([code]) for code in (*range(10), 20))})

    def test_hash_seeds(self) -> None:
        """Under different hash seeds of Python the same history ends in the same state hash (R34)."""
        program = (
            "from dfs.metaserver.test.test_replicas_agree import random_entries, run\n"
            "print(run(random_entries(5, 300), [9])[0].machine.state_hash().hex())"
        )
        hashes = set()
        for seed in ("1", "2"):
            environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
            hashes.add(done.stdout)
        self.assertEqual(len(hashes), 1)
        self.assertEqual(len(hashes.pop().strip()), 64)
