"""Judging silence, leases and time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.answers import LEASE_MS
from dfs.metaserver.clustertime import ClusterClock
from dfs.metaserver.leases import MAX_ENDED, RETRY_MS, LeaseTable
from dfs.metaserver.liveness import Beat, Liveness
from dfs.metaserver.machine import MAX_STEP_MS
from dfs.protocol.errors import StaleEpoch, UploadGone
from dfs.protocol.values import NodeState

ONE, TWO, THREE = b"1" * 16, b"2" * 16, b"3" * 16


class LivenessTests(SynchronousTestCase):
    """Suspect, dead, back."""

    def setUp(self) -> None:
        self.liveness = Liveness(10.0, 30.0)

    def test_new_leader_gives_the_full_time(self) -> None:
        """Nobody is judged before it had the whole time-out to speak to this leader (S02)."""
        self.liveness.known(1, False, 1000.0)
        self.assertEqual(self.liveness.state(1, 1009.9), NodeState.ALIVE)
        self.assertEqual(self.liveness.newly_dead(1029.9), ())
        self.assertEqual(self.liveness.newly_dead(1030.0), (1,))

    def test_other_words_count(self) -> None:
        """A page of an inventory shows that a node lives, as a beat does; it brings no dead one back (S02, S03)."""
        self.liveness.registered(1, ONE, 0.0)
        self.liveness.spoke(1, 25.0)
        self.assertEqual(self.liveness.newly_dead(54.0), ())
        self.liveness.known(1, True, 60.0)
        self.liveness.spoke(1, 61.0)
        self.assertEqual(self.liveness.state(1, 61.0), NodeState.DEAD)

    def test_suspect_then_dead(self) -> None:
        """Silence makes a node suspect, then dead once that is recorded; it is proposed until it is."""
        self.liveness.registered(1, ONE, 0.0)
        self.assertEqual(self.liveness.heard(1, ONE, 5.0), Beat.OK)
        self.assertEqual(self.liveness.state(1, 15.0), NodeState.SUSPECT)
        self.assertEqual(self.liveness.newly_dead(35.0), (1,))
        self.assertEqual(self.liveness.state(1, 35.0), NodeState.SUSPECT)
        self.assertEqual(self.liveness.newly_dead(36.0), (1,))
        self.liveness.known(1, True, 36.0)
        self.assertEqual(self.liveness.state(1, 36.0), NodeState.DEAD)
        self.assertEqual(self.liveness.newly_dead(90.0), ())

    def test_dead_node_beats(self) -> None:
        """A node that was declared dead and still beats is to be declared alive (S03)."""
        self.liveness.registered(1, ONE, 0.0)
        self.liveness.known(1, True, 40.0)
        self.assertEqual(self.liveness.heard(1, ONE, 41.0), Beat.RETURNED)
        self.liveness.known(1, False, 42.0)
        self.assertEqual(self.liveness.heard(1, ONE, 43.0), Beat.OK)
        self.assertEqual(self.liveness.state(1, 43.0), NodeState.ALIVE)

    def test_return_gives_the_full_time(self) -> None:
        """A return that somebody else recorded starts the node's time anew."""
        self.liveness.known(1, True, 0.0)
        self.liveness.known(1, False, 100.0)
        self.assertEqual(self.liveness.newly_dead(101.0), ())

    def test_unknown_must_register(self) -> None:
        """Who never registered with this leader, or runs as another process since, is asked to register."""
        self.assertEqual(self.liveness.heard(9, ONE, 0.0), Beat.REGISTER)
        self.liveness.known(1, False, 0.0)
        self.assertEqual(self.liveness.heard(1, ONE, 1.0), Beat.REGISTER)

    def test_one_folder_two_processes(self) -> None:
        """Of two processes on one folder the last one to register counts; the other's beats are a conflict (S19)."""
        self.liveness.registered(1, ONE, 0.0)
        self.liveness.registered(1, TWO, 1.0)
        self.assertEqual(self.liveness.heard(1, ONE, 2.0), Beat.CONFLICT)
        self.assertEqual(self.liveness.heard(1, TWO, 2.0), Beat.OK)
        self.liveness.registered(1, THREE, 3.0)
        self.assertEqual(self.liveness.heard(1, TWO, 4.0), Beat.CONFLICT)


    def test_own_stall_is_nobodys_silence(self) -> None:
        """After this node stood still everybody has the time that was left (S02)."""
        self.liveness.registered(1, ONE, 0.0)
        self.liveness.stood_still(40.0, 45.0)
        self.assertEqual(self.liveness.newly_dead(69.9), ())
        self.assertEqual(self.liveness.newly_dead(70.0), (1,))
        self.liveness.stood_still(40.0, 71.0)
        self.assertEqual(self.liveness.newly_dead(100.9), ())
        self.assertEqual(self.liveness.newly_dead(101.0), (1,))


