"""See the package."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile

from attrs import asdict

from bench.rackloss.load import Author
from bench.rackloss.model import NODE_RATE, RackLoss, Samples, nodes_left
from bench.rackloss.plot import plot
from dfs.protocol.values import CHUNK_SIZE


def show(found: Samples, chunks: int) -> None:
    """For people."""
    least = found.copies * CHUNK_SIZE / (nodes_left() * NODE_RATE / 2)
    print(f"{chunks} chunks; {found.copies} copies made, {found.copies * CHUNK_SIZE / (1 << 40):.2f} TiB")
    print(f"  single copies safe after {found.single_safe:.1f} s, whole after {found.whole:.1f} s, the CPU included")
    print(f"  at the allowed rate alone: {least:.1f} s")
    print(f"  planner, reactor thread: {found.planning:.1f} CPU s, {1e6 * found.planning / found.copies:.0f} us a copy")
    print(f"  it held the thread up for {1000 * found.longest:.1f} ms at the longest, in {found.plans} slices")
    print(f"  lane: reading {found.read} chunks {found.reading:.1f} CPU s, applying {found.applying:.1f}")
    print(f"  all that is short was known after {found.counted:.1f} s")
    print(f"  {found.resident / (1 << 20):.0f} MiB resident, {found.resident_before / (1 << 20):.0f} before")


def main() -> int:
    """0."""
    parser = argparse.ArgumentParser(prog="python -m bench.rackloss")
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--folder", metavar="DIR", help="grow the tables here first, work on a copy, keep them")
    parser.add_argument("--svg", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="dfs-rackloss-")
    try:
        if options.folder:
            kept = Author(options.folder)
            kept.grow(options.chunks)
            kept.machine.close()
            shutil.copytree(options.folder, folder, dirs_exist_ok=True)
        author = Author(folder)
        author.grow(options.chunks)
        chunks = author.machine.head.chunks
        found = RackLoss(author).run()
        author.machine.close()
    finally:
        shutil.rmtree(folder)
    show(found, chunks)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(plot(found, chunks))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"chunks": chunks, **asdict(found)}, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
