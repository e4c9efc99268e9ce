"""What operators ask of a cluster: nodes and their states, rebalancing, events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dfs.client.context import Context
from dfs.protocol.messages import (
    ChangeNode,
    Event,
    EventPage,
    GetRedundancy,
    ListEvents,
    ListNodes,
    NodeAnswer,
    NodeChange,
    NodeInfo,
    NodePage,
    Rebalance,
    RebalanceAction,
    Rebalanced,
    Redundancy,
)

PAGE = 1000


class Operator:
    """See dfs.client.api.Client.operator.  Everything raises DFSError."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def nodes(self) -> list[NodeInfo]:
        """Every chunk server that is known, by number."""
        found: list[NodeInfo] = []
        after: int | None = 0
        while after is not None:
            page = await self._context.ask(ListNodes(after, PAGE), NodePage)
            found += page.nodes
            after = page.after
        return found

    async def cluster_time_ms(self) -> int:
        """The leader's reckoning of cluster time, in which events are told."""
        return (await self._context.ask(ListNodes(0, 1), NodePage)).cluster_time_ms

    async def change(self, name: str, change: NodeChange, seconds: float = 0.0, dry_run: bool = False) -> NodeAnswer:
        """Drain a chunk server, and so on; ``seconds`` of maintenance."""
        return await self._context.ask(ChangeNode(name, change, int(seconds * 1000), dry_run), NodeAnswer)

    async def rebalance(self, action: RebalanceAction, threshold: int = 0, dry_run: bool = False) -> Rebalanced:
        """``threshold`` in per mille, for START."""
        return await self._context.ask(Rebalance(action, threshold, dry_run), Rebalanced)

    async def redundancy(self) -> Redundancy:
        """What lacks copies, and how healing goes."""
        return await self._context.ask(GetRedundancy(), Redundancy)

    async def events(self, after: int = 0, limit: int = PAGE) -> AsyncIterator[Event]:
        """Events above ``after``, oldest first, at most ``limit``; with ``after`` 0 the newest ones."""
        while limit > 0:
            page = await self._context.ask(ListEvents(after, min(limit, PAGE)), EventPage)
            for event in page.events:
                yield event
            if not page.events or after == 0:
                return
            limit -= len(page.events)
            after = page.events[-1].sequence
