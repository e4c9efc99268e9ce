"""What is told of runs: a line each, and at the end a sum for people or one JSON document.

Sums are kept as they grow and results are not: a run of a thousand hours takes the memory of one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from dfs.simulation.plan import Result
from dfs.simulation.run import Run

TOLD = 100
"""Violations that are kept for the document; more are counted."""


class Totals:
    """All runs so far, in the order of their telling.

    :ivar violated: how many violations there were.
    """

    def __init__(self) -> None:
        self.violated = 0
        self.virtual_seconds = 0.0
        self._runs = 0
        self._wall_seconds = 0.0
        self._events = 0
        self._faults: Counter[str] = Counter()
        self._operations: Counter[str] = Counter()
        self._violations: list[dict[str, Any]] = []
        self._traces = hashlib.sha256()

    def add(self, result: Result, command: str) -> None:
        """One more result, and what repeats it."""
        self._runs += 1
        self.virtual_seconds += result.virtual_seconds
        self._wall_seconds += result.wall_seconds
        self._events += result.events
        self._faults.update(result.faults)
        self._operations.update(result.operations)
        self._traces.update(result.trace.encode())
        self.violated += len(result.violations)
        for violation in result.violations[: TOLD - len(self._violations)]:
            self._violations.append({"seed": result.seed, "violation": violation, "command": command})

    def document(self, wall_seconds: float | None = None) -> dict[str, Any]:
        """As ``--json`` prints it; ``trace`` is a hash over the traces in order.

        :param wall_seconds: from the first run's begin to the last one's end, where several ran at once.
        """
        wall = self._wall_seconds if wall_seconds is None else wall_seconds
        return {
            "seeds": self._runs,
            "virtual_seconds": round(self.virtual_seconds, 3),
            "wall_seconds": round(wall, 3),
            "events": self._events,
            "faults": dict(sorted(self._faults.items())),
            "operations": dict(sorted(self._operations.items())),
            "violations": self._violations,
            "trace": self._traces.hexdigest(),
        }

    def closing(self, wall_seconds: float | None = None) -> list[str]:
        """The last lines for people."""
        total = self.document(wall_seconds)
        virtual, wall = total["virtual_seconds"], total["wall_seconds"]
        faults = ", ".join(f"{kind} {count}" for kind, count in total["faults"].items())
        return [
            f"faults: {faults or 'none'}",
            f"{total['seeds']} runs: {virtual / 3600:.2f} virtual hours in {wall:.1f} s "
            f"({virtual / max(wall, 0.001):.0f} times faster than real time), {total['events']} events, "
            f"{sum(total['faults'].values())} faults, {sum(total['operations'].values())} operations checked, "
            f"{self.violated} violations",
        ]


def lines(run: Run, result: Result) -> list[str]:
    """What is told of one run."""
    what = f"seed {run.seed}" + (f" {run.scenario}" if run.scenario else "")
    told = [
        f"{what}: {result.virtual_seconds:.1f} virtual s in {result.wall_seconds:.2f} s, {result.events} events, "
        f"{sum(result.faults.values())} faults, {sum(result.operations.values())} operations, "
        f"{len(result.violations)} violations, trace {result.trace[:16]}"
    ]
    told += [f"  VIOLATION {violation}" for violation in result.violations]
    if result.violations:
        told.append(f"  repeat it: {run.command}")
    return told
