"""Metadata and consensus in a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class ConsensusScenarios(ScenarioCase):
    """Stories of metadata servers."""

    def test_the_leader_dies_in_the_middle_of_a_hundred_uploads(self) -> None:
        """kill -9 of the leader in the middle of 100 concurrent uploads: each ends, acknowledged ones are intact
        (S24)."""
        self.play("S24", "the leader dies in the middle of a hundred uploads")

    def test_the_leader_is_cut_off(self) -> None:
        """The leader is cut off from the other members, but not from clients: it answers no read and acknowledges
        no write, while the others do (S25)."""
        self.play("S25", "the leader is cut off")

    def test_a_minority_serves_nothing(self) -> None:
        """With a minority of the metadata servers nothing is served, and a client is told so in time (S25)."""
        self.play("S25", "a minority serves nothing")

    def test_answers_are_lost(self) -> None:
        """The leader's answers to a client are held up, so the client asks again, over a new connection and of a
        new leader: each create, commit and delete takes effect once and is acknowledged (S26)."""
        self.play("S26", "answers are lost")

    def test_connections_break(self) -> None:
        """Answers of metadata take their time, and connections break again and again before they come: all
        operations take effect once (S26)."""
        self.play("S26", "connections break")

    def test_all_metadata_servers_die_at_once(self) -> None:
        """All metadata servers are killed at once, then all lose power at once: everything acknowledged is there
        (S27)."""
        self.play("S27", "all metadata servers die at once")

    def test_a_slow_follower_acknowledges(self) -> None:
        """A majority of the leader and a follower with a slow disk acknowledges, and both lose power at once; the
        leader stays away: the slow follower and the one that was cut off have everything that was acknowledged
        (S27)."""
        self.play("S27", "a slow follower acknowledges")

    def test_a_restart_with_the_founding_flags(self) -> None:
        """Members restart with the flags that founded the cluster: a lone one founds nothing, together they go on
        (S28)."""
        self.play("S28", "a restart with the founding flags")

    def test_leaders_come_and_go(self) -> None:
        """Leaders die one after the other while slow disks delay what a new one must do first: none serves before
        its no-op is applied (looked at all the time), and no file id is given twice (S29)."""
        self.play("S29", "leaders come and go")

    def test_a_failed_sync_of_a_metadata_server(self) -> None:
        """A sync of the leader's log fails: it ends, it never goes on as if nothing had been; the others go on
        (S31)."""
        self.play("S31", "a failed sync of a metadata server")

    def test_a_failed_sync_of_a_chunk_server(self) -> None:
        """A sync of a chunk server fails: it takes no more writes, and serves what it has (S31)."""
        self.play("S31", "a failed sync of a chunk server")

    def test_a_follower_was_away(self) -> None:
        """A follower is away while more happens than the log keeps: it catches up by a snapshot while writes go
        on (S32)."""
        self.play("S32", "a follower was away")

    def test_metadata_was_away(self) -> None:
        """All metadata nodes are down for two hours while the chunk servers stay up: cluster time stood still,
        and what is granted afterwards is good at once (S34)."""
        self.play("S34", "metadata was away")

    def test_a_delete_during_an_upload(self) -> None:
        """Somebody ends an upload by its id while it runs: its writer is told, and its chunks go (S36)."""
        self.play("S36", "a delete during an upload")

    def test_a_very_large_file_and_long_listings(self) -> None:
        """What one more chunk changes in the tables does not grow with the file; pages name each name once (S37)."""
        self.play("S37", "a very large file and long listings")

    def test_a_member_differs(self) -> None:
        """One member's tables are changed behind its back: the leader's alarm names it, and nobody before (S38)."""
        self.play("S38", "a member differs")

    def test_a_rolling_upgrade(self) -> None:
        """Servers are upgraded one after the other, one goes back, old clients work all the while (S39)."""
        self.play("S39", "a rolling upgrade")

    def test_a_release_too_new(self) -> None:
        """Servers of a release that nobody understands are refused and disturb nobody; put back, they belong (S39)."""
        self.play("S39", "a release too new")
