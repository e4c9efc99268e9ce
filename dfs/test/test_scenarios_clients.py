"""Clients of a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class ClientScenarios(ScenarioCase):
    """Stories of uploads and downloads."""

    def test_a_killed_upload_resumes(self) -> None:
        """An upload is killed and goes on where it stopped; a changed local file begins anew (S40)."""
        self.play("S40", "a killed upload resumes")

    def test_a_killed_download_resumes(self) -> None:
        """A download is killed at any point: no file has the final name; the next one goes on and ends well
        (S41)."""
        self.play("S41", "a killed download resumes")

    def test_every_replica_fails(self) -> None:
        """Every replica of a chunk is corrupt: the error names file, chunk and what was tried at which node
        (S42)."""
        self.play("S42", "every replica fails")

    def test_files_of_every_length(self) -> None:
        """Empty files, one byte, exactly n chunks, one more and one less, from files and from streams (S45)."""
        self.play("S45", "files of every length")

    def test_two_want_one_name(self) -> None:
        """Several clients upload one name at once: one wins whole, the others are told (S46)."""
        self.play("S46", "two want one name")

    def test_a_reader_of_a_deleted_file(self) -> None:
        """A file is deleted and uploaded again under its name while it is read: the old bytes to the end, or an
        error (S47)."""
        self.play("S47", "a reader of a deleted file")

    def test_ended_by_ctrl_c(self) -> None:
        """Any command is cancelled at any moment, with and without a leader: it ends within a second, nothing half has
        a final name, and the same command given again does its work (S48)."""
        self.play("S48", "ended by Ctrl-C")
