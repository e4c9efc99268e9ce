"""What the store engines cost: puts, batches, gets, scans, syncs, openings.

Run it from the checkout: ``python bench/stores.py [--keys N] [--folder DIR] [--json]``.
Times are microseconds a key, but for sync (milliseconds each, after one small batch) and
open (milliseconds, with recovery).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable

from dfs.disk.real import RealDisk
from dfs.kv.engines import ENGINES, is_installed, open_engine
from dfs.kv.interfaces import Batch, IKeyValueStore, scan_all

VALUE = b"v" * 60
BATCH = 100
SYNCS = 20


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def put_singly(store: IKeyValueStore, keys: list[bytes]) -> None:
    """One batch a key."""
    for key in keys:
        store.apply(Batch({key: VALUE}))


def put_batches(store: IKeyValueStore, keys: list[bytes]) -> None:
    """Batches of BATCH keys."""
    for start in range(0, len(keys), BATCH):
        store.apply(Batch(dict.fromkeys(keys[start : start + BATCH], VALUE)))


def get_all(store: IKeyValueStore, keys: list[bytes]) -> None:
    """Each key once."""
    for key in keys:
        store.get(key)


def sync_each(store: IKeyValueStore) -> None:
    """A small batch and a sync, SYNCS times."""
    for index in range(SYNCS):
        store.apply(Batch({b"sync": b"%d" % index}))
        store.sync()


def read_snapshot(store: IKeyValueStore) -> None:
    """A snapshot from its first pair to its last."""
    snapshot = store.snapshot()
    while snapshot.read(1 << 18):
        pass
    snapshot.close()


def measure(engine: str, folder: str, count: int) -> dict[str, float]:
    """All figures of one engine in a new folder."""
    chance = random.Random(1)
    keys = [b"table/%012d" % index for index in range(count)]
    chance.shuffle(keys)
    half = count // 2
    store = open_engine(engine, RealDisk(), folder)
    figures = {
        "put": timed(lambda: put_singly(store, keys[:half])) / half * 1e6,
        "batch": timed(lambda: put_batches(store, keys[half:])) / (count - half) * 1e6,
        "get": timed(lambda: get_all(store, keys)) / count * 1e6,
        "scan": timed(lambda: sum(1 for _ in scan_all(store, b"table/"))) / count * 1e6,
        "snapshot": timed(lambda: read_snapshot(store)) / count * 1e6,
        "sync": timed(lambda: sync_each(store)) / SYNCS * 1e3,
    }
    store.close()
    figures["open"] = timed(lambda: open_engine(engine, RealDisk(), folder).close()) * 1e3
    return figures


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--keys", type=int, default=100_000, help="how many keys (100000)")
    parser.add_argument("--folder", help="where; the file system matters for sync (a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    base = tempfile.mkdtemp(prefix="dfs-stores-", dir=options.folder)
    try:
        table = {
            engine: measure(engine, f"{base}/{engine}", options.keys) for engine in ENGINES if is_installed(engine)
        }
    finally:
        shutil.rmtree(base)
    if options.json:
        print(json.dumps({"keys": options.keys, "value_bytes": len(VALUE), "batch": BATCH, "engines": table}))
        return
    names = list(next(iter(table.values())))
    print(f"{options.keys} keys of 18 bytes, values of {len(VALUE)}, batches of {BATCH}")
    print("engine      " + "".join(f"{name:>10}" for name in names))
    for engine, figures in table.items():
        print(f"{engine:12}" + "".join(f"{figures[name]:10.2f}" for name in names))


if __name__ == "__main__":
    main()
