"""Store so many files through ``apply`` into tables of their own, which clusters with the bench's key can adopt.

    python -m bench.scale.load FOLDER FILES

Goes on where a former run ended, also one that was killed: each batch is one transaction.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from bench.scale.tables import KEY, Author, open_machine
from dfs.protocol.values import cluster_id_of

STORED = "stored.json"  # beside the tables: how many files there are, and what the last run took


def stored(folder: str) -> dict[str, Any]:
    """What a former run left; no files where there was none."""
    path = os.path.join(folder, STORED)
    if not os.path.exists(path):
        return {"files": 0}
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def load(folder: str, files: int) -> dict[str, Any]:
    """Grow the tables to ``files``.  CPU microseconds a file, and bytes on disk."""
    os.makedirs(folder, exist_ok=True)
    machine = open_machine(folder, cluster_id_of(KEY))
    first, began = machine.head.files, time.process_time()
    for _ in Author(machine).load(first, files - first):
        pass
    took = time.process_time() - began
    machine.close()
    found = {"files": files, "load_cpu_us_a_file": 1e6 * took / max(files - first, 1), "disk_bytes": disk_bytes(folder)}
    with open(os.path.join(folder, STORED), "w", encoding="utf-8") as file:
        json.dump(found, file)
    return found


def disk_bytes(folder: str) -> int:
    """What the files below take of the disk."""
    found = 0
    for place, _, names in os.walk(folder):
        found += sum(os.stat(os.path.join(place, name)).st_blocks * 512 for name in names)
    return found


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1], int(sys.argv[2]))))
