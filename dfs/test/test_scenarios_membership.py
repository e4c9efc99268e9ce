"""Membership of the metadata cluster in simulation: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class MembershipScenarios(ScenarioCase):
    """Stories of who belongs."""

    def test_the_metadata_cluster_grows_and_shrinks(self) -> None:
        """From one member to three and five, and back by removing the leader each time, while files are uploaded: no
        upload fails and nothing is lost (S24, R51, R53, R54, R55)."""
        self.play("S24", "the metadata cluster grows and shrinks")

    def test_every_founder_is_replaced(self) -> None:
        """One by one every founder is replaced, while files are uploaded: clients and chunk servers that knew the
        founders alone go on, and everything is there (S24, R54, R55)."""
        self.play("S24", "every founder is replaced")

    def test_a_planned_restart_of_leaders(self) -> None:
        """Leaders are stopped by SIGTERM, one after the other, under writes: leadership is handed over, and no write
        waits for an election time-out (S24, R58)."""
        self.play("S24", "a planned restart of leaders")

    def test_reads_of_any_member(self) -> None:
        """A reader asks any member, while files come, leaders are killed and members are cut off: every list has all
        that was acknowledged before it was asked for, and nothing that it had is missing later (S25, R47, R49)."""
        self.play("S25", "reads of any member")

    def test_one_key_two_clusters(self) -> None:
        """A second cluster is founded under the same key by another member list, at an address that the chunk servers
        were given too: they stay with the one that they met first, also when they start again while it is away
        (S28)."""
        self.play("S28", "one key, two clusters")

    def test_a_restart_with_join(self) -> None:
        """A member that joined restarts with --join still on its command line, alone and then with the others: it is
        the member that it was, and founds nothing; one that was never let in founds nothing either (S28)."""
        self.play("S28", "a restart with --join")

    def test_a_lost_member_is_replaced(self) -> None:
        """A member's machine is lost with its disk.  A wiped folder under its name is not listened to and does not
        vote; the member is removed, its name is used up, another one takes its place by a snapshot, and one more may
        fail (S32, R35, R54, R56)."""
        self.play("S32", "a lost member is replaced")

    def test_a_members_tables_are_lost(self) -> None:
        """A member loses its tables, not its log, after the log was compacted: it starts, votes and stores meanwhile,
        and gets its tables back by a snapshot from the leader (S32, R39)."""
        self.play("S32", "a member's tables are lost")

    def test_a_member_is_removed_behind_its_back(self) -> None:
        """A member is cut off while it is removed, and comes back: it disturbs nobody, hears of it, and ends; started
        again it says so at once (S35, R57)."""
        self.play("S35", "a member is removed behind its back")

    def test_a_removal_that_would_stop_the_cluster(self) -> None:
        """With one of three dead no live member can be removed, and one that was let in and never came can; an
        operator's repeated command changes nothing (S35, R54, R56)."""
        self.play("S35", "a removal that would stop the cluster")
