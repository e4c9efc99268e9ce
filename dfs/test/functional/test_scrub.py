"""Rot on a real disk is found by the scrub, named, and replaced."""

from __future__ import annotations

import json
import os
from typing import Any

from dfs.test.functional.cluster import RealClusterCase

KIB = 1 << 10
BAD = 100 * KIB + 7
"""Where the byte is flipped: in the second piece of 64 KiB."""


class ScrubTests(RealClusterCase):
    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.dfs("events", "--limit", "1000", "--json").splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def test_flipped_byte(self) -> None:
        """S11: a byte of a replica is flipped on disk, and nobody reads the file: the scrub finds it, the log of events
        names node, file, chunk and offset, the replica goes to quarantine, and there are three good copies again."""
        self.up(meta=1, chunks=4, DFS_SCRUB_PERIOD="3s")
        path = self.local("file", 256 * KIB)
        self.upload(path, "a/rotten one")
        victim = next(node for node in ("chunk-1", "chunk-2", "chunk-3", "chunk-4") if self.chunk_files(node))
        (replica,) = self.chunk_files(victim)
        with open(replica, "r+b") as file:
            file.seek(BAD)
            (byte,) = file.read(1)
            file.seek(BAD)
            file.write(bytes([byte ^ 1]))
            file.flush()
            os.fsync(file.fileno())
        (lost,) = self.until(lambda: self.events("replica_lost"), "the rot in the log of events")
        self.assertEqual(lost["node"], victim)
        self.assertEqual(lost["detail"], f"chunk 0 of 'a/rotten one' is corrupt at offset {64 * KIB}")
        self.until(lambda: self.live_copies("a/rotten one") == [3], "three copies")
        quarantine = os.path.join(self.dir, victim, "data", "quarantine")
        self.assertTrue(os.listdir(quarantine))
        self.until(lambda: "lacked copies" in [event["detail"] for event in self.events("copied")], "word of the copy")
        self.until(lambda: "all whole" in self.dfs("fsck", "--deep"), "a whole cluster")
        self.assert_same("a/rotten one", path)
