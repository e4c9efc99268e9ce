"""The shell: members that compact their logs and send each other snapshots."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.membership import AddLearner
from dfs.raft.test.shells import Cluster, node_of


class SnapshotTests(SynchronousTestCase):
    """Compaction every few entries, and snapshots for those who fall behind."""

    def small(self, seed: int = 1) -> Cluster:
        return Cluster(seed, trailing_entries=5, sync_interval=0.1, piece_length=64)

    def test_lagging_follower(self) -> None:
        """S32 R20 R39: a follower behind the compacted log gets a snapshot in pieces, then the log."""
        cluster = self.small()
        cluster.propose(b"first")
        cluster.settle()
        behind = next(m for m in cluster.members.values() if m is not cluster.leader())
        cluster.kill(behind.name)
        for number in range(60):
            cluster.propose(b"entry %d" % number)
        cluster.world.run(1.0)
        cluster.start(behind.name)
        self.assertEqual(len(cluster.settle()), 61)
        pieces = [payload for _, member, payload in cluster.sent if member == behind.name and payload[5] == 5]
        self.assertGreater(len(pieces), 10)
        cluster.propose(b"after")
        self.assertEqual(cluster.settle()[-1], b"after")

    def test_snapshot_while_writing_with_losses(self) -> None:
        """S32 R40: lost pieces are sent again while writes go on."""
        for seed in range(3):
            cluster = self.small(seed)
            cluster.propose(b"first")
            behind = next(m for m in cluster.members.values() if m is not cluster.leader())
            cluster.crash(behind.name)
            for number in range(40):
                cluster.propose(b"entry %d" % number)
            cluster.world.run(1.0)
            cluster.drop_share = 0.1
            cluster.start(behind.name)
            for number in range(40):
                node_of(cluster.leader()).propose(b"more %d" % number).addErrback(lambda _: None)  # type: ignore[unused-awaitable]
                cluster.world.run(0.05)
            cluster.drop_share = 0.0
            state = cluster.settle(timeout=60.0)
            self.assertEqual(state[1:41], tuple(b"entry %d" % number for number in range(40)))

    def test_crash_while_receiving(self) -> None:
        """R37: a follower that loses power at any moment of a transfer restarts and catches up."""
        for moment in range(12):
            cluster = self.small(moment)
            cluster.propose(b"first")
            behind = next(m for m in cluster.members.values() if m is not cluster.leader())
            cluster.crash(behind.name)
            for number in range(30):
                cluster.propose(b"entry %d" % number)
            cluster.world.run(1.0)
            cluster.start(behind.name)
            cluster.world.run(0.06 + moment * 0.004)
            cluster.crash(behind.name)
            cluster.start(behind.name)
            self.assertEqual(len(cluster.settle()), 31, f"moment {moment}")

    def test_bad_snapshot(self) -> None:
        """R38: a snapshot that fails its checks is refused and the former state stays."""
        cluster = self.small()
        cluster.propose(b"first")
        cluster.settle()
        cluster.world.run(1.0)
        behind = next(m for m in cluster.members.values() if m is not cluster.leader())
        cluster.kill(behind.name)
        for number in range(30):
            cluster.propose(b"entry %d" % number)
        cluster.world.run(1.0)
        behind.store.fail_commit = True
        cluster.start(behind.name)
        cluster.world.run(2.0)
        self.assertEqual(behind.store.now[1], (b"first",))
        behind.store.fail_commit = False
        self.assertEqual(len(cluster.settle()), 31)

    def test_memory_of_a_transfer_is_bounded(self) -> None:
        """R42: a follower that takes pieces and never answers costs the leader a window and no more."""
        cluster = self.small()
        cluster.propose(b"first")
        leader = cluster.leader()
        behind = next(m for m in cluster.members.values() if m is not leader)
        cluster.crash(behind.name)
        for number in range(100):
            cluster.propose(b"entry %d" % number)
        cluster.world.run(1.0)
        cluster.cut.add((behind.name, leader.name))
        cluster.start(behind.name)
        node = node_of(leader)
        most = 0
        for _ in range(100):
            cluster.world.run(0.05)
            most = max(most, node.snapshot_buffered)
            cluster.propose(b"on")
        self.assertLessEqual(most, 4 * 64)
        cluster.cut.clear()
        cluster.settle(timeout=60.0)

    def test_silent_follower_gets_a_window(self) -> None:
        """R42: a follower that never acknowledges is sent no more than its window, while the others take everything."""
        cluster = Cluster()
        cluster.propose(b"first")
        leader = cluster.leader()
        silent, other = (member for member in cluster.members.values() if member is not leader)
        cluster.cut.add((silent.name, leader.name))
        del cluster.sent[:]
        for _ in range(120):
            cluster.propose(b"x" * 50_000)
        sent = {
            member.name: sum(len(payload) for _, to, payload in cluster.sent if to == member.name)
            for member in (silent, other)
        }
        self.assertGreater(sent[other.name], 120 * 50_000)
        self.assertLess(sent[silent.name], 2 << 20)

    def test_one_that_waits_its_turn_is_quiet(self) -> None:
        """R42: while one newcomer's snapshot is on its way, another that needs one too costs its leader a few messages
        a heartbeat, not as many as the network takes."""
        cluster = Cluster(count=1, trailing_entries=3, sync_interval=0.1, piece_length=64, segment_length=1 << 11)
        for number in range(40):
            cluster.propose(b"entry %d" % number)
        cluster.world.run(1.0)
        cluster.join("b")
        cluster.join("c")
        carry = cluster.carry

        def without_pieces(sender: str, member: str, payload: bytes) -> None:
            if member != "b" or payload[5] != 5:
                carry(sender, member, payload)

        cluster.carry = without_pieces  # type: ignore[method-assign]
        cluster.change(AddLearner("b", "b:1"))
        cluster.world.run(0.3)
        cluster.change(AddLearner("c", "c:1"))
        del cluster.sent[:]
        cluster.world.run(2.0)
        config = cluster.config("a")
        heartbeats = 2.0 / (config.heartbeat_ticks * config.tick)
        self.assertIsNone(cluster.members["c"].store.now[1] or None)
        self.assertLess(len([one for one in cluster.sent if one[:2] == ("a", "c")]), 4 * heartbeats)
        cluster.carry = carry  # type: ignore[method-assign]
        cluster.settle()

    def test_compaction_bounds_the_disk(self) -> None:
        """The log's disk space is bounded by what trails behind the durable state."""
        cluster = self.small()
        for number in range(300):
            cluster.propose(b"%d" % number * 100)
        cluster.world.run(1.0)
        for member in cluster.members.values():
            segments = [name for name in member.host.disk.list_folder("/raft") if name.startswith("log-")]
            self.assertLessEqual(len(segments), 2)
