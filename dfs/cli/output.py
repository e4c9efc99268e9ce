"""What the command prints: text for people, JSON for scripts, errors as one sentence and a hint."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from dfs.client.progress import Progress
from dfs.runtime.units import format_duration, format_size


def print_json(document: dict[str, Any]) -> None:
    """One document on one line of stdout, in ASCII: it is the same whatever the locale."""
    sys.stdout.write(json.dumps(document) + "\n")


def printable(name: str) -> str:
    """A name for a terminal: control characters and line ends escaped, so that a name is never an instruction (S44)."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def print_error(code: int, message: str, hint: str, as_json: bool) -> None:
    """On stderr."""
    if as_json:
        document = {"error": {"code": code, "message": message, "hint": hint}}
        sys.stderr.write(json.dumps(document) + "\n")
        return
    sys.stderr.write(f"dfs: {printable(message)}\n")
    if hint:
        sys.stderr.write(f"     {printable(hint)}\n")


def show_time(milliseconds: int) -> str:
    """UTC as RFC 3339 has it, to the second: `date -d`, jq's fromdate and datetime.fromisoformat read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds // 1000))


def table(rows: list[tuple[str, ...]], indent: str = "") -> str:
    """Columns as wide as they must be; the last one unpadded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)


class Bar:
    """A progress line on a terminal; nothing in a pipe.  Call :meth:`end` before anything else is printed."""

    def __init__(self, label: str, stream: TextIO, wanted: bool) -> None:
        self._label = printable(label)
        self._stream = stream
        self._wanted = wanted and stream.isatty()
        self._drawn = 0.0
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not self._wanted or (now - self._drawn < 0.1 and progress.done != progress.total):
            return
        self._drawn = now
        line = f"{self._label}  {describe(progress)}"
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def end(self) -> None:
        """Leave the terminal on a fresh line (S48)."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0


def describe(progress: Progress) -> str:
    """As in ``45%  12.0 MiB of 64.0 MiB  110.2 MiB/s  3 s to go``."""
    parts = []
    if progress.total is None:
        parts.append(format_size(progress.done))
    else:
        percent = 100 * progress.done // progress.total if progress.total else 100
        parts += [f"{percent:3d}%", f"{format_size(progress.done)} of {format_size(progress.total)}"]
    parts.append(f"{format_size(int(progress.rate))}/s")
    if progress.remaining is not None:
        parts.append(f"{format_duration(progress.remaining)} to go")
    return "  ".join(parts)
