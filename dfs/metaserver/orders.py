"""Jobs on their way to chunk servers: kept until the node says that it has them (S12).

A job rides on each heartbeat answer until a beat names it as running or reports its result, for an answer may be lost.
An order that nobody took in time is dropped; its planner, whose deadline passed as well, makes a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

from attrs import frozen

from dfs.protocol.messages import Job, JobKind

MAX_WAITING = 1000
"""Orders that wait for one node; more are dropped, as if lost on the way."""
_PRECEDENCE = {JobKind.COPY: 0, JobKind.RESTORE: 0, JobKind.VERIFY: 1, JobKind.DELETE: 2, JobKind.TRIM: 2}


@frozen
class _Order:
    job: Job
    expires: float


class Orders:
    """By node number.  Times are monotonic seconds.

    :param expired: told of each job that is dropped: it failed.
    """

    def __init__(self, expired: Callable[[Job], None]) -> None:
        self._expired = expired
        self._waiting: dict[int, OrderedDict[int, _Order]] = {}

    def put(self, node: int, job: Job, expires: float) -> None:
        """Have ``node`` do it; given on its next beats until ``expires``."""
        orders = self._waiting.setdefault(node, OrderedDict())
        if len(orders) < MAX_WAITING:
            orders[job.job] = _Order(job, expires)
        else:
            self._expired(job)

    def heard(self, node: int, taken: Collection[int]) -> None:
        """A beat came: the node has the jobs ``taken``, running or done."""
        orders = self._waiting.get(node)
        if orders:
            for number in taken:
                orders.pop(number, None)

    def due(self, node: int, limit: int, now: float) -> tuple[Job, ...]:
        """At most ``limit`` jobs for the answer to a beat: copies first, deletions last, the oldest first."""
        orders = self._waiting.get(node)
        if not orders:
            return ()
        for number in [number for number, order in orders.items() if order.expires <= now]:
            self._expired(orders.pop(number).job)
        jobs = sorted((order.job for order in orders.values()), key=lambda job: _PRECEDENCE[job.kind])
        return tuple(jobs[:limit])

    def dropped(self, node: int) -> None:
        """The node is dead: what waited for it is dropped."""
        for order in self._waiting.pop(node, OrderedDict()).values():
            self._expired(order.job)
