"""Members that hold different states at the same entry are found and named (S38)."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from dfs.kv.interfaces import Batch
from dfs.metaserver import commands, tables
from dfs.metaserver.checkpoints import EVERY, KEPT, Checkpoints, compare
from dfs.metaserver.records import NodeRecord, node_codec
from dfs.metaserver.test.bench import Bench
from dfs.metaserver.test.cluster import Cluster, Meta
from dfs.raft.interfaces import Command


class CheckpointTests(SynchronousTestCase):
    """What one member notes."""

    def test_at_the_same_entries_however_they_come(self) -> None:
        """S38: members note the state at the same entries and with the same hash, however entries were batched."""
        entries = [
            Command(
                index, 1, commands.encode_command(index, commands.RegisterNode("n", bytes([index % 7]) * 16, "", ""))
            )
            for index in range(1, 3 * EVERY)
        ]
        noted = []
        for size in (1, 7, EVERY - 1, EVERY, len(entries)):
            machine = Bench().machine
            for start in range(0, len(entries), size):
                machine.apply(entries[start : start + size])
            noted.append(machine.checkpoints.latest(KEPT))
        self.assertEqual(list(noted[0]), [EVERY, 2 * EVERY])
        self.assertEqual(noted, [noted[0]] * len(noted))

    def test_bounded(self) -> None:
        """Of many checkpoints the newest stay."""
        checkpoints = Checkpoints(1)
        for index in range(1, KEPT + 11):
            checkpoints.note(index, bytes(32))
        self.assertEqual(list(checkpoints.latest(KEPT + 1)), list(range(11, KEPT + 11)))
        self.assertEqual(list(checkpoints.latest(2)), [KEPT + 9, KEPT + 10])


class CompareTests(SynchronousTestCase):
    """Who differs from whom."""

    def test_equal(self) -> None:
        """Members that agree wherever they can be compared give no alarm; one without a common entry is
        not compared."""
        self.assertEqual(compare({"a": {1: b"x", 2: b"y"}, "b": {2: b"y"}, "c": {9: b"z"}}), (None, ("a", "b")))

    def test_the_minority_is_named(self) -> None:
        """Of three the one that stands alone is named, be it the leader that compares, at the first entry that most
        of them noted."""
        seen = {"a": {1: b"?", 2: b"!"}, "b": {2: b"y", 3: b"y"}, "c": {1: b"x", 2: b"y", 3: b"y"}}
        difference, compared = compare(seen)
        assert difference is not None
        self.assertEqual((difference.index, difference.odd, difference.others), (2, ("a",), ("b", "c")))
        self.assertEqual(compared, ("a", "b", "c"))
        self.assertIn("the tables of a differ from those of b and c at entry 2", difference.sentence())

    def test_nobody_knows(self) -> None:
        """Of two that differ both are named."""
        difference, _ = compare({"a": {1: b"x"}, "b": {1: b"y"}})
        assert difference is not None
        self.assertEqual((difference.odd, difference.others), (("a", "b"), ()))
        self.assertIn("no majority", difference.sentence())


class AlarmTests(SynchronousTestCase):
    """A whole cluster, one of whose members holds something else."""

    def corrupt(self, meta: Meta) -> None:
        """Change a record in one member's tables, behind its back."""
        machine = meta.server._machine
        assert machine is not None
        batch = Batch()
        record = NodeRecord("nobody", "", "", b"i" * 16, 1, 0, 0, 0, 0)
        batch.put(tables.node_key(1), node_codec.encode(record))
        machine.store.apply(batch)

    def test_a_corrupt_member_is_named(self) -> None:
        """S38: the tables of one member are changed behind its back: as soon as an entry touches what was changed, the
        leader says at which entry they differ and who stands alone, in `dfs status` and as a critical line of the
        log; a new leader says so too, and nobody says so before."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_level") is LogLevel.critical:
                lines.append(str(event.get("sentence")))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        for meta in cluster.metas:
            self.quicken(meta)
        cluster.start(3)
        leader = cluster.leader()
        victim = next(meta for meta in cluster.metas if meta is not leader)
        cluster.store("before")
        cluster.world.run(12.0)
        self.assertEqual(cluster.status(leader).alarms, ())
        self.corrupt(victim)
        cluster.store("after")
        cluster.world.run_until(lambda: cluster.status(leader).alarms, 30.0)
        (alarm,) = cluster.status(leader).alarms
        others = " and ".join(meta.name for meta in cluster.metas if meta is not victim)
        self.assertIn(f"the tables of {victim.name} differ from those of {others} at entry ", alarm)
        self.assertEqual(lines, [alarm])
        leader.host.kill()
        new = cluster.leader(others=(leader,))
        cluster.world.run_until(lambda: cluster.status(new).alarms, 30.0)
        self.assertIn(f"the tables of {victim.name}", cluster.status(new).alarms[0])

    def quicken(self, meta: Meta) -> None:
        """A checkpoint at every fourth entry."""
        start = meta.start

        def quick() -> None:
            start()
            opened = meta.server._open_machine

            def open_quick() -> object:
                machine = opened()
                machine.checkpoints.every = 4
                return machine

            self.patch(meta.server, "_open_machine", open_quick)

        self.patch(meta, "start", quick)
