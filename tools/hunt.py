"""Hunt each planted bug blind: which layer finds it, and after how many seeds.

    python tools/hunt.py [--family core] [--only NAME] [--seeds 2000]
    python tools/hunt.py --family system [--only NAME[,NAME...]] [--seeds 60] [--resume]

`tools/planted.py` proves that the test named by a patch goes red.  This tells more: every layer that tries the core, or
the whole cluster, is let loose on the patched copy, whether or not it is the one named (of the system: up to the first
that finds it).  It prints what the tables of doc/testing.md are made of; the exit code is 1 where a bug is found by
none.  Rows are kept in .build/hunt/ as they are found, so that a hunt that was ended goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from planted import Plant, copy_tree, read_plant
from trials import BUILD, ROOT, execute, run_tests

TIMEOUT = 600.0  # seconds, one layer


def by_test(name: str) -> Callable[[Path, int], str]:
    """A layer that is a module of tests."""

    def search(tree: Path, seeds: int) -> str:
        outcomes = run_tests(f"hunt-{tree.name}-{name}", [name], TIMEOUT, tree)
        return "yes" if any(line.outcome == "failed" for line in outcomes) else "-"

    return search


def by_module(name: str, *arguments: str) -> Callable[[Path, int], str]:
    """A layer that is a program and ends with 1 where it finds something."""

    def search(tree: Path, seeds: int) -> str:
        log = BUILD / "hunt" / f"{tree.name}-{name}.txt"
        status = execute([sys.executable, "-m", name, *arguments], log, TIMEOUT, tree)
        return {0: "-", 1: "yes"}.get(status if status is not None else -1, "error")

    return search


def by_swarm(tree: Path, seeds: int) -> str:
    """Seeds from 0 on, up to the first violation: how many it took."""
    command = [sys.executable, "-m", "dfs.simulation.consensus", "--first", "--json", "--seeds", f"0..{seeds - 1}"]
    done = subprocess.run(command, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return "error"
    document = json.loads(done.stdout)
    return f"{document['seeds']} seeds" if document["violations"] else "-"


def by_first(what: str, *arguments: str) -> Callable[[Path, int], str]:
    """The whole cluster, run after run up to the first violation: how many it took, and what was violated."""

    def search(tree: Path, seeds: int) -> str:
        flags = [argument.format(last=seeds - 1) for argument in arguments]
        command = [sys.executable, "-m", "dfs.simulation.first", *flags]
        environment = {"PYTHONPATH": str(tree)}
        try:
            done = subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=6 * TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return "error"
        if done.returncode not in (0, 1) or not done.stdout:
            return "error"
        document = json.loads(done.stdout)
        short = document["violation"].split(": /")[0][:60].replace("|", "/")
        return f"{document['runs']} {what}: {short}" if document["violation"] else "-"

    return search


Layers = dict[str, Callable[[Path, int], str]]

CORE: Layers = {
    "scripts": by_test("dfs.raft.test.test_core_scripts"),
    "exhaustive": by_module("dfs.simulation.consensus.explore", "--states", "20000"),
    "graphs": by_module("dfs.simulation.consensus.graphs"),
    "swarm": by_swarm,
}
SYSTEM: Layers = {
    "swarm": by_first("seeds", "--seeds", "0..{last}"),
    "scenarios": by_first("scenarios", "--scenarios"),
}
FAMILIES: dict[str, tuple[tuple[str, ...], Layers, int]] = {
    "core": (("core-*.patch", "consensus-*.patch"), CORE, 2000),
    "system": (("meta-*.patch", "chunk-*.patch", "raft-*.patch", "client-*.patch"), SYSTEM, 60),
}
"""Of each family: whose patches, which layers, how many seeds."""
HUNTED = "# hunt: system\n"
"""A header of those patches of the system that can be seen from outside; the others are hunted where they are named."""


def hunt(plant: Plant, scratch: Path, seeds: int, layers: Layers, every: bool) -> list[str]:
    """One bug under each layer, or up to the first that finds it: what each says."""
    tree = scratch / plant.name
    copy_tree(tree, head=False)
    subprocess.run(["patch", "-p1", "--silent", "--input", str(plant.path)], cwd=tree, check=True)
    found: list[str] = []
    for search in layers.values():
        seen_already = not every and any(word != "-" for word in found)
        found.append("" if seen_already else search(tree, seeds))
    shutil.rmtree(tree, ignore_errors=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Hunt each planted bug by every layer.")
    parser.add_argument("--family", choices=FAMILIES, default="core")
    parser.add_argument("--only", help="names of patches, without .patch, separated by commas")
    parser.add_argument("--resume", action="store_true", help="take the rows that an earlier hunt has found already")
    parser.add_argument("--seeds", type=int, help="seeds of the swarm at most")
    options = parser.parse_args()
    kinds, layers, usual = FAMILIES[options.family]
    wanted = options.only.split(",") if options.only else None
    paths = sorted(path for kind in kinds for path in (ROOT / "planted").glob(kind))
    if wanted is None and options.family == "system":
        paths = [path for path in paths if HUNTED in path.read_text(encoding="utf-8")]
    missed = 0
    kept = BUILD / "hunt" / f"{options.family}.json"
    rows: dict[str, list[str]] = json.loads(kept.read_text()) if options.resume and kept.exists() else {}
    kept.parent.mkdir(parents=True, exist_ok=True)
    print(f"| patch | {' | '.join(layers)} |\n|---|{'---|' * len(layers)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hunt-") as folder:
        for path in paths:
            if wanted is not None and path.stem not in wanted:
                continue
            every = options.family == "core"
            found = rows.get(path.stem) or hunt(read_plant(path), Path(folder), options.seeds or usual, layers, every)
            rows[path.stem] = found
            kept.write_text(json.dumps(rows))
            missed += all(word == "-" for word in found)
            print(f"| {path.stem} | {' | '.join(found)} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
