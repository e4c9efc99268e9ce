"""Verdicts on what chunk servers have set aside: kept, served again, or deleted (S11, S16).

Survivors are counted, never assumed: a replica counts only at another node, recorded there, alive now, and of a node
whose whole inventory this leader has seen.  What metadata does not know is kept, what is of another history is kept,
and nothing is deleted once a node holds what this history never issued.
"""

from __future__ import annotations

from collections.abc import Collection

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.seams import Seams
from dfs.protocol.messages import JudgeQuarantined, QuarantineJudged, QuarantineVerdict, SetAside
from dfs.protocol.values import Generation, NodeState, may_delete


def judge(
    store: IKeyValueStore, request: JudgeQuarantined, alive: Collection[int], proven: Collection[int]
) -> tuple[QuarantineVerdict, ...]:
    """One verdict a replica.

    :param alive: nodes that are alive.
    :param proven: those whose replicas count as survivors.
    """
    head = queries.head(store)
    issued = Generation(head.generation if head is not None else 0)
    return tuple(_judge_one(store, request.node, issued, each, alive, proven) for each in request.replicas)


def _judge_one(
    store: IKeyValueStore,
    node: int,
    issued: Generation,
    aside: SetAside,
    alive: Collection[int],
    proven: Collection[int],
) -> QuarantineVerdict:
    if not may_delete(issued, aside.generation):
        return QuarantineVerdict.KEEP
    if queries.garbage(store, aside.file_id) is not None:
        ends = aside.expired and node in proven
        return QuarantineVerdict.DELETE if ends else QuarantineVerdict.KEEP
    copies = queries.copies(store, aside.file_id, aside.index)
    if copies is None or aside.generation > copies.generation:
        return QuarantineVerdict.KEEP
    others = [other for other in copies.nodes if other != node]
    if _is_wanted(aside, copies) and node not in copies.nodes and sum(n in alive for n in others) < copies.wanted:
        return QuarantineVerdict.ADMIT
    survivors = sum(other in proven for other in others)
    if aside.expired and node in proven and survivors >= copies.wanted:
        return QuarantineVerdict.DELETE
    return QuarantineVerdict.KEEP


def _is_wanted(aside: SetAside, copies: ChunkCopies) -> bool:
    """Whether it is whole and the committed bytes (S07)."""
    told = (aside.generation, aside.length, aside.sha256)
    return aside.whole and told == (copies.generation, copies.length, copies.sha256)


class Quarantines:
    """Answers chunk servers' questions."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams

    async def judge(self, term: LeaderTerm, request: JudgeQuarantined) -> QuarantineJudged:
        """See JudgeQuarantined: on a state that is confirmed to be the newest.  Raises DFSError."""
        numbers = self._seams.roster.numbers()
        alive = frozenset(number for number in numbers if term.state(number) is NodeState.ALIVE)
        proven = frozenset(number for number in alive if term.inventorying.may_delete(number))
        verdicts = await self._seams.reader.read(judge, request, alive, proven)
        term.check()
        return QuarantineJudged(verdicts)
