"""A client of the cluster under chaos: it uploads, reads and deletes, and writes down what it was told.

    python -m bench.chaos.client META NAME SEED START OUT [--read-back FILE]

It goes on until its standard input ends.  Each operation is one JSON line in OUT when it begins and one when it ends,
with times of the monotonic clock, which all processes of a machine share.  Names change every EPOCH seconds, so that
the history of each stays short.  ``--read-back`` reads the names in a file, a line each, and ends.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from dfs.client import blocking
from dfs.client.api import ClientOptions
from dfs.client.errors import DFSError, FileExists, FileNotFound

EPOCH = 15.0
NAMES = 3
CHUNK = 256 << 10
SIZES = (0, 1, 4000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17, 8 * CHUNK)
PATIENCE = 8.0


class Recorder:
    """Operations of one client, in a file."""

    def __init__(self, client: str, path: str) -> None:
        self._client = client
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - it is open as long as the process lives
        self._number = 0

    def tell(self, kind: str, name: str, value: str, act: Callable[[], str]) -> None:
        """Carry an operation out between its two lines; ``act`` returns the digest that was found, or ""."""
        self._number += 1
        self._write(kind=kind, name=name, value=value)
        outcome, error = "done", ""
        try:
            value = act() or value
        except (FileExists, FileNotFound) as refusal:
            outcome, error = "refused", type(refusal).__name__
        except DFSError as failure:
            outcome, error = "unknown", f"{type(failure).__name__}: {failure}"
        self._write(outcome=outcome, value=value, error=error)

    def _write(self, **fields: Any) -> None:
        line = {"client": self._client, "number": self._number, "time": time.monotonic(), **fields}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Client:
    """One life of drawn operations."""

    def __init__(self, fs: blocking.BlockingClient, name: str, seed: int, start: float, recorder: Recorder) -> None:
        self._fs = fs
        self._name = name
        self._chance = Random(seed)
        self._start = start
        self._recorder = recorder

    def step(self) -> None:
        """One operation."""
        kind = self._chance.random()
        if kind < 0.45:
            self._upload(self._drawn_name(0))
        elif kind < 0.85:
            self.read(self._drawn_name(self._chance.choice((0, 0, 1, 3))))
        else:
            name = self._drawn_name(0)
            self._recorder.tell("delete", name, "", lambda: self._delete(name))

    def read(self, name: str) -> None:
        """Every byte."""
        self._recorder.tell("read", name, "", lambda: hashlib.sha256(self._fs.read(name)).hexdigest())

    def _drawn_name(self, back: int) -> str:
        epoch = max(0, int((time.monotonic() - self._start) / EPOCH) - back)
        owner = "shared" if self._chance.random() < 0.4 else self._name
        return f"{owner}/{epoch}/{self._chance.randrange(NAMES)}"

    def _upload(self, name: str) -> None:
        content = self._chance.randbytes(self._chance.choice(SIZES))

        def upload() -> str:
            self._fs.upload(io.BytesIO(content), name, chunk_size=CHUNK, resume=False)
            return ""

        self._recorder.tell("upload", name, hashlib.sha256(content).hexdigest(), upload)

    def _delete(self, name: str) -> str:
        self._fs.delete(name)
        return ""


def wait_for_end(ended: threading.Event) -> None:
    """Until standard input ends."""
    sys.stdin.read()
    ended.set()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos.client")
    for word in ("meta", "name", "seed", "start", "out"):
        parser.add_argument(word)
    parser.add_argument("--read-back", default="")
    options = parser.parse_args()
    ended = threading.Event()
    if not options.read_back:
        threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    recorder = Recorder(options.name, options.out)
    patience = 60.0 if options.read_back else PATIENCE
    while True:
        try:
            with blocking.connect(options.meta, options=ClientOptions(patience=patience)) as fs:
                client = Client(fs, options.name, int(options.seed), float(options.start), recorder)
                if options.read_back:
                    with open(options.read_back, encoding="utf-8") as names:
                        for name in names.read().splitlines():
                            client.read(name)
                else:
                    while not ended.is_set():
                        client.step()
            break
        except DFSError as error:  # nobody answered at all: nothing was asked, so there is nothing to write down
            if options.read_back:
                raise SystemExit(f"the read-back cannot reach the cluster: {error}") from error
            if ended.wait(0.5):
                break
    os._exit(0)


if __name__ == "__main__":
    main()
