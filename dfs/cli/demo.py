"""`make demo`: a newcomer watches a real cluster lose its leader and a disk's worth of copies, and go on.

Everything is done with the `dfs` command in processes of its own, as a user
would; the script compares the bytes and fails loudly if one differs.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

TIMEOUTS = {"DFS_DEAD_AFTER": "5", "DFS_SUSPECT_AFTER": "2", "DFS_HEARTBEAT_INTERVAL": "0.5"}
MIB = 1 << 20
FILES = {"big.bin": 64 * MIB + 12345, "medium.bin": 9 * MIB, "one-byte": 1, "empty": 0}
HEAL_TIMEOUT = 90.0


class DemoFailed(Exception):
    """Something is not as it must be."""


class Demo:
    """The story, one step a method."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.cluster = os.path.join(folder, "cluster")
        self.began = time.monotonic()
        self.environment = {**TIMEOUTS, **os.environ, "DFS_STATE": os.path.join(folder, "state")}

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def dfs(self, *words: str) -> str:
        """Run the command on the demo's cluster; what it printed.  Raises DemoFailed."""
        command = [sys.executable, "-m", "dfs.cli.main", *words, "--dir", self.cluster]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise DemoFailed(f"`dfs {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def document(self, *words: str) -> dict[str, Any]:
        """The same with --json."""
        found: dict[str, Any] = json.loads(self.dfs(*words, "--json"))
        return found

    def local(self, name: str) -> str:
        return os.path.join(self.folder, "files", name)

    def make_files(self) -> None:
        """Random bytes, so that nothing can be guessed."""
        os.makedirs(self.local(""))
        for name, size in FILES.items():
            with open(self.local(name), "wb") as file:
                file.write(os.urandom(size))

    def upload(self) -> None:
        for name in FILES:
            result = self.document("upload", "--file", self.local(name), "--name", f"demo/{name}")
            rate = result["size"] / MIB / max(result["seconds"], 0.001)
            self.say(f"  uploaded demo/{name}: {result['size']} bytes in {result['chunks']} chunks, {rate:.0f} MiB/s")

    def show_files(self) -> None:
        for line in self.dfs("list", "--prefix", "demo/", "--long").splitlines():
            self.say(f"  {line}")
        stat = self.document("stat", "--name", "demo/big.bin")
        self.say(f"  demo/big.bin has {len(stat['chunks'])} chunks of 4 MiB; the first three lie on")
        for chunk in stat["chunks"][:3]:
            nodes = ", ".join(replica["node"] for replica in chunk["replicas"])
            self.say(f"    chunk {chunk['index']} ({chunk['id'][:12]}...): {nodes}")

    def download_and_compare(self, folder: str) -> None:
        os.makedirs(os.path.join(self.folder, folder))
        for name in FILES:
            out = os.path.join(self.folder, folder, name)
            self.dfs("download", "--name", f"demo/{name}", "--out", out)
            if not filecmp.cmp(out, self.local(name), shallow=False):
                raise DemoFailed(f"demo/{name} CAME BACK DIFFERENT: compare {out} with {self.local(name)}")
            self.say(f"  demo/{name}: every byte is the same")

    def kill_leader(self) -> str:
        leader = str(self.document("status")["leader"])
        self.dfs("cluster", "kill", leader)
        self.say(f"  killed {leader}, the leader of the metadata cluster, with SIGKILL")
        return leader

    def kill_chunk_server(self) -> str:
        """The one with most copies of the big file."""
        stat = self.document("stat", "--name", "demo/big.bin")
        held = [replica["node"] for chunk in stat["chunks"] for replica in chunk["replicas"]]
        victim: str = max(sorted(set(held)), key=held.count)
        self.dfs("cluster", "kill", victim)
        self.say(
            f"  killed {victim} with SIGKILL: {held.count(victim)} copies of demo/big.bin's chunks are gone with it"
        )
        return victim

    def copies(self, victim: str) -> list[int]:
        """Live copies of each chunk that are not on the victim."""
        counts = []
        for name in FILES:
            for chunk in self.document("stat", "--name", f"demo/{name}")["chunks"]:
                live = [r for r in chunk["replicas"] if r["node"] != victim and r["state"] == "alive"]
                counts.append(len(live))
        return counts

    def watch_repair(self, victim: str) -> None:
        end = time.monotonic() + HEAL_TIMEOUT
        shown = -1
        while True:
            counts = self.copies(victim)
            short = sum(count < 3 for count in counts)
            if short != shown:
                self.say(f"  {len(counts) - short} of {len(counts)} chunks have three live copies")
                shown = short
            if not short:
                return
            if time.monotonic() > end:
                raise DemoFailed(f"{short} chunks still have fewer than three live copies after {HEAL_TIMEOUT:.0f} s")

    def run(self) -> None:
        """All of it."""
        self.say("Starting 3 metadata nodes and 4 chunk servers, each a twistd process of its own")
        status = self.document("cluster", "up", "-m", "3", "-s", "4")
        self.say(f"  they run; {status['leader']} was elected leader")
        self.say("Uploading four files, three copies of each chunk, every copy on disk before it counts")
        self.make_files()
        self.upload()
        self.say("What is there, and where")
        self.show_files()
        self.say("Now the bad day: the leader and a chunk server die at once")
        leader = self.kill_leader()
        victim = self.kill_chunk_server()
        self.say("Downloading everything from what is left")
        self.download_and_compare("after-the-crash")
        self.say(f"The cluster notices that {victim} is dead after 5 seconds of silence and copies what it lost")
        self.watch_repair(victim)
        self.say("Restarting both")
        self.dfs("cluster", "restart", leader)
        self.dfs("cluster", "restart", victim)
        self.say(f"  {leader} and {victim} serve again")
        self.download_and_compare("after-the-repair")


def main() -> int:
    """0 if every byte came back."""
    folder = tempfile.mkdtemp(prefix="dfs-demo-")
    demo = Demo(folder)
    try:
        demo.run()
    except (DemoFailed, subprocess.TimeoutExpired) as failure:
        demo.say(f"THE DEMO FAILED: {failure}")
        return 1
    finally:
        if os.path.exists(demo.cluster):
            demo.say("Stopping the cluster")
            subprocess.run(
                [sys.executable, "-m", "dfs.cli.main", "cluster", "down", "--dir", demo.cluster],
                check=False,
                stdout=subprocess.DEVNULL,
            )
        keep = os.environ.get("DFS_DEMO_KEEP")
        if keep:
            demo.say(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    demo.say("All bytes came back. Start a cluster of your own: .venv/bin/dfs cluster up -m 3 -s 5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
