"""PySyncObj: Raft in Python, three members that keep everything in memory; replicated writes a second.

Its clients are members, so the load runs inside the leader's own process: nothing is sent to it, nothing is synced,
nothing survives the end of two of the three.  Its period of replication is shortened to 5 ms (100 by default, which
is what one writer alone would wait).  It shows what consensus in Python costs without any of that.
"""

from __future__ import annotations

import subprocess
from statistics import median

from bench.peers.install import FOLDER, Missing
from bench.peers.processes import Peer, free_ports

MEMBER = """
import json, sys, time
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict
own, others, load = sys.argv[1], sys.argv[2].split(","), json.loads(sys.argv[3])
values = ReplDict()
member = SyncObj(own, others, consumers=[values], conf=SyncObjConf(autoTick=False, appendEntriesPeriod=0.005))
while not member.isReady():
    member.doTick(0.05)
while not load:
    member.doTick(0.005)
for at_once, count in load:
    begun = done = 0
    def written(result, error):
        global done
        done += 1
    began = time.perf_counter()
    while done < count:
        while begun < count and begun - done < at_once:
            values.set("k/%d/%d" % (at_once, begun), "v" * 100, callback=written)
            begun += 1
        member.doTick(0.001)
    print(json.dumps([at_once, count / (time.perf_counter() - began)]), flush=True)
"""
LONGEST = 120.0
"""Seconds for one round."""


class PySyncObj(Peer):
    """Two members that follow, for one round of the third, which makes the load."""

    name = "PySyncObj"

    def __init__(self) -> None:
        super().__init__()
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]

    def _command(self, number: int, load: str) -> list[str]:
        python = FOLDER / "venv" / "bin" / "python"
        if not list(FOLDER.glob("venv/lib/python*/site-packages/pysyncobj")):
            raise Missing("PySyncObj is not there: run `python -m bench.peers.install` first")
        others = ",".join(each for each in self._addresses if each != self._addresses[number])
        return [str(python), "-c", MEMBER, self._addresses[number], others, load]

    def begin(self) -> None:
        for number in (1, 2):
            self.processes.start(f"member-{number}", self._command(number, "[]"))

    def writes(self, counts: dict[int, int]) -> dict[int, float]:
        """Writes a second by how many are in flight."""
        load = "[" + ",".join(f"[{at_once},{count}]" for at_once, count in counts.items()) + "]"
        done = subprocess.run(self._command(0, load), capture_output=True, text=True, timeout=LONGEST, check=True)
        pairs = [line.strip("[]").split(",") for line in done.stdout.splitlines()]
        return {int(at_once): float(rate) for at_once, rate in pairs}


def operations(counts: dict[int, int], rounds: int) -> dict[int, float]:
    """Medians over rounds, each with members of its own."""
    found = []
    for _ in range(rounds):
        with PySyncObj() as peer:
            found.append(peer.writes(counts))
    return {at_once: median(each[at_once] for each in found) for at_once in counts}
