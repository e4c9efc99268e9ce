"""Pages over all committed files and where their chunks are recorded: what `dfs fsck` and `dfs whatif` look at.

The order is that of file ids and indexes, so a page is a short range of two tables and costs the same whatever the
cluster holds.  A page is linearizable; over pages, a file that is there throughout is shown whole, and one that comes
or goes meanwhile may be shown or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from dfs.kv.interfaces import IKeyValueStore, prefix_end
from dfs.metaserver import queries, tables
from dfs.metaserver.files import describe
from dfs.metaserver.records import ChunkRecord, Standing, chunk_codec, file_codec
from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import SurveyedChunk, SurveyedFile, SurveyedNode, SurveyPage
from dfs.protocol.values import FileId, Generation, NodeState

FILES = b"F"
PLACE_LENGTH = 12  # file id u64, index u32
LAST_INDEX = 0xFFFFFFFF
ROW_BYTES = 64  # of a chunk, a file or a node besides names and numbers, at most


class _Page:
    """A page in the making.

    :ivar at: the place of the last row that is in it, b"" before the first.
    """

    def __init__(self, store: IKeyValueStore, states: Mapping[int, NodeState], limit: int) -> None:
        self._store, self._states, self._left = store, states, limit
        self._bytes = queries.PAGE_BYTES
        self._nodes: dict[int, SurveyedNode] = {}
        self._files: list[SurveyedFile] = []
        self.at = b""

    @property
    def full(self) -> bool:
        return self._left <= 0 or self._bytes <= 0

    def take(self, file_id: int, raw: bytes, first_index: int) -> bool:
        """Add a file's chunks from an index on, as far as there is room; whether all of them are in."""
        info = describe(file_id, file_codec.decode(raw))
        self._bytes -= len(info.name.encode()) + 2 * ROW_BYTES
        start, end = tables.chunk_key(file_id, first_index), prefix_end(tables.chunks_of(file_id))
        pairs = self._store.scan(start, end, self._left + 1)
        chunks: list[SurveyedChunk] = []
        for key, value in pairs:
            if chunks and self.full:
                break
            chunks.append(self._chunk(tables.place_of(key)[1], chunk_codec.decode(value)))
        if not pairs:
            self._left -= 1  # an empty file is a row too
        self._files.append(SurveyedFile(info, tuple(chunks)))
        complete = len(chunks) == len(pairs)
        self.at = tables.place(file_id, LAST_INDEX if complete else chunks[-1].index)
        return complete

    def _chunk(self, index: int, record: ChunkRecord) -> SurveyedChunk:
        nodes = record.nodes if record.committed else ()
        for number in nodes:
            self._name(number)
        self._bytes -= ROW_BYTES + 4 * len(nodes)
        self._left -= 1
        return SurveyedChunk(index, Generation(record.generation), record.length, record.sha256, nodes)

    def _name(self, number: int) -> None:
        if number in self._nodes:
            return
        record = queries.node(self._store, number)
        if record is None:
            return  # the asker takes a number without a name for a node that is gone
        state = self._states.get(number, NodeState.ALIVE)
        if record.standing == Standing.DEAD:
            state = NodeState.DEAD
        self._nodes[number] = SurveyedNode(number, record.name, record.address, state, record.rack)
        self._bytes -= ROW_BYTES + len(f"{record.name}{record.address}{record.rack}".encode())

    def finish(self, ends: bool) -> SurveyPage:
        return SurveyPage(tuple(self._files), tuple(self._nodes.values()), b"" if ends else self.at)


def survey(store: IKeyValueStore, after: bytes, limit: int, states: Mapping[int, NodeState]) -> SurveyPage:
    """See Survey.  ``states`` is the leader's opinion by node number.  Raises BadRequest."""
    if not 1 <= limit <= queries.MAX_PAGE or len(after) not in (0, PLACE_LENGTH):
        raise BadRequest(f"a page has 1 to {queries.MAX_PAGE} rows and begins after a place that a page gave")
    page = _Page(store, states, limit)
    file_id, index = tables.place_of(after) if after else (0, LAST_INDEX)
    if after and index != LAST_INDEX:
        raw = store.get(tables.file_key(file_id))
        if raw is not None and not page.take(file_id, raw, index + 1):
            return page.finish(ends=False)
    pairs = store.scan(tables.file_key(file_id + 1), prefix_end(FILES), limit + 1)
    for key, value in pairs:
        if page.full or not page.take(FileId(tables.file_id_of(key)), value, 0):
            return page.finish(ends=False)
    return page.finish(ends=True)
