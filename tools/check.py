"""Everything that must hold, counted: `make test`.

    python tools/check.py [lint] [documents] [seeds] [units] [planted] [functional] [--times N]

Jobs run two at a time: lint, seeds and units first, in one queue, the longest foremost; then the functional tests,
which mostly wait, while the planted bugs are proven beside them with what they leave of the processors.  Each check and
each test counts as one; the last line says `N passed, N failed, N skipped`.
A skip that tools/allowed_skips.txt does not list is a failure.  Logs are in .build/.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from planted import prove_all
from trials import BESIDE, BUILD, ROOT, Outcome, execute, run_tests

BIN = ROOT / ".venv" / "bin"
BATCH = 8  # test modules a process: few enough to share between two cores, enough to spare start-up time
UNITS_TIMEOUT = 400.0  # seconds, one batch
FUNCTIONAL_TIMEOUT = 400.0
LINT_TIMEOUT = 300.0
SEEDS = range(20, 40)
"""Seeds of whole clusters beyond those of dfs.test.test_cluster, and how many make a job."""
SEEDS_A_JOB = 10
LONGEST = ("test_crashes", "test_moves", "test_membership")
"""Functional modules that take a minute or more."""
TYPED = ("dfs", "twisted/plugins", "bench", "tools")
STAGES = ("lint", "documents", "seeds", "units", "planted", "functional")
Job = Callable[[], list[Outcome]]


def command(name: str, *arguments: str) -> list[Outcome]:
    """One tool as one counted check."""
    log = BUILD / "lint" / f"{name}.txt"
    began = time.monotonic()
    status = execute(list(arguments), log, LINT_TIMEOUT)
    detail = "" if status == 0 else log.read_text(encoding="utf-8", errors="replace")[-6000:]
    return [Outcome(name, "passed" if status == 0 else "failed", time.monotonic() - began, detail)]


def lint_jobs() -> list[Job]:
    typed = [folder for folder in TYPED if any((ROOT / folder).rglob("*.py"))]
    return [
        partial(command, "mypy", str(BIN / "mypy"), *typed),
        partial(command, "ruff", str(BIN / "ruff"), "check", "."),
        partial(command, "import-linter", str(BIN / "lint-imports"), "--no-cache"),
        partial(command, "newsfragments", str(BIN / "towncrier"), "build", "--draft", "--version", "next"),
    ]


def seed_jobs() -> list[Job]:
    """Whole clusters under drawn faults; a violation tells the command that repeats it."""
    starts = range(SEEDS.start, SEEDS.stop, SEEDS_A_JOB)
    ranges = [f"{start}..{min(start + SEEDS_A_JOB, SEEDS.stop) - 1}" for start in starts]
    run = (sys.executable, "-m", "dfs.cli.main", "sim", "--seeds")
    return [partial(command, f"seeds {text}", *run, text) for text in ranges]


def test_modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in ROOT.glob("dfs/**/test/**/test_*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def functional_modules() -> list[str]:
    names = [dotted(path) for path in test_modules() if "functional" in path.parts]
    return sorted(names, key=lambda name: not name.endswith(LONGEST))


def unit_jobs() -> list[Job]:
    """The unit tests by package, in batches, the largest first so that both cores end together."""
    rooms: dict[str, list[Path]] = {}
    for path in test_modules():
        if "functional" not in path.parts:
            rooms.setdefault(path.parts[1], []).append(path)
    batches = []
    for room, paths in rooms.items():
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            weight = sum((ROOT / path).stat().st_size for path in part)
            batches.append((weight, f"{room}-{start // BATCH}", [dotted(path) for path in part]))
    return [partial(run_tests, label, names, UNITS_TIMEOUT) for _, label, names in sorted(batches, reverse=True)]


def run_stage(name: str, jobs: list[Job], workers: int) -> list[Outcome]:
    """Run the jobs of a stage and tell what failed as soon as it is known."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(lambda job: job(), jobs):
            outcomes += found
            for line in found:
                if line.outcome == "failed":
                    print(f"FAILED {line.test}\n{line.detail.rstrip()}\n", flush=True)
    print(f"{name}: {tally(outcomes)} in {time.monotonic() - began:.1f} s", flush=True)
    return outcomes


def judge_skips(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Print each skip with its reason; one outside the allow-list (``test | reason`` patterns) becomes a failure."""
    text = (ROOT / "tools" / "allowed_skips.txt").read_text(encoding="utf-8")
    rows = [line.split("|", 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    judged = []
    for line in outcomes:
        if line.outcome == "skipped":
            allowed = any(
                fnmatch.fnmatchcase(line.test, test.strip()) and fnmatch.fnmatchcase(line.detail, reason.strip())
                for test, reason in rows
            )
            print(f"{'skipped' if allowed else 'FAILED skip not allowed:'} {line.test}: {line.detail}")
            if not allowed:
                line = Outcome(line.test, "failed", line.seconds, line.detail)
        judged.append(line)
    return judged


def tally(outcomes: list[Outcome]) -> str:
    passed, failed, skipped = (
        sum(line.outcome == outcome for line in outcomes) for outcome in ("passed", "failed", "skipped")
    )
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def write_durations(outcomes: list[Outcome]) -> None:
    slowest = sorted(outcomes, key=lambda line: line.seconds, reverse=True)[:10]
    text = "".join(f"{line.seconds:8.2f} s  {line.test}\n" for line in slowest)
    (BUILD / "durations.txt").write_text(text, encoding="utf-8")


def functional(times: int) -> list[Outcome]:
    """The tests on real processes, two modules at a time since they mostly wait, up to the first round with a failure.
    The modules with the longest stories begin."""
    outcomes: list[Outcome] = []
    for number in range(1, times + 1):
        label = "functional" if times == 1 else f"functional {number} of {times}"
        jobs: list[Job] = [partial(run_tests, name, [name], FUNCTIONAL_TIMEOUT) for name in functional_modules()]
        outcomes += run_stage(label, jobs, 2)
        if any(line.outcome == "failed" for line in outcomes):
            break
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the checks and tests of the project.")
    parser.add_argument("stages", nargs="*", help=f"{', '.join(STAGES)}; all by default")
    parser.add_argument("--times", type=int, default=1, help="how often the functional tests run")
    options = parser.parse_args()
    os.chdir(ROOT)
    BUILD.mkdir(exist_ok=True)
    documents: list[Job] = [partial(run_tests, "documents", ["dfs.test.test_documents"], UNITS_TIMEOUT)]
    unknown = set(options.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}")
    chosen = options.stages or [stage for stage in STAGES if stage != "documents"]  # units hold the documents' tests
    queues: dict[str, Callable[[], list[Job]]] = {
        "lint": lint_jobs, "seeds": seed_jobs, "documents": lambda: documents, "units": unit_jobs
    }  # fmt: skip
    wanted = [stage for stage in queues if stage in chosen]
    jobs = [job for stage in wanted for job in queues[stage]()]
    outcomes = run_stage(", ".join(wanted), jobs, 2) if jobs else []
    with ThreadPoolExecutor(1) as beside:
        niceness = BESIDE if "functional" in chosen else 0
        planted: list[Job] = [partial(prove_all, niceness=niceness, green=tuple(outcomes), slow=False)]
        proving = beside.submit(run_stage, "planted", planted, 1) if "planted" in chosen else None
        outcomes += functional(options.times) if "functional" in chosen else []
        outcomes += proving.result() if proving is not None else []
    outcomes = judge_skips(outcomes)
    write_durations(outcomes)
    print(tally(outcomes), flush=True)
    return 1 if any(line.outcome == "failed" for line in outcomes) or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
