"""The shell: leadership handed over, reads on followers, the mark of a failed sync."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.codec import decode_message
from dfs.raft.errors import NotLeader, OutcomeUnknown, StorageFailed, TransferFailed, UnknownMember
from dfs.raft.membership import AddLearner, Remove
from dfs.raft.messages import AppendRequest
from dfs.raft.test.shells import Cluster, Member, Store, node_of, outcome
from dfs.raft.test.test_node_membership import SMALL

KIND = 5  # the offset of a message's kind
VOTE_REQUEST, SNAPSHOT_PIECE, TIMEOUT_NOW, READ_REQUEST = 1, 5, 7, 8


def followers(cluster: Cluster) -> list[Member]:
    leader = cluster.leader()
    return [member for member in cluster.members.values() if member is not leader]


def lose(cluster: Cluster, name: str, kind: int) -> Callable[[], None]:
    """Lose all messages of ``kind`` on their way to a member, until what is returned is called."""
    carry = cluster.carry

    def carry_others(sender: str, member: str, payload: bytes) -> None:
        if member != name or payload[KIND] != kind:
            carry(sender, member, payload)

    cluster.carry = carry_others  # type: ignore[method-assign]
    return partial(setattr, cluster, "carry", carry)


def without_tables() -> tuple[Cluster, Member]:
    """A cluster, and the follower first by name: it lost its tables, which no snapshot replaces, and not its log."""
    cluster = Cluster(**SMALL)
    for number in range(20):
        cluster.propose(b"%d" % number)
    cluster.settle()
    cluster.world.run(1.0)
    lost = followers(cluster)[0]
    cluster.kill(lost.name)
    lost.store = Store()
    lose(cluster, lost.name, SNAPSHOT_PIECE)
    cluster.start(lost.name)
    cluster.world.run(2.0)
    return cluster, lost


class TransferTests(SynchronousTestCase):
    """R58."""

    def test_to_a_member(self) -> None:
        """R58: leadership goes to the member asked for within a tenth of an election time-out, in one election, and
        proposals made meanwhile are answered or refused, none lost without a word."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        former, target = cluster.leader(), followers(cluster)[1]
        term = node_of(former).status().term
        began = cluster.world.clock.seconds()
        moved = outcome(node_of(former).transfer(target.name))
        waiting = [outcome(node_of(former).propose(b"during %d" % number)) for number in range(3)]
        cluster.world.run_until(lambda: moved, 5.0)
        self.assertEqual(moved, [target.name])
        self.assertLess(cluster.world.clock.seconds() - began, 0.05)
        self.assertEqual(node_of(target).status().term, term + 1)
        cluster.world.run(0.1)
        for found in waiting:
            self.assertTrue(found and isinstance(found[0], bytes | NotLeader), found)
        cluster.propose(b"two")
        state = cluster.settle()
        for number, found in enumerate(waiting):
            self.assertEqual(b"during %d" % number in state, isinstance(found[0], bytes))

    def test_target_is_gone(self) -> None:
        """R58: with the target cut off proposals wait for at most an election time-out; then this leader goes on."""
        cluster = Cluster()
        cluster.propose(b"one")
        former, target = cluster.leader(), followers(cluster)[0]
        cluster.cut |= {(former.name, target.name), (target.name, former.name)}
        moved = outcome(node_of(former).transfer(target.name))
        held = outcome(node_of(former).propose(b"held"))
        cluster.world.run(0.2)
        self.assertEqual((held, moved), ([], []))
        cluster.world.run_until(lambda: held, 0.55)
        self.assertEqual(held, [b"2"])
        self.assertIsInstance(moved[0], TransferFailed)
        self.assertIs(cluster.leader(), former)

    def test_refusals(self) -> None:
        """R58: to a stranger, a learner or the dead, and on a follower, it is refused; to oneself it is done."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = node_of(cluster.leader())
        other, dead = followers(cluster)
        cluster.change(AddLearner("d", "d:1"))
        cluster.kill(dead.name)
        cluster.world.run(1.0)
        for node, to, error in (
            (leader, "x", UnknownMember),
            (leader, "d", UnknownMember),
            (leader, dead.name, TransferFailed),
            (node_of(other), None, NotLeader),
        ):
            self.assertIsInstance(outcome(node.transfer(to))[0], error)
        self.assertEqual(outcome(leader.transfer(leader.config.node)), [leader.config.node])

    def test_to_one_that_cannot_lead(self) -> None:
        """R58: to a voter that lost its tables, and so cannot campaign, it is refused at once, and no proposal waits,
        however often it is asked for."""
        cluster, lost = without_tables()
        former = cluster.leader()
        for _ in range(5):
            moved = outcome(node_of(former).transfer(lost.name))
            written = outcome(node_of(former).propose(b"not held"))
            self.assertIsInstance(moved[0], TransferFailed)
            self.assertIn("try again", str(moved[0]))
            cluster.world.run(0.05)
            self.assertIsInstance(written[0], bytes)
        self.assertIs(cluster.leader(), former)

    def test_goes_to_one_that_can_lead(self) -> None:
        """R58: whoever is found for it is a voter that can lead, not one that lost its tables, though that one holds
        the whole log; with no such voter it is refused, and a stop holds nothing up."""
        cluster, lost = without_tables()
        former = cluster.leader()
        other = next(member for member in followers(cluster) if member is not lost)
        moved = outcome(node_of(former).transfer())
        cluster.world.run(0.1)
        self.assertEqual(moved, [other.name])
        cluster.propose(b"under another leader")
        cluster.kill(former.name)
        cluster.world.run(0.7)
        self.assertIsInstance(outcome(node_of(other).transfer())[0], TransferFailed)
        began = cluster.world.clock.seconds()
        cluster.world.run_until(node_of(other).stop(), 5.0)
        self.assertLess(cluster.world.clock.seconds() - began, 0.05)

    def test_not_again_at_once(self) -> None:
        """R58: after a transfer was given up another one is refused for some election time-outs and holds no proposal:
        asked for without end, it leaves writes most of the time."""
        cluster = Cluster()
        cluster.propose(b"one")
        former, target = cluster.leader(), followers(cluster)[0]
        found_again = lose(cluster, target.name, TIMEOUT_NOW)
        moved = outcome(node_of(former).transfer(target.name))
        cluster.world.run_until(lambda: moved, 0.8)
        self.assertIsInstance(moved[0], TransferFailed)
        found_again()
        for _ in range(10):
            again = outcome(node_of(former).transfer(target.name))
            written = outcome(node_of(former).propose(b"not held"))
            self.assertIn("given up", str(again[0]))
            cluster.world.run(0.05)
            self.assertIsInstance(written[0], bytes)
        cluster.world.run(3.0)
        later = outcome(node_of(former).transfer(target.name))
        cluster.world.run(0.1)
        self.assertEqual(later, [target.name])

    def test_an_orderly_stop_costs_no_timeout(self) -> None:
        """R58: a leader that is stopped hands over first: another one leads and answers long before an election
        time-out went by."""
        cluster = Cluster()
        for number in range(3):
            cluster.propose(b"%d" % number)
            former = cluster.leader()
            began = cluster.world.clock.seconds()
            cluster.world.run_until(node_of(former).stop(), 5.0)
            former.node = None
            cluster.propose(b"after %d" % number)
            self.assertLess(cluster.world.clock.seconds() - began, 0.1)
            cluster.start(former.name)
            cluster.settle()

    def test_a_removed_leader_hands_over(self) -> None:
        """R55: a leader that removes itself leaves no gap either: the others have a leader at once."""
        cluster = Cluster()
        cluster.propose(b"one")
        former = cluster.leader()
        began = cluster.world.clock.seconds()
        removed = outcome(node_of(former).change(Remove(former.name)))
        cluster.world.run_until(lambda: removed and not former.leads[-1][0] and cluster.leader() is not former, 5.0)
        self.assertLess(cluster.world.clock.seconds() - began, 0.1)
        cluster.propose(b"two")
        self.assertEqual(former.name in node_of(cluster.leader()).configuration().members, False)


class FollowerReadTests(SynchronousTestCase):
    """R47 on members that do not lead."""

    def test_reads_reflect_all_that_was_acknowledged(self) -> None:
        """R47: a read on any member reflects each write acknowledged before it."""
        cluster = Cluster()
        for number in range(10):
            cluster.propose(b"%d" % number)
            member = list(cluster.members.values())[number % 3]
            cluster.world.run_until(node_of(member).read_index(), 5.0)
            self.assertEqual(len(member.store.now[1]), number + 1)

    def test_many_reads_are_one_message(self) -> None:
        """R47: all reads that wait on a follower are one message to the leader, and those that come meanwhile one."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        follower = followers(cluster)[0]
        del cluster.sent[:]
        first = [outcome(node_of(follower).read_index()) for _ in range(50)]
        cluster.world.run(0.0003)
        second = [outcome(node_of(follower).read_index()) for _ in range(50)]
        cluster.world.run(0.5)
        self.assertTrue(all(isinstance(found[0], int) for found in first + second))
        self.assertEqual(len([one for one in cluster.sent if one[2][KIND] == READ_REQUEST]), 2)

    def test_without_a_quorum(self) -> None:
        """R48: there are no leases: a leader that cannot reach a quorum, however fresh its last round, answers no
        read, its own or a follower's; both end within two election time-outs."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader, (near, far) = cluster.leader(), followers(cluster)
        cluster.world.run_until(node_of(leader).read_index(), 5.0)  # a round was answered this very moment
        for other in (near, far):
            cluster.cut.add((other.name, leader.name))
        reads = [outcome(node_of(member).read_index()) for member in (leader, near)]
        cluster.world.run(0.3)
        self.assertEqual(reads, [[], []])
        cluster.world.run(1.0)
        self.assertEqual([type(found[0]) for found in reads], [NotLeader, NotLeader])

    def test_lost_answers(self) -> None:
        """R47: with half of all messages lost each read on a follower ends within two election time-outs, and those
        that are answered reflect what was acknowledged."""
        cluster = Cluster(3)
        answered = 0
        for number in range(40):
            cluster.drop_share = 0.0
            cluster.propose(b"%d" % number)
            member = followers(cluster)[0]
            cluster.drop_share = 0.5
            found = outcome(node_of(member).read_index())
            cluster.world.run_until(lambda found=found: found, 2.5)  # type: ignore[misc]
            if isinstance(found[0], int):
                answered += 1
                self.assertEqual(len(member.store.now[1]), number + 1)
        self.assertGreater(answered, 10)

    def test_a_confirmed_read_ends(self) -> None:
        """R47 R62: a read that a quorum confirmed to a follower which does not get what it has to apply first ends
        within two election time-outs, and not before one."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        follower = followers(cluster)[0]
        carry = cluster.carry

        def without_entries(sender: str, member: str, payload: bytes) -> None:
            message = decode_message(payload)
            if member != follower.name or not isinstance(message, AppendRequest) or not message.entries:
                carry(sender, member, payload)

        cluster.carry = without_entries  # type: ignore[method-assign]
        cluster.propose(b"two")
        found = outcome(node_of(follower).read_index())
        cluster.world.run(0.02)
        cluster.isolate(follower.name)
        cluster.world.run(cluster.config("a").election_timeout)
        self.assertEqual(found, [])
        cluster.world.run(1.1 * cluster.config("a").election_timeout)
        self.assertEqual([type(one) for one in found], [NotLeader])


class SuspicionTests(SynchronousTestCase):
    """A disk that failed a sync."""

    def test_refused_until_a_reboot(self) -> None:
        """R27 S31: after a failed sync the member does not start again on the same kernel, whatever the disk says now;
        after a reboot it does, and catches up."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        leader.host.disk.inject("sync", "/raft/log-")
        answer = outcome(node_of(leader).propose(b"two"))
        cluster.world.run(0.5)
        self.assertIsInstance(answer[0], OutcomeUnknown)
        self.assertEqual(len(self.flushLoggedErrors(StorageFailed)), 1)
        cluster.world.run_until(node_of(leader).stop())
        self.assertIn("reboot", str(self.assertRaises(StorageFailed, cluster.start, leader.name)))
        cluster.kill(leader.name)
        self.assertIn("reboot", str(self.assertRaises(StorageFailed, cluster.start, leader.name)))
        cluster.crash(leader.name)
        cluster.start(leader.name)
        cluster.propose(b"three")
        self.assertIn(b"three", cluster.settle())
        self.assertEqual([name for name in leader.host.disk.list_folder("/raft") if name.startswith("sync")], [])