class LeaseTests(SynchronousTestCase):
    """S40."""

    def setUp(self) -> None:
        self.leases = LeaseTable(ttl_ms=1_000_000)
        self.leases.granted(7, 1, 0)

    def test_renewed(self) -> None:
        """A renewed upload does not expire; one that is not expires its term after its last renewal, once."""
        self.assertEqual(self.leases.renew(7, 1, 900_000), LEASE_MS)
        self.assertEqual(self.leases.expired(1_000_000 + LEASE_MS), [])
        due = 900_000 + LEASE_MS + 1_000_000
        self.assertEqual(self.leases.expired(due - 1), [])
        self.assertEqual(self.leases.expired(due), [(7, 1)])
        self.assertEqual(self.leases.expired(due), [])

    def test_failed_expiry_is_repeated(self) -> None:
        """An expiry whose command failed is proposed again (S12)."""
        due = LEASE_MS + 1_000_000
        self.leases.expired(due)
        self.assertEqual(self.leases.expired(due + RETRY_MS), [(7, 1)])
        self.leases.ended(7)
        self.assertEqual(self.leases.expired(due + 10 * RETRY_MS), [])
        self.assertEqual(len(self.leases), 0)

    def test_fenced(self) -> None:
        """The former writer's renewal is refused after a resume, and everybody's after the end."""
        self.leases.granted(7, 2, 10)
        with self.assertRaises(StaleEpoch):
            self.leases.renew(7, 1, 20)
        self.leases.ended(7)
        with self.assertRaises(UploadGone):
            self.leases.renew(7, 2, 30)

    def test_ended_uploads_are_forgotten(self) -> None:
        """The heap stays within twice the living uploads and a constant, however many came and went (S37)."""
        for file_id in range(100, 10_100):
            self.leases.granted(file_id, 1, 0)
            self.leases.ended(file_id)
        self.assertLessEqual(len(self.leases._heap), 2 + MAX_ENDED + 1)
        self.assertEqual(self.leases.expired(2_000_000), [(7, 1)])

    def test_many(self) -> None:
        """At most the limit at a time, all in the end."""
        for file_id in range(100, 350):
            self.leases.granted(file_id, 1, 5)
        found: list[int] = []
        while page := self.leases.expired(2_000_000, 100):
            self.assertLessEqual(len(page), 100)
            found += [file_id for file_id, _ in page]
        self.assertEqual(sorted(found), [7, *range(100, 350)])


class ClusterClockTests(SynchronousTestCase):
    """S34."""

    def test_reckons(self) -> None:
        """From what was applied on, with the monotonic clock, never back."""
        clock = ClusterClock(5_000, 100.0)
        self.assertEqual(clock.now_ms(101.5), 6_500)
        self.assertEqual(clock.now_ms(101.0), 6_500)
        clock.applied(6_000, 102.0)
        self.assertEqual(clock.now_ms(102.0), 7_000)

    def test_stopped_for_an_hour(self) -> None:
        """A process that slept comes back to what is applied: an hour of sleep is no hour of cluster time."""
        clock = ClusterClock(0, 0.0)
        self.assertEqual(clock.now_ms(3600.0), 3_600_000)
        clock.applied(MAX_STEP_MS, 3600.0)
        self.assertEqual(clock.now_ms(3601.0), MAX_STEP_MS + 1_000)

    def test_state_is_ahead(self) -> None:
        """A state that is ahead of the reckoning is followed at once."""
        clock = ClusterClock(0, 0.0)
        clock.applied(9_000, 1.0)
        self.assertEqual(clock.now_ms(1.0), 9_000)
