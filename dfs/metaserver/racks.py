"""Racks are paths, ``dc1/r7``: how close one is to others, level by level.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

LEVELS = 4  # of a rack's path that count


@lru_cache(4096)
def _prefixes(rack: str) -> tuple[str, ...]:
    """The rack's path down to each level, behind the level."""
    path = rack.split("/")
    return tuple(f"{level}/" + "/".join(path[:level]) for level in range(1, LEVELS + 1))


def counts(racks: Sequence[str]) -> dict[str, int]:
    """How many of them share each beginning of a path."""
    found: dict[str, int] = {}
    for rack in racks:
        for prefix in _prefixes(rack):
            found[prefix] = found.get(prefix, 0) + 1
    return found


def closeness_by(rack: str, counted: Mapping[str, int]) -> tuple[int, ...]:
    """:func:`closeness`, where the others were counted by :func:`counts`."""
    return tuple([counted.get(prefix, 0) for prefix in _prefixes(rack)])


def closeness(rack: str, others: Sequence[str]) -> tuple[int, ...]:
    """How many of ``others`` share the rack's path, a number for each level; the first level weighs most."""
    return closeness_by(rack, counts(others))
