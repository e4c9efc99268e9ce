"""Checks every file of a prefix and tells what is wrong, while the cluster works on.

What a page of the survey said may be over when it is looked at: a file deleted, a replica moved.  So each finding
is confirmed by a fresh look at that one file or chunk before it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import define, field

from dfs.client.checking import Damage, DeepCheck, Finding, RecordCheck
from dfs.client.context import Context
from dfs.client.surveying import Part, parts
from dfs.protocol.errors import FileNotFound
from dfs.protocol.messages import ChunkPage, FileInfo, GetFile, ListChunks
from dfs.protocol.values import FileId

CORRUPT = frozenset((Damage.LOST, Damage.BROKEN, Damage.CORRUPT, Damage.MISSING))
"""What is more than a lack of copies."""


@define
class Report:
    """All together.  ``replicas`` were read, 0 without ``deep``; ``affected`` counts files with a finding."""

    files: int = 0
    chunks: int = 0
    bytes: int = 0
    replicas: int = 0
    affected: int = 0
    damages: Counter[Damage] = field(factory=Counter)

    @property
    def exit_code(self) -> int:
        """0: all is whole.  1: copies are lacking or could not be read.  6: something is lost or not what it was."""
        if CORRUPT.intersection(self.damages):
            return 6
        return 1 if self.damages else 0


async def check_files(
    context: Context,
    prefix: str,
    found: Callable[[Finding], None],
    *,
    deep: bool = False,
    repair: bool = False,
    parallel: int = 4,
) -> Report:
    """Look at every file whose name starts with ``prefix``; ``found`` is told of each finding as it is confirmed.

    :param deep: read and verify every replica too, ``parallel`` at once.
    :param repair: with ``deep``, report bad replicas, so that they are set aside and replaced.
    """
    record, replicas, report = RecordCheck(), DeepCheck(context, parallel, repair), Report()
    last_affected = None
    async for part in parts(context, prefix):
        findings = record.take(part)
        if deep:
            findings += await replicas.take(part)
        for finding in findings:
            if not await _still(context, part, finding):
                continue
            report.damages[finding.damage] += 1
            if finding.file_id != last_affected:
                last_affected = finding.file_id
                report.affected += 1
            found(finding)
    report.files, report.chunks, report.bytes = record.files, record.chunks, record.bytes
    report.replicas = replicas.replicas
    return report


async def _still(context: Context, part: Part, finding: Finding) -> bool:
    """Whether the file is still there and, for a replica, still recorded where it was looked for."""
    file_id = FileId(finding.file_id)
    try:
        if not finding.node or finding.index is None:
            await context.ask(GetFile(None, file_id), FileInfo)
            return True
        page = await context.ask(ListChunks(file_id, finding.index, 1), ChunkPage)
    except FileNotFound:
        return False
    generation = next(chunk.generation for chunk in part.chunks if chunk.index == finding.index)
    return any(
        chunk.index == finding.index and chunk.generation == generation and replica.node == finding.node
        for chunk in page.chunks
        for replica in chunk.replicas
    )
