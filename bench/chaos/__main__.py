"""Run it: ``python -m bench.chaos [--minutes 10] [--seed N] [--json]``.  Exit code 1 if anything was lost."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from random import Random
from typing import Any

from bench.chaos import places
from bench.chaos.cluster import Cluster
from bench.chaos.faults import Faults
from bench.chaos.judge import READ_BACK, judge, read_lines

TICK = 0.5
SETTLE = 180.0  # seconds after the heal within which all must be whole
SMALL = ("meta-1", "chunk-1")


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


class Clients:
    """Client processes, each with its own file of operations."""

    def __init__(self, cluster: Cluster, count: int, seed: int) -> None:
        self._cluster = cluster
        self._start = time.monotonic()
        self._seed = seed
        self.processes = [self._begin(f"client-{number}", number) for number in range(count)]

    def path(self, name: str) -> str:
        return os.path.join(self._cluster.folder, f"{name}.jsonl")

    def paths(self) -> list[str]:
        """Every file that was written."""
        folder = self._cluster.folder
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jsonl"))

    def _begin(self, name: str, number: int, *more: str) -> subprocess.Popen[bytes]:
        words = [self._cluster.meta, name, str(self._seed * 1000 + number), repr(self._start), self.path(name), *more]
        with open(os.path.join(self._cluster.folder, f"{name}.log"), "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bench.chaos.client", *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self) -> list[str]:
        """Let each end what it is at; those that died."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        return [f"a client died with {code}" for code in (process.wait(120) for process in self.processes) if code]

    def read_back(self) -> str:
        """Read every name that any of them touched; "" or why that could not be done."""
        names = sorted({line["name"] for line in read_lines(self.paths()) if "name" in line})
        listing = os.path.join(self._cluster.folder, "names")
        with open(listing, "w", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in names))
        process = self._begin(READ_BACK, 999, "--read-back", listing)
        self.processes.append(process)
        return "" if process.wait(600) == 0 else "the files could not be read back"

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def live(cluster: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Start, torment, heal, judge; the report."""
    cluster.start_all()
    amiss = cluster.settled(60.0)
    if amiss:
        raise SystemExit(f"the cluster did not start: {amiss}; see {cluster.folder}")
    faults = Faults(cluster, Random(options.seed), say)
    clients = Clients(cluster, options.clients, options.seed)
    problems: list[str] = []
    try:
        pace, end = threading.Event(), time.monotonic() + options.minutes * 60
        while time.monotonic() < end:
            faults.step()
            pace.wait(TICK)
        faults.heal()
        say("healed; waiting until all is whole")
        problems += clients.finish()
        began = time.monotonic()
        amiss = cluster.settled(SETTLE)
        if amiss:
            problems.append(f"not whole {SETTLE:.0f} s after the heal: {amiss}")
        settled = time.monotonic() - began
        unread = clients.read_back()
        problems += [unread] if unread else []
        judgement = judge(read_lines(clients.paths()))
    finally:
        clients.close()
    return {
        "seed": options.seed,
        "minutes": options.minutes,
        "faults": dict(sorted(faults.counts.items())),
        "operations": judgement.operations,
        "undecided": judgement.undecided,
        "lost": list(judgement.lost),
        "problems": problems,
        "ended_by_themselves": faults.ended,
        "tracebacks": cluster.tracebacks(),
        "settled_after": round(settled, 1),
    }


def show(report: dict[str, Any]) -> None:
    """The report as a person reads it."""
    print(f"seed {report['seed']}, {report['minutes']} minutes on {report['places']}")
    for title in ("faults", "operations"):
        print(f"{title}: " + (", ".join(f"{count} {kind}" for kind, count in report[title].items()) or "none"))
    print(f"whole again {report['settled_after']} s after the heal; {report['undecided']} names undecided")
    for title in ("ended_by_themselves", "tracebacks"):
        if report[title]:
            print(f"{title.replace('_', ' ')}: {', '.join(report[title])}")
    for line in [*report["problems"], *report["lost"]]:
        print(f"LOST {line}")
    print(f"{len(report['lost'])} lost, {len(report['problems'])} problems")


def main() -> int:
    """0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--meta", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--loopback", action="store_true", help="no namespaces, and so no partitions")
    parser.add_argument("--keep", action="store_true", help="leave logs and histories behind")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have begun us with the first one ignored
        signal.signal(number, signal.default_int_handler)
    place, word = (places.Loopback(), "the loopback, as asked") if options.loopback else places.best()
    say(word)
    cluster: Cluster | None = None
    report: dict[str, Any] = {}
    interrupted = False
    try:
        cluster = Cluster(place, options.meta, options.chunks, SMALL)
        report = {"places": word, **live(cluster, options)}
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; nothing is judged")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # what was begun is taken down whole
        wrong = not interrupted and (not report or bool(report["lost"] or report["problems"]))
        if cluster is not None:
            cluster.close(keep=options.keep or wrong)
            if options.keep or wrong:
                say(f"logs and histories are in {cluster.folder}")
        place.close()
    if options.json:
        print(json.dumps(report))
    else:
        show(report)
    return 1 if report["lost"] or report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
