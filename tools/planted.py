"""Prove that the tests see: plant each bug of planted/*.patch in a copy of the tree, and see its test go red.

    python tools/planted.py [--only NAME] [--jobs 2] [--head]

A patch opens with `# guard:` (what it breaks) and `# red:` (the dotted name of the test that must fail).
That test must pass in the tree as it is, and must itself run and fail in the patched copy: an import that
fails, a hang, a test that is not found or a patch that no longer applies proves nothing and fails here.
The copy holds the working tree's files as git sees them; with --head, those of the last commit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trials import BUILD, ROOT, Outcome, execute, run_tests

AS_IT_IS = "as-it-is"
TIMEOUT = 240.0  # seconds, one test, also beside others


@dataclass(frozen=True)
class Plant:
    """One planted bug."""

    path: Path
    guard: str
    red: str
    slow: bool

    @property
    def name(self) -> str:
        return self.path.stem


def read_plant(path: Path) -> Plant:
    """Raises ValueError where a header is missing."""
    headers: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        key, _, value = line.lstrip("# ").partition(":")
        headers[key.strip()] = value.strip()
    if not headers.get("guard") or not headers.get("red"):
        raise ValueError(f"{path.name} does not open with '# guard:' and '# red:' lines")
    return Plant(path, headers["guard"], headers["red"], "slow" in headers)


def copy_tree(target: Path, head: bool) -> None:
    """The tree without what git ignores, and without its history."""
    target.mkdir()
    if head:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)
        return
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def compile_tree(tree: Path) -> None:
    """Byte code for all of it, once: hundreds of processes import the same modules."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "2", "dfs", "twisted"]
    subprocess.run(command, cwd=tree, capture_output=True, check=False)  # a file that does not compile fails its test


def twin(tree: Path, target: Path, patch: str) -> None:
    """Another tree of the same files, by links, byte code among them, so that only what a patch changes is compiled
    anew.  Files that the patch touches are copies."""
    shutil.copytree(tree, target, copy_function=os.link)
    for line in patch.splitlines():
        name = line.removeprefix("+++ b/").split("\t")[0]
        if name != line and (target / name).is_file():
            (target / name).unlink()
            shutil.copyfile(tree / name, target / name)
            for compiled in (target / name).parent.glob(f"__pycache__/{Path(name).stem}.*"):
                compiled.unlink()


def covers(red: str, test: str) -> bool:
    """Whether a test's id is the named test, or stands in the named class or module."""
    return test == red or test.startswith(red + ".")


def prove(plant: Plant, scratch: Path, healthy: Callable[[str], bool], niceness: int) -> Outcome:
    """Plant one bug in a twin of the tree that was seen green and say whether its test saw it."""
    began = time.monotonic()

    def verdict(outcome: str, detail: str) -> Outcome:
        return Outcome(f"planted {plant.name}", outcome, time.monotonic() - began, detail)

    if not healthy(plant.red):
        return verdict("failed", f"{plant.red} does not pass, or does not exist, in the tree as it is")
    tree = scratch / plant.name
    twin(scratch / AS_IT_IS, tree, plant.path.read_text(encoding="utf-8"))
    log = BUILD / "planted" / f"{plant.name}.txt"
    patch = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--input", str(plant.path)]
    if shutil.which("patch") is None:
        patch = ["git", "apply", str(plant.path)]
    if execute(patch, log, TIMEOUT, tree) != 0:
        return verdict("failed", f"{plant.path.name} does not apply: {log.read_text(encoding='utf-8').strip()}")
    outcomes = run_tests(f"planted-{plant.name}", [plant.red], TIMEOUT, tree, niceness)
    shutil.rmtree(tree, ignore_errors=True)
    if any(line.outcome == "failed" and covers(plant.red, line.test) for line in outcomes):
        return verdict("passed", f"{plant.red} goes red")
    told = "; ".join(f"{line.test} {line.outcome}" for line in outcomes)
    return verdict("failed", f"{plant.red} does not go red: {told}")


def prove_all(
    only: str | None = None,
    jobs: int = 2,
    head: bool = False,
    niceness: int = 0,
    green: Sequence[Outcome] = (),
    slow: bool = True,
) -> list[Outcome]:
    """Prove each planted bug, two at a time, a line each; the tests are first seen green together.

    :param green: outcomes of this very tree that are known already: those tests are not run again without a bug.
    :param slow: whether those whose patch has a line ``# slow:`` are proven too.
    """
    paths = [path for path in sorted((ROOT / "planted").glob("*.patch")) if only in (None, path.stem)]
    plants, outcomes = [], []
    for path in paths:
        try:
            plants.append(read_plant(path))
        except ValueError as error:
            outcomes.append(Outcome(f"planted {path.stem}", "failed", 0.0, str(error)))
    plants = [plant for plant in plants if slow or not plant.slow]
    if not plants:
        return outcomes
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder) / AS_IT_IS
        copy_tree(tree, head)
        compile_tree(tree)
        reds = sorted({plant.red for plant in plants if not any(covers(plant.red, line.test) for line in green)})
        sides = [part for part in (reds[0::2], reds[1::2]) if part]
        with ThreadPoolExecutor(jobs) as pool:
            labels = [f"planted-green-{number}" for number in range(len(sides))]
            limits = [len(names) * TIMEOUT for names in sides]
            runs = pool.map(partial(run_tests, cwd=tree, niceness=niceness), labels, sides, limits)
            found = [*green, *(line for run in runs for line in run)]

            def healthy(red: str) -> bool:
                mine = [line.outcome for line in found if covers(red, line.test)]
                return bool(mine) and all(outcome == "passed" for outcome in mine)

            work = partial(prove, scratch=Path(folder), healthy=healthy, niceness=niceness)
            for line in pool.map(work, plants):
                seen = "red" if line.outcome == "passed" else "NOT SEEN"
                print(f"{seen}  {line.test}  {line.seconds:.1f} s", flush=True)
                outcomes.append(line)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove each planted bug.")
    parser.add_argument("--only", help="the name of one patch, without .patch")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--head", action="store_true", help="use the last commit instead of the working tree")
    options = parser.parse_args()
    outcomes = prove_all(options.only, options.jobs, options.head)
    width = max((len(line.test) for line in outcomes), default=0)
    print()
    for line in outcomes:
        print(f"{line.test:{width}}  {'seen' if line.outcome == 'passed' else 'NOT SEEN':8}  {line.detail}")
    failed = sum(line.outcome == "failed" for line in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
