"""The shell: three members in one simulated world, with crashes, cuts and failing disks."""

from __future__ import annotations

import gc
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.disk.errors import DiskError
from dfs.raft.errors import NotLeader, OutcomeUnknown, Stopped, StorageCorrupt, StorageFailed, WrongCluster
from dfs.raft.interfaces import IRaft, IStateMachine
from dfs.raft.test.shells import Cluster, ListMachine, Member, Store, node_of, outcome
from dfs.raft.turns import RunningMember


def running_of(member: Member) -> RunningMember:
    running = node_of(member)._running
    assert running is not None
    return running


class LifeTests(SynchronousTestCase):
    """Founding, electing, proposing, stopping, restarting."""

    def test_interfaces(self) -> None:
        """The node provides IRaft, and the tests' state machine IStateMachine."""
        verifyObject(IRaft, node_of(Cluster(count=1).members["a"]))
        verifyObject(IStateMachine, ListMachine(Store()))

    def test_killed_in_the_middle(self) -> None:
        """S27: a node that is killed while it starts or stops leaves nothing behind that goes on or complains."""
        complaints: list[Any] = []
        ended: list[bool] = []
        self.patch(sys, "unraisablehook", complaints.append)
        cuts = [0.0001 * step for step in range(40)]
        for seconds in cuts:
            cluster = Cluster(count=1)
            cluster.propose(b"one")
            stopping = outcome(node_of(cluster.members["a"]).stop())
            cluster.world.run(seconds)
            cluster.kill("a")
            cluster.start("a", wait=False)
            cluster.world.run(seconds)
            cluster.kill("a")
            cluster.start("a")
            self.assertEqual(cluster.propose(b"two"), b"2")
            del cluster
            gc.collect()
            ended.append(bool(stopping))
        self.assertEqual(set(ended), {False, True}, "some cuts come in the middle of the stop, some after it")
        self.assertEqual([str(complaint.exc_value) for complaint in complaints], [])

    def test_propose(self) -> None:
        """A proposal is answered by the state machine and applied on every member."""
        cluster = Cluster()
        self.assertEqual([cluster.propose(b"one"), cluster.propose(b"two")], [b"1", b"2"])
        self.assertEqual(cluster.settle(), (b"one", b"two"))

    def test_single_member(self) -> None:
        """R23: a member alone acknowledges after its own sync."""
        cluster = Cluster(count=1)
        self.assertEqual(cluster.propose(b"one"), b"1")
        cluster.crash("a")
        cluster.start("a")
        cluster.leader()
        self.assertEqual(cluster.settle(), (b"one",))

    def test_follower_refuses(self) -> None:
        """A follower refuses proposals and names the leader."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        cluster.settle()
        follower = node_of(next(m for m in cluster.members.values() if m is not leader))
        answer = outcome(follower.propose(b"x"))
        cluster.world.run(0.1)
        self.assertIsInstance(answer[0], NotLeader)
        self.assertEqual(answer[0].leader, leader.name)

    def test_leadership_is_told_after_the_noop(self) -> None:
        """S29: a leader is announced only when it has applied an entry of its own term."""
        cluster = Cluster()
        leader = cluster.leader()
        self.assertEqual(leader.store.now[0].term, leader.leads[-1][1])
        self.assertEqual(node_of(leader).status().role, "leader")

    def test_leader_crashes(self) -> None:
        """S27: the leader's crash loses nothing that was acknowledged, and the crashed one catches up."""
        cluster = Cluster()
        for count in range(10):
            cluster.propose(b"%d" % count)
        former = cluster.leader().name
        cluster.crash(former)
        cluster.propose(b"after")
        cluster.start(former)
        self.assertEqual(cluster.settle(), (*(b"%d" % count for count in range(10)), b"after"))

    def test_all_crash(self) -> None:
        """S27 R03: all members lose power at once, again and again; every acknowledged entry is there."""
        for seed in range(4):
            cluster = Cluster(seed)
            acknowledged = []
            for count in range(5):
                for number in range(4):
                    payload = b"%d.%d" % (count, number)
                    cluster.propose(payload)
                    acknowledged.append(payload)
                node_of(cluster.leader()).propose(b"?").addErrback(lambda _: None)  # type: ignore[unused-awaitable]
                cluster.world.run(0.001 * count)
                terms = {name: node_of(member).status().term for name, member in cluster.members.items()}
                for name in cluster.members:
                    cluster.crash(name)
                for name in cluster.members:
                    cluster.start(name)
                    self.assertGreaterEqual(node_of(cluster.members[name]).status().term, terms[name] - 1)
            cluster.propose(b"last")
            kept = [payload for payload in cluster.settle() if payload != b"?"]
            self.assertEqual(kept, [*acknowledged, b"last"])

    def test_crash_at_each_disk_operation(self) -> None:
        """R01 R28: a member that crashes at any operation of its disk restarts, and no entry is lost or doubled."""
        for at in range(1, 60, 2):
            cluster = Cluster(at)
            leader = cluster.leader()
            leader.host.disk.crash_at(at)
            acknowledged = []
            for number in range(12):
                answer = outcome(node_of(cluster.leader()).propose(b"%d" % number))
                host = leader.host
                cluster.world.run_until(lambda found=answer, host=host: found or not host.up, 10.0)  # type: ignore[misc]
                if not leader.host.up:
                    break
                acknowledged.append(b"%d" % number)
            if not leader.host.up:
                leader.node = None
                cluster.propose(b"between")
                acknowledged.append(b"between")
                cluster.start(leader.name)
            state = cluster.settle()
            self.assertEqual([payload for payload in state if payload in acknowledged], acknowledged, f"at {at}")
            self.assertEqual(len(set(state)), len(state))

    def test_stop(self) -> None:
        """R62: stopping ends what waits, each exactly once, as unknown or refused, and a restart goes on."""
        cluster = Cluster()
        leader = cluster.leader()
        for name in cluster.members:
            if name != leader.name:
                cluster.isolate(name)
        node = node_of(leader)
        appended = outcome(node.propose(b"appended"))
        cluster.world.run(0.02)
        queued, read = outcome(node.propose(b"queued")), outcome(node.read_index())
        cluster.world.run_until(node.stop())
        after = outcome(node.propose(b"late"))
        self.assertEqual(
            [[type(result) for result in results] for results in (appended, queued, read, after)],
            [[OutcomeUnknown], [NotLeader], [NotLeader], [Stopped]],
        )
        self.assertEqual(leader.leads[-1][0], False)
        cluster.cut.clear()
        leader.node = None
        cluster.start(leader.name)
        cluster.propose(b"again")
        self.assertIn(b"again", cluster.settle())

    def test_restart_keeps_its_cluster(self) -> None:
        """S28 R35: flags of another cluster or member are refused; with the old ones the folder founds nothing new."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        member = cluster.members["a"]
        incarnation = node_of(member).identity
        cluster.kill("a")
        self.assertRaises(WrongCluster, cluster.start, "a", cluster_id=b"x" * 16)
        cluster.kill("a")
        cluster.start("a")
        self.assertEqual(node_of(member).identity, incarnation)
        self.assertEqual(cluster.settle(), (b"one",))

    def test_corrupt_vote_refuses(self) -> None:
        """R04: with both copies of term and vote damaged the member does not start."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.kill("a")
        disk = cluster.members["a"].host.disk
        for offset in (0, 4096):
            disk.flip_bits("/raft/term-and-vote", offset + 5)
        self.assertRaises(StorageCorrupt, cluster.start, "a")


