"""``python -m dfs.test.crash [--count N] [--seed N] [--only NAME]``: try crash states and tell what came of them."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from dfs.kv.engines import is_installed
from dfs.test.crash import strace
from dfs.test.crash.hunt import SUBJECTS, Hunt, scratch


def main() -> int:
    """0 if no state was wrong."""
    parser = argparse.ArgumentParser(prog="python -m dfs.test.crash", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="states, of all stores together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one of " + ", ".join(subject.name for subject in SUBJECTS))
    options = parser.parse_args()
    say = sys.stdout.write
    chosen = [subject for subject in SUBJECTS if options.only in (None, subject.name)]
    for subject in [subject for subject in chosen if subject.traced]:
        missing = strace.NOT_HERE if not strace.works() else ""
        missing = missing or ("" if is_installed(subject.name) else "the engine is not installed")
        if missing:
            say(f"{subject.name}: skipped: {missing}\n")
            chosen.remove(subject)
    problems, total = 0, 0
    for subject in chosen:
        folder = scratch()
        began = time.monotonic()
        try:
            found = Hunt(subject, options.seed, folder).run(-(-options.count // len(chosen)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        total += found.states
        problems += len(found.problems)
        say(
            f"{found.subject}: {found.states} crash states of {found.recordings} recordings ({found.calls} calls), "
            f"{found.refused} refused with a sentence, {len(found.problems)} wrong, {time.monotonic() - began:.1f} s\n"
        )
        for problem in found.problems[:20]:
            say(f"  {problem}\n")
    say(f"{total - problems} passed, {problems} failed\n")
    return 1 if problems or not total else 0


if __name__ == "__main__":
    sys.exit(main())
