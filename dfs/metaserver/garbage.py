"""The rule of collection: what is left of an ended file goes in bounded commands, as its nodes report that they hold
nothing.

A node that is dead keeps its place in the chunk's record until it comes back and deletes: an order that was not carried
out is never forgotten (S15).
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.answers import Collected
from dfs.metaserver.commands import CollectGarbage
from dfs.metaserver.transaction import Transaction
from dfs.protocol.errors import BadRequest


def collect(state: Transaction, command: CollectGarbage) -> Collected:
    if state.garbage(command.file_id) is None:
        if state.file(command.file_id) is not None or state.upload(command.file_id) is not None:
            raise BadRequest("the file lives; nothing of it is garbage")
        return Collected(True)
    for item in command.freed:
        free(state, command.file_id, item.index, item.node)
    if state.has_chunks(command.file_id):
        return Collected(False)
    state.put_garbage(command.file_id, None)
    state.head.garbage -= 1
    return Collected(True)


def free(state: Transaction, file_id: int, index: int, node: int) -> None:
    """The node holds nothing of an ended file's chunk any more."""
    state.put_retired(node, file_id, index, None)
    chunk = state.chunk(file_id, index)
    if chunk is None:
        return
    state.remove_replica(node, file_id, index)
    nodes = tuple(each for each in chunk.nodes if each != node)
    tried = tuple(each for each in chunk.tried if each != node)
    if nodes or tried:
        state.put_chunk(file_id, index, evolve(chunk, nodes=nodes, tried=tried))
        return
    state.put_chunk(file_id, index, None)
    state.put_short(file_id, index, 0, 0)
    if chunk.committed:
        state.head.chunks -= 1