class CutTests(SynchronousTestCase):
    """A leader without its majority."""

    def test_isolated_leader(self) -> None:
        """S25 R10: a leader cut off answers no read and acknowledges nothing; its proposal ends as unknown."""
        cluster = Cluster()
        cluster.propose(b"one")
        former = cluster.leader()
        cluster.isolate(former.name)
        write, read = outcome(node_of(former).propose(b"lost")), outcome(node_of(former).read_index())
        cluster.world.run(2.0)
        self.assertEqual([type(result) for result in (*write, *read)], [OutcomeUnknown, NotLeader])
        self.assertEqual(former.leads[-1][0], False)
        self.assertIsNot(cluster.leader(), former)
        cluster.propose(b"two")
        cluster.cut.clear()
        self.assertEqual(cluster.settle(), (b"one", b"two"))

    def test_refused_is_not_unknown(self) -> None:
        """R46: what was refused was never appended: it never appears."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        other = next(m for m in cluster.members.values() if m is not leader)
        refused = outcome(node_of(other).propose(b"refused"))
        cluster.world.run(3.0)
        self.assertIsInstance(refused[0], NotLeader)
        self.assertEqual(cluster.settle(), (b"one",))

    def test_read_index(self) -> None:
        """R47: a read fires with an index at which the local state machine holds every acknowledged write."""
        cluster = Cluster()
        for number in range(5):
            cluster.propose(b"%d" % number)
            leader = cluster.leader()
            index = cluster.world.run_until(node_of(leader).read_index())
            self.assertEqual(len(leader.store.now[1]), number + 1)
            self.assertLessEqual(index or 0, leader.store.now[0].index)

    def test_stall(self) -> None:
        """R11: a follower whose loop stood still longer than an election time-out does not campaign at once."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        follower = next(m for m in cluster.members.values() if m is not leader)
        cluster.world.run(0.2)
        del cluster.sent[:]
        running_of(follower).tick(25)
        cluster.world.run(1.0)
        asked = [payload for sender, _, payload in cluster.sent if sender == follower.name and payload[5] == 1]
        self.assertEqual(asked, [])
        self.assertIs(cluster.leader(), leader)

    def test_garbage(self) -> None:
        """R64: bytes that are no message are dropped; the node goes on."""
        cluster = Cluster()
        leader = cluster.leader()
        for payload in (b"", b"\x01", bytes(100), b"\xff" * 2_000_000):
            node_of(leader).receive("b", payload)
        self.assertEqual(cluster.propose(b"one"), b"1")

    def test_lossy_links(self) -> None:
        """R24: with a fifth of all messages lost every acknowledged write is applied once everywhere."""
        cluster = Cluster(7)
        cluster.drop_share = 0.2
        acknowledged = []
        for number in range(60):
            answer = outcome(node_of(cluster.leader()).propose(b"%d" % number))
            cluster.world.run_until(lambda found=answer: found, 30.0)  # type: ignore[misc]
            if isinstance(answer[0], bytes):
                acknowledged.append(b"%d" % number)
        cluster.drop_share = 0.0
        state = cluster.settle()
        self.assertGreater(len(acknowledged), 40)
        self.assertEqual([payload for payload in state if payload in acknowledged], acknowledged)
        self.assertEqual(len(set(state)), len(state))


