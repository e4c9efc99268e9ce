"""A few seconds of bench.chaos, as it ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from dfs.test.pieces import ROOT

TIMEOUT = 180.0


class ChaosTests(SynchronousTestCase):
    """The run itself: started, tormented, healed, judged, gone."""

    timeout = 200

    def test_run(self) -> None:
        """Under kill -9 and SIGSTOP, on the loopback, what clients were told of each name has an explanation, and
        every acknowledged file is there at the end, whole (S01, S05, S12, S24, S27); no process is left."""
        command = [sys.executable, "-m", "bench.chaos", "--loopback", "--json", "--minutes", "0.2", "--seed", "4"]
        done = subprocess.run(
            [*command, "--meta", "3", "--chunks", "4", "--clients", "2"],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
        report = json.loads(done.stdout)
        self.assertEqual((report["lost"], report["problems"], report["ended_by_themselves"]), ([], [], []))
        self.assertGreater(sum(report["faults"].values()), 0)
        self.assertGreater(report["operations"]["upload done"], 0)
        self.assertEqual(self.left(), [])

    def left(self) -> list[str]:
        """Command lines of daemons of such runs that are alive."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "dfs-chaos-" in command and "twistd" in command:
                found.append(command.replace("\0", " "))
        return found
