"""Replicas, nodes, repair and collection in a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class ReplicaScenarios(ScenarioCase):
    """Stories of chunk servers."""

    def test_power_cut_of_the_room(self) -> None:
        """All chunk servers lose power, for long, while metadata stays up; nothing is evicted or deleted (S01)."""
        self.play("S01", "power cut of the room")

    def test_a_new_leader_gives_a_whole_time_out(self) -> None:
        """A node was silent for most of its time-out when the leader dies: the new leader gives it a whole one
        (S02)."""
        self.play("S02", "a new leader gives a whole time-out")

    def test_a_dead_node_comes_back(self) -> None:
        """A node that was declared dead comes back: it is alive and its replicas count again (S03)."""
        self.play("S03", "a dead node comes back")

    def test_a_cut_off_node_comes_back(self) -> None:
        """A node that was cut off long enough to be declared dead, and never restarted, beats again: it is alive
        (S03)."""
        self.play("S03", "a cut-off node comes back")

    def test_planned_restart(self) -> None:
        """A node restarts within the grace time: nothing is copied. It stays away: everything of it is copied
        (S04)."""
        self.play("S04", "planned restart")

    def test_power_cut_at_each_acknowledgement(self) -> None:
        """The whole room loses power at the very moment of each acknowledgement, while some disks are slow: what
        was acknowledged is there, on as many disks as the write quorum (S05)."""
        self.play("S05", "power cut at each acknowledgement")

    def test_below_the_quorum(self) -> None:
        """All chunk servers but one lose power in the middle of an upload: it is not acknowledged, its name does
        not appear, and no chunk of it was committed on fewer disks than the write quorum (S05)."""
        self.play("S05", "below the quorum")

    def test_inventories_beside_writes(self) -> None:
        """Chunk servers register and tell what they hold, again and again, while files are written: no write is
        lost (S06)."""
        self.play("S06", "inventories beside writes")

    def test_an_old_inventory(self) -> None:
        """What a chunk server tells of its replicas is on its way for long, while others commit chunks that it
        has stored meanwhile: the old inventory takes none of them off the record (S06)."""
        self.play("S06", "an old inventory")

    def test_a_retry_beside_the_first_try(self) -> None:
        """The answers of a primary are held up, so the client writes its chunks again elsewhere while the first
        tries go on: every replica is whole, no temporary file is left (S08)."""
        self.play("S08", "a retry beside the first try")

    def test_a_corrupt_replica(self) -> None:
        """One replica rots: readers get good bytes, it is set aside and replaced (S11)."""
        self.play("S11", "a corrupt replica")

    def test_repair_through_the_deaths_of_leader_source_and_target(self) -> None:
        """While a dead node's chunks are copied, the leader dies, a source dies and a target dies: it all heals
        (S12)."""
        self.play("S12", "repair through the deaths of leader, source and target")

    def test_what_was_deleted_or_abandoned_is_collected(self) -> None:
        """The chunks of deleted files and of an abandoned upload go from every disk (S15)."""
        self.play("S15", "what was deleted or abandoned is collected")

    def test_files_are_deleted_during_their_repair(self) -> None:
        """Files are deleted while a dead node's chunks are copied: the repair ends, and the collection too, that
        of the node that comes back included (S15)."""
        self.play("S15", "files are deleted during their repair")

    def test_two_servers_on_one_folder(self) -> None:
        """A second server on a folder in use is refused, and a cloned folder on another machine is refused (S19)."""
        self.play("S19", "two servers on one folder")

    def test_a_full_disk(self) -> None:
        """A disk is full in the middle of a chunk: other targets are chosen, nothing half is left, deletes still
        work (S21)."""
        self.play("S21", "a full disk")