class DiskTests(SynchronousTestCase):
    """Disks that fail, stall and fill up."""

    def test_failed_sync_stops_the_node(self) -> None:
        """S31 R27: a failed sync ends the node for good, its proposal is unknown, and nothing is synced again."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        leader.host.disk.inject("sync", "/raft/log-")
        answer = outcome(node_of(leader).propose(b"two"))
        cluster.world.run(0.5)
        self.assertEqual([failure.type for failure in leader.fatal], [StorageFailed])
        self.assertIsInstance(answer[0], OutcomeUnknown)
        self.assertEqual(len(self.flushLoggedErrors(StorageFailed)), 1)
        before = len([sender for sender, _, _ in cluster.sent if sender == leader.name])
        cluster.world.run(2.0)
        self.assertEqual(len([sender for sender, _, _ in cluster.sent if sender == leader.name]), before)
        self.assertIsNot(cluster.leader(), leader)
        cluster.world.run_until(node_of(leader).stop())
        self.assertEqual(len(leader.fatal), 1)

    def test_nothing_is_acknowledged_before_the_sync(self) -> None:
        """R01 R16: with the followers' disks failing at every sync nothing is ever acknowledged."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        for member in cluster.members.values():
            if member is not leader:
                member.host.disk.inject("sync", "/raft/log-", count=None)
        answer = outcome(node_of(leader).propose(b"two"))
        cluster.world.run(3.0)
        self.assertIsInstance(answer[0], OutcomeUnknown)
        self.assertEqual(len(self.flushLoggedErrors(StorageFailed)), 2)

    def test_slow_disk(self) -> None:
        """R12: a leader whose sync takes longer than an election time-out steps down and lets others lead."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        leader.host.disk.slowness = 20_000.0
        node_of(leader).propose(b"slow").addErrback(lambda _: None)  # type: ignore[unused-awaitable]
        cluster.world.run(3.0)
        self.assertIsNot(cluster.leader(), leader)
        leader.host.disk.slowness = 1.0
        cluster.propose(b"two")
        self.assertIn(b"two", cluster.settle(timeout=60.0))

    def test_full_disk(self) -> None:
        """R32: a member whose disk is full acknowledges nothing, steps aside, and goes on when there is room."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        disk = leader.host.disk
        capacity, disk.capacity = disk.capacity, disk.used
        node_of(leader).propose(b"x" * 40_000).addErrback(lambda _: None)  # type: ignore[unused-awaitable]
        cluster.world.run(3.0)
        self.assertEqual(leader.fatal, [])
        self.assertIsNot(cluster.leader(), leader)
        cluster.propose(b"two")
        disk.capacity = capacity
        self.assertIn(b"two", cluster.settle(timeout=60.0))

    def test_idle_log_is_marked(self) -> None:
        """R29 S30: once the log has been idle, damage to its last committed entry stops the restart."""
        cluster = Cluster(count=1)
        cluster.propose(b"the last one")
        cluster.world.run(3.0)
        cluster.kill("a")
        disk = cluster.members["a"].host.disk
        file = disk.open("/raft/log-0000000000000001")
        offset = file.pread(file.size(), 0).index(b"the last one")
        file.close()
        disk.flip_bits("/raft/log-0000000000000001", offset)
        self.assertRaises(StorageCorrupt, cluster.start, "a")

    def test_full_disk_while_idle(self) -> None:
        """R32: a full disk that keeps the commit marker from being written stops nobody."""
        cluster = Cluster(count=1, segment_length=2048)
        cluster.propose(b"x" * 1000)
        disk = cluster.members["a"].host.disk
        capacity, disk.capacity = disk.capacity, disk.used
        cluster.world.run(5.0)
        disk.capacity = capacity
        self.assertEqual(cluster.propose(b"more"), b"2")
        self.assertEqual(cluster.members["a"].fatal, [])

    def test_failed_state_machine_stops_the_node(self) -> None:
        """A state machine that cannot apply ends the node; the others go on."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        leader.store.fail_apply = True
        answer = outcome(node_of(leader).propose(b"two"))
        cluster.world.run(3.0)
        self.assertEqual([failure.type for failure in leader.fatal], [OSError])
        self.assertIsInstance(answer[0], OutcomeUnknown)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertIn(b"two", cluster.leader().store.now[1])

    def test_disk_error_at_start(self) -> None:
        """A disk that fails while the folder is opened refuses the start."""
        cluster = Cluster(start=False)
        cluster.members["a"].host.disk.inject("sync", "/raft", DiskError)
        self.assertRaises(StorageFailed, cluster.start, "a")
