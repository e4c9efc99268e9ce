"""The rules of commits and replicas: what is recorded, and what may be struck off.

A record says: this node made these bytes of this generation durable, under this number.  It is made by a commit of the
generation that is allocated in the present epoch, or later by an add that names the committed generation, length and
SHA-256.  It is struck off only by a removal that names the very number recorded (S06, and the model).
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import AddReplicas, CommitChunks, RemoveReplicas
from dfs.metaserver.records import MAX_NODES_OF_A_CHUNK, ChunkRecord, ReplicaRecord, UploadRecord
from dfs.metaserver.transaction import Transaction
from dfs.protocol.messages import ChunkCommit, CommitOutcome, CommitOutcomes, DurableReplica


def commit(state: Transaction, command: CommitChunks) -> CommitOutcomes:
    return CommitOutcomes(tuple(_commit(state, each) for each in command.commits))


def _commit(state: Transaction, item: ChunkCommit) -> CommitOutcome:
    upload = state.upload(item.file_id)
    chunk = state.chunk(item.file_id, item.index)
    if upload is None and state.file(item.file_id) is None:
        if chunk is not None:
            _note_tried(state, item, chunk)  # they hold it now: the order to delete reaches them as well (S15)
        return CommitOutcome.GONE
    if chunk is None:
        return CommitOutcome.STALE
    if chunk.committed:
        if not _matches(chunk, item):
            return CommitOutcome.STALE
        _record(state, item, chunk, _known(state, item), wanted(state, item.file_id))
        return CommitOutcome.COMMITTED
    if upload is None or chunk.generation != item.generation or chunk.epoch != upload.epoch:
        return CommitOutcome.STALE
    replicas = _known(state, item)
    if len(replicas) < upload.quorum or not 0 < item.length <= upload.chunk_size:
        return CommitOutcome.STALE  # no primary that keeps the protocol sends this
    _commit_first(state, item, chunk, replicas, upload)
    return CommitOutcome.COMMITTED


def _commit_first(
    state: Transaction,
    item: ChunkCommit,
    chunk: ChunkRecord,
    replicas: tuple[DurableReplica, ...],
    upload: UploadRecord,
) -> None:
    durable = {replica.node for replica in replicas}
    tried = tuple(node for node in chunk.tried + chunk.nodes if node not in durable)
    fresh = ChunkRecord(
        generation=chunk.generation,
        epoch=chunk.epoch,
        committed=True,
        length=item.length,
        sha256=item.sha256,
        nodes=(),
        tried=tried,
    )
    state.put_upload(
        item.file_id,
        evolve(
            upload,
            count=upload.count + 1,
            bytes=upload.bytes + item.length,
            extent=max(upload.extent, item.index + 1),
        ),
    )
    state.head.chunks += 1
    _record(state, item, fresh, replicas, upload.replication)


def _matches(chunk: ChunkRecord, item: ChunkCommit) -> bool:
    same_bytes = chunk.sha256 == item.sha256 and chunk.length == item.length
    return chunk.committed and chunk.generation == item.generation and same_bytes


def _known(state: Transaction, item: ChunkCommit) -> tuple[DurableReplica, ...]:
    """The replicas at registered nodes, one a node."""
    by_node = {replica.node: replica for replica in item.replicas}
    return tuple(replica for node, replica in by_node.items() if state.has_node(node))


def _record(
    state: Transaction, item: ChunkCommit, chunk: ChunkRecord, replicas: tuple[DurableReplica, ...], replication: int
) -> None:
    """Add replicas to the record of a committed chunk."""
    nodes = chunk.nodes
    for replica in replicas:
        known = replica.node in nodes
        if not known and len(nodes) >= MAX_NODES_OF_A_CHUNK:
            continue
        former = state.replica(replica.node, item.file_id, item.index)
        if former is not None and former.number >= replica.number:
            continue  # an older add's word, come late
        if not _may_return(state, item, replica):
            continue
        state.put_replica(replica.node, item.file_id, item.index, ReplicaRecord(replica.number, item.length))
        if not known:
            nodes = (*nodes, replica.node)
        state.disturb((replica.node,))
    tried = tuple(node for node in chunk.tried if node not in nodes)
    state.put_chunk(item.file_id, item.index, evolve(chunk, nodes=nodes, tried=tried))
    state.put_short(item.file_id, item.index, len(nodes), replication)


def _may_return(state: Transaction, item: ChunkCommit, replica: DurableReplica) -> bool:
    """A replica that was retired returns under a new number only: the order to give the old one up is on its way."""
    retired = state.retired(replica.node, item.file_id, item.index)
    if retired is None:
        return True
    if replica.number <= retired.number:
        return False
    state.put_retired(replica.node, item.file_id, item.index, None)
    return True


def wanted(state: Transaction, file_id: int) -> int:
    """The replication of a living file or upload; 0 where it has ended."""
    if (upload := state.upload(file_id)) is not None:
        return upload.replication
    file = state.file(file_id)
    return 0 if file is None else file.replication


def add(state: Transaction, command: AddReplicas) -> Changed:
    """Recorded where generation, length and SHA-256 are the committed ones.  At a file that has ended the node is
    noted, so that the order to delete reaches it as well (S15)."""
    count = 0
    for item in command.replicas:
        chunk = state.chunk(item.file_id, item.index)
        if chunk is None:
            continue
        replication = wanted(state, item.file_id)
        if replication and _matches(chunk, item):
            _record(state, item, chunk, _known(state, item), replication)
            count += 1
        elif not replication or not chunk.committed:
            _note_tried(state, item, chunk)
    return Changed(count)


def _note_tried(state: Transaction, item: ChunkCommit, chunk: ChunkRecord) -> None:
    tried = chunk.tried
    for replica in _known(state, item):
        tried = tried_with(tried, replica.node) if replica.node not in chunk.nodes else tried
    if tried != chunk.tried:
        state.put_chunk(item.file_id, item.index, evolve(chunk, tried=tried))


def tried_with(tried: tuple[int, ...], node: int) -> tuple[int, ...]:
    """One more node that may hold bytes; at the limit the oldest is forgotten (its bytes stay there, unlisted)."""
    return tried if node in tried else (*tried, node)[-MAX_NODES_OF_A_CHUNK:]


def remove(state: Transaction, command: RemoveReplicas) -> Changed:
    """Judged anew here: between the leader's look and this entry's turn a copy may have made the replica again."""
    count = 0
    for item in command.items:
        recorded = state.replica(command.node, item.file_id, item.index)
        if recorded is None or recorded.number != item.number or recorded.number > command.as_of:
            continue
        state.remove_replica(command.node, item.file_id, item.index)
        count += 1
        chunk = state.chunk(item.file_id, item.index)
        if chunk is not None and command.node in chunk.nodes:
            nodes = tuple(node for node in chunk.nodes if node != command.node)
            tried = tried_with(chunk.tried, command.node)
            state.put_chunk(item.file_id, item.index, evolve(chunk, nodes=nodes, tried=tried))
            state.put_short(item.file_id, item.index, len(nodes), wanted(state, item.file_id))
            state.disturb(nodes)
    return Changed(count)
