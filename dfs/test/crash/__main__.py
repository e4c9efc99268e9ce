"""``python -m dfs.test.crash [--count N] [--seed N] [--only NAME] [--inject]``: try crash states, or faults in the
place of each call, and tell what came of them."""

from __future__ import annotations

import argparse
import shutil
import sys

from dfs.kv.engines import ENGINES, is_installed
from dfs.test.crash import strace
from dfs.test.crash.hunt import SUBJECTS, Hunt, scratch
from dfs.test.crash.injecting import FAULTS, Injection
from dfs.test.crash.subjects import Subject


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def missing(subject: Subject, inject: bool) -> str:
    """Why it cannot be tried here; "" if it can."""
    if (subject.traced or inject) and not strace.works():
        return strace.NOT_HERE
    if not is_installed(subject.name) and subject.name in ENGINES:
        return f"{subject.name} is not installed"
    return ""


def cut(subject: Subject, seed: int, folder: str, count: int) -> tuple[int, list[str]]:
    """Crash states of one store: how many, and what is wrong."""
    found = Hunt(subject, seed, folder).run(count)
    say(
        f"{found.subject}: {found.states} crash states of {found.recordings} recordings ({found.calls} calls), "
        f"{found.refused} refused with a sentence, {len(found.problems)} wrong"
    )
    return found.states, found.problems


def inject(subject: Subject, folder: str) -> tuple[int, list[str]]:
    """Each fault in the place of each call: how many, and what is wrong."""
    total, wrong = 0, []
    with subject.small():
        injection = Injection(subject, folder)
        for fault in FAULTS:
            tried, problems = injection.run(fault)
            say(f"{subject.name}: {fault.name} in the place of each of {tried} calls, {len(problems)} wrong")
            total += tried
            wrong += problems
    return total, wrong


def main() -> int:
    """0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m dfs.test.crash", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="states, of all stores together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one of " + ", ".join(subject.name for subject in SUBJECTS))
    parser.add_argument("--inject", action="store_true", help="put EIO, ENOSPC, SIGKILL in the place of each call")
    options = parser.parse_args()
    chosen = [subject for subject in SUBJECTS if options.only in (None, subject.name)]
    able = [subject for subject in chosen if not missing(subject, options.inject)]
    for subject in chosen:
        if subject not in able:
            say(f"{subject.name}: skipped: {missing(subject, options.inject)}")
    total, failed = 0, 0
    for subject in able:
        folder = scratch()
        try:
            if options.inject:
                count, problems = inject(subject, folder)
            else:
                count, problems = cut(subject, options.seed, folder, -(-options.count // len(able)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        total += count
        failed += len(problems)
        for problem in problems[:20]:
            say(f"  {problem}")
    say(f"{max(total - failed, 0)} passed, {failed} failed")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
