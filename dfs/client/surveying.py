"""All committed files with where their chunks lie, a page at a time.

A long file comes in several parts, one after the other; nothing here keeps more than a page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from attrs import frozen

from dfs.client.context import Context
from dfs.protocol.messages import FileInfo, Survey, SurveyedChunk, SurveyedNode, SurveyPage
from dfs.protocol.values import NodeState

ROWS = 500


@frozen
class Part:
    """Some chunks of a file and the nodes that they name.

    :ivar last: no further part of this file comes.
    """

    info: FileInfo
    chunks: tuple[SurveyedChunk, ...]
    nodes: Mapping[int, SurveyedNode]
    last: bool

    def readable(self, chunk: SurveyedChunk) -> list[SurveyedNode]:
        """The nodes that can give the chunk: those recorded whose node is not dead."""
        known = (self.nodes.get(number) for number in chunk.nodes)
        return [node for node in known if node is not None and node.state is not NodeState.DEAD]


async def parts(context: Context, prefix: str = "") -> AsyncIterator[Part]:
    """Every part of every file whose name starts with ``prefix``, in the order of file ids.  A file that comes or goes
    meanwhile may be shown or not, or in part."""
    nodes: dict[int, SurveyedNode] = {}
    held: Part | None = None
    after = b""
    while True:
        page = await context.ask(Survey(after, ROWS), SurveyPage)
        nodes.update({node.number: node for node in page.nodes})
        for file in page.files:
            if held is not None:
                yield Part(held.info, held.chunks, nodes, held.info.file_id != file.info.file_id)
                held = None
            if file.info.name.startswith(prefix):
                held = Part(file.info, file.chunks, nodes, last=False)
        after = page.next
        if not after:
            if held is not None:
                yield Part(held.info, held.chunks, nodes, last=True)
            return
