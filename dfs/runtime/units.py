"""Sizes and durations as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from dfs.runtime.errors import SettingError

BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

SIZES: dict[str, int] = {
    "": 1,
    **{unit.lower(): 1024**power for power, unit in enumerate(BINARY)},
    **{unit[0].lower(): 1024**power for power, unit in enumerate(BINARY)},
    **{f"{unit[0].lower()}b": 1000**power for power, unit in enumerate(BINARY) if power},
}
"""Bytes in a unit: MiB and M are 1024 * 1024, MB is 1,000,000."""

DURATIONS: dict[str, Fraction] = {
    "": Fraction(1),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
    "w": Fraction(7 * 86400),
}

_NUMBER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes of ``4MiB``, ``64k``, ``1.5 GB`` or ``4096``; raises SettingError."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2].lower() not in SIZES:
        raise SettingError(f"{text!r} is not a size: write it as in 4MiB, 64KiB or 4194304")
    size = Fraction(found[1]) * SIZES[found[2].lower()]
    if size.denominator != 1:
        raise SettingError(f"{text!r} is not a whole number of bytes")
    return int(size)


def parse_duration(text: str) -> float:
    """Seconds of ``30``, ``1.5h``, ``10m``, ``250ms``; raises SettingError."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2].lower() not in DURATIONS:
        raise SettingError(f"{text!r} is not a duration: write it as in 30, 250ms, 10m, 1.5h or 7d")
    return float(Fraction(found[1]) * DURATIONS[found[2].lower()])


def format_size(size: int) -> str:
    """``4194304`` as ``4.0 MiB``; below a KiB the exact bytes."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in BINARY:
        if amount < 1023.95 or unit == BINARY[-1]:
            break
        amount /= 1024
    return f"{amount:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """``0.25`` as ``250 ms``, ``42`` as ``42 s``, ``3725`` as ``1 h 2 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    raise AssertionError("a minute or more is in the table")
