"""Every reachable state of a small world, breadth first: the shortest road to a broken promise, if there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from attrs import frozen

W = TypeVar("W", bound=Hashable)


@frozen
class Explored:
    """``hole`` is "" when every reachable state keeps the promise; else ``road`` leads to it."""

    states: int
    hole: str
    road: tuple[str, ...]


def explore(start: W, steps: Callable[[W], Iterable[tuple[str, W]]], broken: Callable[[W], str]) -> Explored:
    """:param steps: every next state, each with what happened.
    :param broken: which promise a state breaks; "" for none.
    """
    came_from: dict[W, tuple[W, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        for label, after in steps(world):
            if after in came_from:
                continue
            came_from[after] = (world, label)
            if hole := broken(after):
                return Explored(len(came_from), hole, _road(came_from, after))
            queue.append(after)
    return Explored(len(came_from), "", ())


def _road(came_from: dict[W, tuple[W, str] | None], world: W) -> tuple[str, ...]:
    road: list[str] = []
    while (step := came_from[world]) is not None:
        world, label = step
        road.append(label)
    return tuple(reversed(road))
