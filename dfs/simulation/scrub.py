"""The reader that meets every rotten byte: after the heal, what rotted and is still there is reported.

No server looks at replicas that nobody reads.  A report is a hint only: the chunk server reads its replica again before
anything is believed, and what is found corrupt is set aside and copied anew (S11).
"""

from __future__ import annotations

from dfs.client.errors import DFSError
from dfs.metaserver import queries
from dfs.protocol.messages import ReportCorrupt
from dfs.simulation.cluster import ClusterClient
from dfs.simulation.faults.atlas import Atlas, chunk_of
from dfs.simulation.inspection import store_of
from dfs.simulation.promise import Promise, committed_chunks

INTERVAL = 3.0
"""Seconds between two passes: a report is lost where the leader changes."""


class Scrub:
    """:param reader: the client that reports.
    :param atlas: tells which replicas may be rotten; of others nothing is told, for they must not be.
    """

    def __init__(self, promise: Promise, reader: ClusterClient, atlas: Atlas) -> None:
        self._promise = promise
        self._reader = reader
        self._atlas = atlas
        self._active = True

    def stop(self) -> None:
        """The present pass is the last."""
        self._active = False

    async def run(self) -> None:
        """Pass after pass, until stopped."""
        while self._active:
            for report in self._rotten():
                try:
                    files = await self._reader.enter()
                    files._context.reports.send(report)
                except DFSError as error:
                    self._promise.cluster.world.note(f"a report was not made: {error}")
            await self._promise.cluster.sleep(INTERVAL)

    def _rotten(self) -> list[ReportCorrupt]:
        leader = self._promise.cluster.leader()
        if leader is None:
            return []
        store = store_of(leader.program)
        names = {number: record.name for number, record in queries.nodes_page(store)}
        return [
            ReportCorrupt(chunk.ref.file_id, chunk.index, chunk.ref.generation, names[number])
            for chunk in committed_chunks(store)
            for number in chunk.record.nodes
            if names[number] == self._atlas.victim(chunk_of(self._promise.path(chunk)))
            and not self._promise.holds(names[number], chunk)
        ]
