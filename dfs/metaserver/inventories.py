"""What a node says it holds, beside what is recorded of it.

An inventory "as of n" proves absence only of what was recorded under a number at or below n (S06).  What is held and
not recorded is added where it is the committed generation, length and SHA-256; of an ended file, so that it is
deleted; what metadata does not know at all, and what another history stored under a file id of this one, is counted and
left alone (S16).  What this history has not issued yet proves that metadata was put back to an older state.
"""

from __future__ import annotations

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries, tables
from dfs.metaserver.commands import Lost
from dfs.metaserver.records import replica_codec
from dfs.metaserver.stale import is_stale
from dfs.protocol.digests import digest_of, replica_hash
from dfs.protocol.messages import ChunkCommit, DurableReplica, HeldReplica, Inventory, RangeDigest
from dfs.protocol.values import HISTORY_SHIFT, Generation, NodeNumber

MAX_COMPARED = 1000  # records looked at by one call


@frozen
class Differences:
    """``missing`` goes into RemoveReplicas(node, as_of=inventory.number), ``found`` into AddReplicas, both at most
    256 a command.  ``future`` counts what is of this history and was never issued; ``stale`` are of generations that
    were given up.  ``after`` is where the next call goes on, None at the end of the page."""

    missing: tuple[Lost, ...]
    found: tuple[ChunkCommit, ...]
    unknown: int
    future: int
    stale: tuple[HeldReplica, ...]
    after: bytes | None


def compare(store: IKeyValueStore, inventory: Inventory, after: bytes | None = None) -> Differences:
    """Compare a bounded part of a page.

    :param after: ``Differences.after`` of the call before; None at the page's beginning.
    """
    begin = inventory.after if after is None else after
    prefix = tables.replicas_of(inventory.node)
    start = prefix + begin + b"\x00" if begin else prefix
    pairs = store.scan(start, prefix + inventory.upto + b"\x00", MAX_COMPARED + 1)
    end = pairs[MAX_COMPARED - 1][0][-12:] if len(pairs) > MAX_COMPARED else inventory.upto
    recorded = {tables.place_of(key): replica_codec.decode(value).number for key, value in pairs[:MAX_COMPARED]}
    held: dict[tuple[int, int], list[HeldReplica]] = {}
    for replica in inventory.replicas:
        where = tables.place(replica.file_id, replica.index)
        if begin < where <= end:
            held.setdefault((replica.file_id, replica.index), []).append(replica)
    missing = tuple(
        Lost(file_id, index, number)
        for (file_id, index), number in recorded.items()
        if number <= inventory.number and not _holds(store, file_id, index, held.get((file_id, index), ()))
    )
    head = queries.head(store)
    issued = Generation(head.generation if head is not None else 0)
    found, unknown = _found(store, inventory.node, recorded, held, issued)
    future = sum(_is_of_the_future(issued, each.generation) for replicas in held.values() for each in replicas)
    stale = tuple(each for replicas in held.values() for each in replicas if _is_stale(store, each))
    return Differences(missing, found, unknown, future, stale, None if end == inventory.upto else end)


def _is_stale(store: IKeyValueStore, held: HeldReplica) -> bool:
    chunk = queries.chunk(store, held.file_id, held.index)
    return chunk is not None and chunk.committed and is_stale(held.generation, chunk.generation)


def is_recorded(store: IKeyValueStore, node: int, after: bytes, told: RangeDigest) -> bool:
    """Whether what a node tells of a range is exactly what is recorded: the same replicas under the same numbers.
    Looks at no more records than the node has replicas there, and one."""
    prefix = tables.replicas_of(node)
    start = prefix + after + b"\x00" if any(after) else prefix
    pairs = store.scan(start, prefix + told.upto + b"\x00", told.count + 1)
    if len(pairs) != told.count:
        return False
    total = sum(replica_hash(*tables.place_of(key), replica_codec.decode(value).number) for key, value in pairs)
    return digest_of(total) == told.digest


def _is_of_the_future(issued: Generation, generation: Generation) -> bool:
    """A leader has applied every entry that issued a generation before anybody could write it."""
    return generation > issued and generation >> HISTORY_SHIFT == issued >> HISTORY_SHIFT


def _holds(store: IKeyValueStore, file_id: int, index: int, held: list[HeldReplica] | tuple[()]) -> bool:
    """Whether the recorded bytes are among what is held."""
    if not held:
        return False
    chunk = queries.chunk(store, file_id, index)
    return chunk is None or any(each.generation == chunk.generation and each.sha256 == chunk.sha256 for each in held)


def _found(
    store: IKeyValueStore,
    node: int,
    recorded: dict[tuple[int, int], int],
    held: dict[tuple[int, int], list[HeldReplica]],
    issued: Generation,
) -> tuple[tuple[ChunkCommit, ...], int]:
    found, unknown = [], 0
    for (file_id, index), replicas in held.items():
        chunk = queries.chunk(store, file_id, index)
        if chunk is None:
            unknown += len(replicas)
            continue
        ended = queries.upload(store, file_id) is None and queries.copies(store, file_id, index) is None
        for each in replicas:
            same = chunk.committed and (each.generation, each.sha256) == (chunk.generation, chunk.sha256)
            if each.generation >> HISTORY_SHIFT != issued >> HISTORY_SHIFT and not same:
                unknown += 1
                continue
            newer = each.number > recorded.get((file_id, index), 0)
            unlisted = ended and node not in chunk.nodes + chunk.tried
            if (same and newer and not ended) or unlisted:
                durable = (DurableReplica(NodeNumber(node), each.number),)
                found.append(ChunkCommit(each.file_id, index, each.generation, each.length, each.sha256, durable))
    return tuple(found), unknown
