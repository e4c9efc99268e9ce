"""What all clients were told, merged into one history and judged.

A name's history must have an explanation (dfs.simulation.history), where a read's value is the SHA-256 of every byte:
an acknowledged upload that is gone, a deleted one that is back, a half or foreign file has none.  At the end every
name is read back: one that is there and cannot be read is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from dfs.simulation.history import History, Kind, Operation, Outcome

READ_BACK = "read-back"


@frozen
class Judgement:
    """``operations`` by kind and outcome, ``lost`` a sentence each; ``undecided``: searches given up."""

    operations: dict[str, int] = field(factory=dict)
    undecided: int = 0
    lost: tuple[str, ...] = ()


def merge(lines: Iterable[dict[str, Any]]) -> tuple[History, list[tuple[Operation, str]]]:
    """The history in the order of time, and each operation with the error that ended it.

    What began at the very moment at which something ended counts as begun before.
    """
    history = History()
    running: dict[tuple[str, int], Operation] = {}
    errors: list[tuple[Operation, str]] = []
    for line in sorted(lines, key=lambda line: (line["time"], "outcome" in line)):
        key = (line["client"], line["number"])
        if "outcome" not in line:
            kind = Kind(line["kind"])
            running[key] = history.begin(line["client"], kind, line["name"], line["value"], line["time"])
        else:
            operation = running.pop(key)
            history.end(operation, Outcome(line["outcome"]), line["value"])
            errors.append((operation, line["error"]))
    return history, errors


def read_lines(paths: Iterable[str]) -> list[dict[str, Any]]:
    """All whole lines of the clients' files."""
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [json.loads(line) for line in file if line.endswith("\n")]
    return lines


def judge(lines: Iterable[dict[str, Any]]) -> Judgement:
    """See the module."""
    history, errors = merge(lines)
    lost = history.violations()
    lost += [
        f"{operation.name!r} cannot be read back: {error}"
        for operation, error in errors
        if operation.client == READ_BACK and operation.outcome is Outcome.UNKNOWN
    ]
    counts = Counter(f"{operation.kind.value} {operation.outcome.value}" for operation in history.operations)
    return Judgement(dict(sorted(counts.items())), history.undecided, tuple(lost))
