"""Start run_trial.py in processes of their own and read back what they wrote."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"

BESIDE = 10
"""The niceness of work beside tests that measure time: it takes what they leave."""


@dataclass(frozen=True)
class Outcome:
    """One counted line: a test, or a check of the lint."""

    test: str
    outcome: str  # passed, failed or skipped
    seconds: float
    detail: str


def execute(arguments: list[str], log: Path, timeout: float, cwd: Path = ROOT, niceness: int = 0) -> int | None:
    """The exit status of a command whose output goes to ``log``; None when it ran out of time.

    It leads a process group, so that a run that is given up leaves no daemon of a test behind.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "PYTHONPATH": str(cwd)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every process would compile every module
    if niceness:
        arguments = ["nice", "-n", str(niceness), *arguments]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd,
            env=environ, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run_tests(label: str, names: list[str], timeout: float, cwd: Path = ROOT, niceness: int = 0) -> list[Outcome]:
    """Run tests in one process, in the tree at ``cwd``; a run that dies or hangs is one more failed line."""
    folder = BUILD / "trial" / label
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    out, log = folder / "tests.jsonl", folder / "output.txt"
    runner = str(ROOT / "tools" / "run_trial.py")
    command = [sys.executable, runner, str(out), str(folder / "temp"), *names]
    status = execute(command, log, timeout, cwd, niceness)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []
    outcomes = [Outcome(**line) for line in lines if "test" in line]
    if not lines or "done" not in lines[-1]:
        ended = f"gave no answer within {timeout:.0f} s" if status is None else f"died with status {status}"
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        detail = f"the test run {ended}; its output ({log}) ends:\n{tail}"
        outcomes.append(Outcome(f"run of {label}", "failed", 0.0, detail))
    elif not outcomes:
        outcomes.append(Outcome(f"run of {label}", "failed", 0.0, f"no test was found in {' '.join(names)}"))
    return outcomes
