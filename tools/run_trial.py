"""Run tests under trial and write one JSON line for each: what `make test` counts.

    python tools/run_trial.py OUT.jsonl TEMPORARY_FOLDER NAME...

Trial's own machinery loads and runs them (its clean-up checks too); only the reporter is ours.  The last
line of OUT is ``{"done": N}``: where it is missing, the run died.  What tests print goes to stdout.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TrialRunner

WORST = ("passed", "skipped", "failed")


class LineReporter(Reporter):
    """One line a test: its id, outcome, seconds, and the reason of a skip or the text of a failure.

    A test may report more than once (a failure, then a dirty reactor): the worst stands.  An expected failure
    counts as a skip, and an unexpected success as a failure.  Errors outside of any test, such as a module that
    cannot be imported, are lines of their own.
    """

    out: TextIO

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: str | None = None
        self._outcome, self._detail, self._began = "passed", "", 0.0

    def startTest(self, method: Any) -> None:
        super().startTest(method)
        self._running, self._outcome, self._detail = method.id(), "passed", ""
        self._began = time.perf_counter()

    def stopTest(self, method: Any) -> None:
        super().stopTest(method)
        if self._running is not None:
            self._record(self._running, self._outcome, time.perf_counter() - self._began, self._detail)
        self._running = None

    def _reported(self, test: Any, outcome: str, detail: str) -> None:
        if self._running is None:
            self._record(test.id(), outcome, 0.0, detail)
        elif WORST.index(outcome) > WORST.index(self._outcome):
            self._outcome, self._detail = outcome, detail

    def _record(self, test: str, outcome: str, seconds: float, detail: str) -> None:
        line = {"test": test, "outcome": outcome, "seconds": round(seconds, 4), "detail": detail}
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._reported(test, "failed", self._formatFailureTraceback(self._getFailure(error)))

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._reported(test, "failed", self._formatFailureTraceback(self._getFailure(fail)))

    def addSkip(self, test: Any, reason: Any) -> None:
        super().addSkip(test, reason)
        self._reported(test, "skipped", str(reason))

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        super().addExpectedFailure(test, error, todo)
        self._reported(test, "skipped", f"expected to fail: {getattr(todo, 'reason', '')}")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        super().addUnexpectedSuccess(test, todo)
        self._reported(test, "failed", "it was expected to fail, and passed")


def main() -> int:
    out, folder, names = Path(sys.argv[1]), Path(sys.argv[2]).absolute(), sys.argv[3:]
    sys.path[0] = str(Path.cwd())
    with out.open("w", encoding="utf-8") as lines:
        LineReporter.out = lines
        runner = TrialRunner(LineReporter, stream=sys.stdout, workingDirectory=str(folder))
        result: Any = runner.run(TestLoader().loadByNames(names))
        lines.write(json.dumps({"done": result.testsRun}) + "\n")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
