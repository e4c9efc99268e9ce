"""One life of a store in a process of its own, to be traced.

    python -m dfs.test.crash.driver SUBJECT FOLDER SEED STEPS close|leave

A store that fails ends it with status 3 and a sentence.  Each mark is one write to the file FOLDER.marks, so that it
has its place among the calls.  ``leave`` ends the process without closing the store.
"""

from __future__ import annotations

import os
import sys
from random import Random

from dfs.disk.real import RealDisk
from dfs.test.crash.hunt import SUBJECTS
from dfs.test.crash.lives import live
from dfs.test.crash.strace import FAILED, MARKS
from dfs.test.crash.subjects import Refused


def main(name: str, folder: str, seed: str, steps: str, end: str) -> None:
    """See the module."""
    (subject,) = (subject for subject in SUBJECTS if subject.name == name)
    marks = os.open(f"{folder}.{MARKS}", os.O_WRONLY | os.O_CREAT, 0o600)

    def mark(*allowed: str) -> None:
        os.write(marks, "\t".join(allowed).encode() + b"\n")

    given_up: tuple[type[Exception], ...] = (Refused, *subject.failures)
    with subject.small():
        try:
            live(subject, RealDisk(), folder, Random(int(seed)), int(steps), mark, clean=end == "close")
        except given_up as error:
            os.write(2, f"{error}\n".encode())
            os._exit(FAILED)  # as a daemon ends that cannot go on
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
