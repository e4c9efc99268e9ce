"""The shell: members come and go while entries are proposed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.errors import NameUsedBefore, NotCaughtUp, OutcomeUnknown, StorageCorrupt, UnknownMember, WouldLoseQuorum
from dfs.raft.membership import AddLearner, Change, Configuration, Promote, Remove
from dfs.raft.test.shells import Cluster, Store, node_of, outcome

SMALL: dict[str, Any] = {"trailing_entries": 3, "sync_interval": 0.1, "piece_length": 64, "segment_length": 1 << 11}


class Growing(SynchronousTestCase):
    """What the cases below share."""

    def grow(self, cluster: Cluster, *names: str) -> None:
        """Let each in as a learner, then as a voter."""
        for name in names:
            cluster.join(name)
            cluster.change(AddLearner(name, f"{name}:1"))
            cluster.change(Promote(name))

    def refused(self, cluster: Cluster, change: Change) -> object:
        """What the leader answers at once."""
        found = outcome(node_of(cluster.leader()).change(change))
        cluster.world.run_until(lambda: found, 5.0)
        return found[0]


class MembershipTests(Growing):
    """Growing, shrinking, replacing."""

    def test_one_to_three_to_five_and_back(self) -> None:
        """R51 R54 R55: a cluster of one grows to five and shrinks to one, while every entry is kept."""
        cluster = Cluster(count=1)
        acknowledged: list[bytes] = []

        def write() -> None:
            for _ in range(5):
                acknowledged.append(b"%d" % len(acknowledged))
                cluster.propose(acknowledged[-1])

        write()
        for name in "bcde":
            self.grow(cluster, name)
            write()
        self.assertEqual(node_of(cluster.leader()).configuration().voters, tuple("abcde"))
        for name in "abcd":
            cluster.change(Remove(name))
            write()
            cluster.world.run_until(node_of(cluster.members[name]).when_removed(), 10.0)
            cluster.world.run_until(node_of(cluster.members[name]).stop())
            cluster.kill(name)
        self.assertEqual(node_of(cluster.leader()).configuration().voters, ("e",))
        self.assertEqual(cluster.settle(["e"]), tuple(acknowledged))

    def test_a_dead_member_is_replaced(self) -> None:
        """R54 R56: a dead voter makes room for a new one under a new name, and all restart into what they became."""
        cluster = Cluster()
        cluster.propose(b"one")
        dead = next(m for m in cluster.members.values() if m is not cluster.leader()).name
        cluster.kill(dead)
        cluster.world.run(1.0)
        cluster.change(Remove(dead))
        self.grow(cluster, "d")
        cluster.propose(b"two")
        voters = tuple(sorted({*"abcd"} - {dead}))
        for name in voters:
            cluster.crash(name)
        for name in voters:
            cluster.start(name)
        cluster.propose(b"three")
        self.assertEqual(cluster.settle(voters), (b"one", b"two", b"three"))
        for name in voters:
            self.assertEqual(node_of(cluster.members[name]).status().members, voters)
            self.assertEqual(node_of(cluster.members[name]).configuration().removed, (dead,))

    def test_refusals(self) -> None:
        """R35 R54 R56: what may not be is refused with its own error, and nothing changes."""
        cluster = Cluster()
        cluster.propose(b"one")
        leader = cluster.leader()
        other, dead = (member.name for member in cluster.members.values() if member is not leader)
        for change, error in (
            (Promote("x"), UnknownMember),
            (Remove("x"), UnknownMember),
            (AddLearner(other, "elsewhere:1"), NameUsedBefore),
        ):
            self.assertIsInstance(self.refused(cluster, change), error)
        cluster.kill(dead)
        cluster.world.run(1.0)
        self.assertIsInstance(self.refused(cluster, Remove(other)), WouldLoseQuorum)
        self.assertIsInstance(self.refused(cluster, Remove(leader.name)), WouldLoseQuorum)
        cluster.change(AddLearner("d", "d:1"))
        self.assertIsInstance(self.refused(cluster, Promote("d")), NotCaughtUp)
        cluster.change(Remove("d"))
        self.assertIsInstance(self.refused(cluster, AddLearner("d", "d:1")), NameUsedBefore)
        self.assertEqual(node_of(cluster.leader()).configuration().members, ("a", "b", "c"))

    def test_a_change_may_be_repeated(self) -> None:
        """R51: asking again for what is so already is answered with the configuration, and appends nothing."""
        cluster = Cluster()
        self.grow(cluster, "d")
        cluster.change(AddLearner("e", "e:1"))
        cluster.change(Remove("e"))
        leader = node_of(cluster.leader())
        last = leader.status().last_index
        for change in (AddLearner("d", "d:1"), Promote("d"), Remove("e")):
            found = self.refused(cluster, change)
            assert isinstance(found, Configuration), found
            self.assertEqual(found.voters, ("a", "b", "c", "d"))
        self.assertEqual(leader.status().last_index, last)

    def test_a_deposed_leader_confirms_nothing(self) -> None:
        """R46 R51: a leader that was cut off neither says that a change is done nor that it is so already."""
        cluster = Cluster()
        cluster.propose(b"one")
        former = cluster.leader()
        cluster.isolate(former.name)
        again = outcome(node_of(former).change(AddLearner(former.name, f"{former.name}:1")))
        begun = outcome(node_of(former).change(AddLearner("d", "d:1")))
        cluster.world.run(3.0)
        self.assertIsInstance(begun[0], OutcomeUnknown)
        self.assertNotIsInstance(again[0], Configuration)
        cluster.cut.clear()
        cluster.world.run(1.0)
        self.assertEqual(node_of(former).configuration().members, ("a", "b", "c"))

    def test_an_inherited_change_ends(self) -> None:
        """R10 R46 R62: one who repeats a change waits for the entry of a former leader; a leader that steps down
        before that is committed says that its outcome is unknown."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        former = cluster.leader()
        heir, other = [member for member in cluster.members.values() if member is not former]
        cluster.cut |= {(heir.name, former.name), (former.name, other.name), (other.name, former.name)}
        outcome(node_of(former).change(AddLearner("d", "d:1")))
        cluster.world.run(0.05)
        self.assertEqual(node_of(heir).configuration().learners, ("d",))
        cluster.kill(former.name)
        cluster.world.run_until(lambda: node_of(heir).status().role == "leader", 20.0)
        cluster.cut |= {(other.name, heir.name)}
        again = outcome(node_of(heir).change(AddLearner("d", "d:1")))
        cluster.world.run(3.0)
        self.assertNotEqual(node_of(heir).status().role, "leader")
        self.assertEqual([type(one) for one in again], [OutcomeUnknown])

    def test_a_removed_member_is_told(self) -> None:
        """R57: one that was down while it was removed campaigns in vain after its return, disturbs nobody, is told, and
        does not come back after a restart either."""
        cluster = Cluster(4)
        cluster.propose(b"one")
        leader = cluster.leader()
        gone = next(m for m in cluster.members.values() if m is not leader)
        cluster.kill(gone.name)
        cluster.world.run(1.0)
        cluster.change(Remove(gone.name))
        cluster.world.run(20.0)
        term = node_of(leader).status().term
        cluster.start(gone.name)
        for name in cluster.members:
            cluster.reached[name] = dict.fromkeys(cluster.members, "")  # as if somebody still had a link to it
        told = outcome(node_of(gone).when_removed())
        cluster.world.run(5.0)
        self.assertEqual((told, node_of(gone).status().removed), ([None], True))
        self.assertEqual((cluster.leader(), node_of(leader).status().term), (leader, term))
        del cluster.sent[:]
        cluster.world.run(5.0)
        self.assertEqual([one for one in cluster.sent if one[0] == gone.name and one[2][5] == 1], [])

    def test_contacts_reach_the_transport(self) -> None:
        """R53: the transport is told whom to reach as soon as a configuration counts; flags say where founders are."""
        cluster = Cluster()
        cluster.propose(b"one")
        founders = {name: f"{name}:1" for name in "abc"}
        self.assertEqual(cluster.reached[cluster.leader().name], founders)
        self.grow(cluster, "d")
        cluster.settle()
        for name in "abcd":
            self.assertEqual(cluster.reached[name], {**founders, "d": "d:1"})
        cluster.change(Remove("d"))
        cluster.world.run(10.0)
        for name in "abc":
            self.assertEqual(cluster.reached[name], founders)


