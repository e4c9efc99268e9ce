"""Real chunk servers are drained, announced as away, killed, trimmed and removed."""

from __future__ import annotations

import json
import time
from typing import Any

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20
AWAY = 20
"""Seconds: several times of what makes a node dead here."""


class MoveTests(RealClusterCase):
    """No file is lost or short, whoever leaves."""

    def listed(self) -> dict[str, dict[str, Any]]:
        """By name, as `dfs node list` tells."""
        return {node["name"]: node for node in self.document("node", "list")["nodes"]}

    def kinds(self) -> list[str]:
        """Of all events, oldest first."""
        lines = self.dfs("events", "--limit", "1000", "--json").splitlines()
        return [json.loads(line)["kind"] for line in lines]

    def test_drain_kill_trim(self) -> None:
        """S18, S17, S03, S04: a node is drained while files are written to it and while another one is killed, and is
        removed; a node that was killed and healed comes back, and its surplus goes to quarantine; an announced absence
        heals nothing; every file is intact throughout."""
        self.up(meta=1, chunks=5, DFS_SETTLE_AFTER="1s")
        paths = {f"f/{number}": self.local(f"f{number}", 4 * MIB + number) for number in range(2)}
        running = [self.begin("upload", "--file", path, "--name", name, "--chunk-size", "256KiB")
                   for name, path in paths.items()]  # fmt: skip
        self.drain_and_remove()
        for process in running:
            self.ends(process)
        self.assert_all_same(paths)
        self.trimmed_after_return(paths)
        self.away()
        self.assert_all_same(paths)
        for kind in ("draining", "drained", "removed", "dead", "returned", "copied", "trimmed", "maintenance"):
            self.assertIn(kind, self.kinds())

    def drain_and_remove(self) -> None:
        """chunk-1 goes while chunk-2 is killed and started again."""
        self.assertTrue(self.document("node", "drain", "chunk-1", "--dry-run")["dry_run"])
        self.assertEqual(self.listed()["chunk-1"]["state"], "alive")
        self.dfs("node", "remove", "chunk-1", code=1)
        self.dfs("node", "drain", "chunk-1")
        self.kill("chunk-2")
        self.dfs("cluster", "restart", "chunk-2")
        self.until(lambda: self.listed()["chunk-1"]["state"] == "drained", "chunk-1 drained")
        self.dfs("node", "remove", "chunk-1")
        self.until(lambda: "chunk-1" not in self.listed(), "chunk-1 forgotten")
        self.until(lambda: self.pids()["chunk-1"] is None, "its process ended by itself")

    def trimmed_after_return(self, paths: dict[str, str]) -> None:
        """chunk-3 is dead until everything is whole without it."""
        self.kill("chunk-3")
        self.until(lambda: self.listed()["chunk-3"]["state"] == "dead", "chunk-3 dead")
        self.until(lambda: all(min(self.live_copies(name)) == 3 for name in paths), "three copies without chunk-3")
        self.dfs("cluster", "restart", "chunk-3")
        self.until(lambda: "trimmed" in self.kinds(), "some surplus trimmed")
        self.until(lambda: all(set(self.live_copies(name)) == {3} for name in paths), "three copies of each chunk")

    def away(self) -> None:
        """chunk-4 is away for longer than the time-out: it is dead when the announced time is over, and not before."""
        self.dfs("node", "maintenance", "chunk-4", "--for", f"{AWAY}s")
        announced = time.monotonic()
        self.kill("chunk-4")
        self.until(lambda: self.listed()["chunk-4"]["state"] == "dead", "chunk-4 dead in the end")
        self.assertGreaterEqual(time.monotonic() - announced, AWAY - 1)
        self.dfs("cluster", "restart", "chunk-4")
        self.until(lambda: self.listed()["chunk-4"]["state"] == "alive", "chunk-4 back")
