"""The rules of trims: a surplus replica is struck off the record first, by number, and only then ordered away.

What is retired does not return to the record under its number: an inventory that was taken before the order was carried
out would make metadata count on a replica that is about to go, or is gone (S17).  A node that serves it again gives it
a new number.
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.answers import Changed, Retired
from dfs.metaserver.chunks import tried_with, wanted
from dfs.metaserver.commands_moving import Retirement, RetireReplicas, TrimmedReplicas
from dfs.metaserver.mover import Stand, retirement_refusal
from dfs.metaserver.records import ChunkRecord, Standing
from dfs.metaserver.records_moving import RetiredRecord, Wish
from dfs.metaserver.transaction import Transaction

KEEP_MS = 3_600_000
"""A report of what a node held before it gave a replica up has arrived by then, or never will."""
SOUND = (Standing.ALIVE, Standing.MAINTENANCE)


def stays(state: Transaction, node: int) -> bool:
    """Whether a replica there counts for the future: the node is neither dead nor leaving."""
    record = state.node(node)
    return record is not None and record.standing in SOUND and state.life(node).wish == Wish.STAY


def retire(state: Transaction, command: RetireReplicas) -> Retired:
    taken = tuple(place for place, item in enumerate(command.retirements) if _retire(state, item))
    return Retired(state.index, taken)


def _retire(state: Transaction, item: Retirement) -> bool:
    chunk = state.chunk(item.file_id, item.index)
    replication = wanted(state, item.file_id)
    if chunk is None or not chunk.committed or not replication or chunk.generation != item.generation:
        return False
    recorded = _recorded(state, item, chunk)
    if retirement_refusal(item.node, item.number, item.survivors, recorded, replication):
        return False
    state.remove_replica(item.node, item.file_id, item.index)
    nodes = tuple(node for node in chunk.nodes if node != item.node)
    tried = tried_with(chunk.tried, item.node)
    state.put_chunk(item.file_id, item.index, evolve(chunk, nodes=nodes, tried=tried))
    state.put_short(item.file_id, item.index, len(nodes), replication)
    state.put_retired(
        item.node, item.file_id, item.index, RetiredRecord(item.generation, item.number, state.index)
    )
    state.disturb(nodes)
    return True


def _recorded(state: Transaction, item: Retirement, chunk: ChunkRecord) -> dict[int, Stand]:
    """The replica that goes and those that are said to stay, as they are recorded now."""
    recorded: dict[int, Stand] = {}
    for node in (item.node, *(survivor.node for survivor in item.survivors)):
        replica = state.replica(node, item.file_id, item.index)
        if replica is not None and node in chunk.nodes:
            recorded[node] = Stand(replica.number, stays(state, node))
    return recorded


def trimmed(state: Transaction, command: TrimmedReplicas) -> Changed:
    """The orders were carried out: nothing is left to be told there.  Said again after KEEP_MS, the record goes too."""
    count, now = 0, state.head.time_ms
    for item in command.trimmed:
        retired = state.retired(item.node, item.file_id, item.index)
        if retired is None or retired.number != item.number:
            continue
        if retired.gone_ms:
            if now - retired.gone_ms >= KEEP_MS:
                state.put_retired(item.node, item.file_id, item.index, None)
                count += 1
            continue
        state.put_retired(item.node, item.file_id, item.index, evolve(retired, gone_ms=max(1, now)))
        count += 1
        chunk = state.chunk(item.file_id, item.index)
        if chunk is not None and item.node in chunk.tried and wanted(state, item.file_id):
            tried = tuple(node for node in chunk.tried if node != item.node)
            state.put_chunk(item.file_id, item.index, evolve(chunk, tried=tried))
    return Changed(count)