class SnapshotTests(Growing):
    """Snapshots, restarts and changes, which is where implementations died."""

    def test_a_newcomer_gets_a_snapshot(self) -> None:
        """R38 R52: with the log compacted a newcomer learns who belongs from the snapshot, and keeps it over a crash;
        the flag that says join means nothing to a folder that holds a log (S28)."""
        cluster = Cluster(count=1, **SMALL)
        self.grow(cluster, "b", "c")
        for number in range(30):
            cluster.propose(b"entry %d" % number)
        cluster.world.run(1.0)
        self.grow(cluster, "d")
        for number in range(20):
            cluster.propose(b"more %d" % number)
        cluster.settle()
        cluster.world.run(1.0)
        for name in "abcd":
            cluster.crash(name)
        for name in "abcd":
            cluster.start(name)
            self.assertEqual(node_of(cluster.members[name]).configuration().voters, tuple("abcd"))
        cluster.propose(b"after")
        self.assertEqual(len(cluster.settle()), 51)

    def test_power_cuts_at_each_operation_of_a_newcomer(self) -> None:
        """R37 R38 S28: a newcomer whose power is cut at any operation of its disk, the switch to its snapshot among
        them, starts again, knows who belongs, and catches up."""
        for at in range(1, 90, 2):
            cluster = Cluster(at, count=1, **SMALL)
            self.grow(cluster, "b")
            for number in range(20):
                cluster.propose(b"entry %d" % number)
            cluster.world.run(0.5)
            newcomer = cluster.join("c", wait=False)
            newcomer.host.disk.crash_at(at)
            cluster.change(AddLearner("c", "c:1"))
            cluster.world.run(6.0)
            newcomer.host.disk.crash_at(None)
            if not newcomer.host.up:
                newcomer.node = None
                cluster.start("c")
            cluster.propose(b"after")
            self.assertEqual(len(cluster.settle()), 21, f"at {at}")
            cluster.change(Promote("c"))
            cluster.world.run(0.2)
            self.assertEqual(node_of(newcomer).configuration().voters, ("a", "b", "c"), f"at {at}")

    def test_a_switch_without_its_log(self) -> None:
        """R38 R39: power goes between the switch of the tables to a snapshot and the log's new beginning: the next
        start still knows who belonged as of the snapshot."""
        seen = 0
        for at in range(60):
            cluster = Cluster(7, count=1, **SMALL)
            self.grow(cluster, "b", "c")
            behind = cluster.members["c" if cluster.leader().name != "c" else "b"]
            cluster.kill(behind.name)
            cluster.change(AddLearner("d", "d:1"))
            for number in range(20):
                cluster.propose(b"entry %d" % number)
            cluster.world.run(1.0)
            cluster.start(behind.name)
            durable = behind.store.durable[0].index
            cluster.world.run_until(lambda m=behind, d=durable: m.store.durable[0].index > d, 10.0)  # type: ignore[misc]
            cluster.world.run(at * 0.0001)
            cluster.crash(behind.name)
            cluster.start(behind.name)
            seen += (node_of(behind).status().applied_index, node_of(behind).configuration().learners) == (
                behind.store.durable[0].index,
                ("d",),
            )
            self.assertEqual(node_of(behind).configuration().learners, ("d",))
            if at % 20 == 0:
                cluster.propose(b"after")
                self.assertEqual(len(cluster.settle(["a", "b", "c"])), 21)
        self.assertGreater(seen, 0)

    def test_lost_tables(self) -> None:
        """R35 R39: a member whose tables are lost, its log and votes being whole, votes and stores, and applies only
        after a snapshot was installed."""
        cluster = Cluster(**SMALL)
        for number in range(20):
            cluster.propose(b"%d" % number)
        cluster.world.run(1.0)
        lost = next(m for m in cluster.members.values() if m is not cluster.leader())
        cluster.kill(lost.name)
        lost.store = Store()
        cluster.isolate(lost.name)
        cluster.start(lost.name)
        cluster.world.run(3.0)
        self.assertEqual((lost.store.now[1], node_of(lost).status().role), ((), "follower"))
        cluster.cut.clear()
        cluster.propose(b"after")
        self.assertEqual(len(cluster.settle()), 21)

    def test_lost_tables_of_the_only_voter(self) -> None:
        """R39: nobody can send the only voter a snapshot: it is refused with a sentence."""
        cluster = Cluster(count=1, **SMALL)
        for number in range(20):
            cluster.propose(b"%d" % number)
        cluster.world.run(1.0)
        cluster.kill("a")
        cluster.members["a"].store = Store()
        self.assertIn("no other voter", str(self.assertRaises(StorageCorrupt, cluster.start, "a")))

    def test_a_lost_log_beside_tables(self) -> None:
        """R35: a new folder for the log beside tables that hold something is refused, and founds nothing."""
        cluster = Cluster()
        cluster.propose(b"one")
        cluster.settle()
        cluster.world.run(11.0)
        cluster.kill("a")
        cluster.members["a"].host.restart()
        cluster.members["a"].host.disk.remove_tree("/raft")
        self.assertIn("must not vote", str(self.assertRaises(StorageCorrupt, cluster.start, "a")))
        self.assertFalse(cluster.members["a"].host.disk.exists("/raft/identity"))

    def test_tables_from_elsewhere(self) -> None:
        """R35: tables beyond the log's end, which no snapshot brought, contradict it."""
        cluster = Cluster()
        for number in range(5):
            cluster.propose(b"%d" % number)
        cluster.settle()
        cluster.world.run(11.0)
        cluster.kill("a")
        store = cluster.members["a"].store
        mark, payloads = store.durable
        store.durable = type(mark)(mark.index + 50, mark.term), payloads
        self.assertIn("contradicts", str(self.assertRaises(StorageCorrupt, cluster.start, "a")))
