"""What chunk servers tell of damage: a replica that is gone is struck off, a disk in trouble is avoided (S11).

A node's word is proof only of the replica whose number it names: a record of a higher number, or of another generation,
stays (S06).  Every member hears how the disks do, so a new leader avoids what the old one avoided.
"""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import Lost, RemoveReplicas
from dfs.metaserver.commands_moving import NoteEvent
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.records import replica_codec
from dfs.metaserver.seams import Seams
from dfs.metaserver.tables import replica_key
from dfs.protocol.errors import FileNotFound, Forbidden
from dfs.protocol.interfaces import PeerInfo
from dfs.protocol.messages import DamageKind, Done, EventKind, ReportDamage, ReportHealth
from dfs.protocol.values import NodeNumber

_log = Logger()

MAX_NAME = 150  # characters of a name in an event

_WORDS = {
    DamageKind.CORRUPT: "is corrupt",
    DamageKind.UNREADABLE: "cannot be read",
    DamageKind.MISSING: "is missing",
}


@frozen
class _Found:
    """``file`` is the name, "" where the file is not (or no more) committed; ``recorded`` is the number under which the
    very replica that was damaged is recorded, None where it is not; ``length`` that of the replica."""

    file: str
    recorded: int | None
    length: int = 0


def find(store: IKeyValueStore, report: ReportDamage) -> _Found:
    """What is recorded of a damaged replica."""
    try:
        name = queries.get_file(store, None, report.file_id).name
    except FileNotFound:
        name = ""
    chunk = queries.chunk(store, report.file_id, report.index)
    raw = store.get(replica_key(report.node, report.file_id, report.index))
    if raw is None or chunk is None or chunk.generation != report.generation:
        return _Found(name, None)
    record = replica_codec.decode(raw)
    return _Found(name, record.number if record.number <= report.number else None, record.length)


def check_speaker(seams: Seams, peer: PeerInfo, node: NodeNumber, incarnation: bytes) -> None:
    """A report speaks for the folder that its connection proved.  Raises Forbidden."""
    entry = seams.roster.entry(node)
    is_other = entry is not None and entry.record.incarnation != incarnation
    if peer.incarnation != incarnation or is_other:
        raise Forbidden(f"{peer.name} speaks for another node's folder")


class Damages:
    """Reports of damaged replicas and of disks."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams

    async def damage(self, term: LeaderTerm, report: ReportDamage) -> Done:
        """See ReportDamage.  Raises DFSError."""
        found = await self._seams.reader.look(find, report)
        term.check()
        _log.error(
            "{node}: chunk {index} of {file} (file {file_id}, generation {generation}) {what} at offset {offset}",
            node=self._name(report.node),
            index=report.index,
            file=repr(found.file) if found.file else "no committed file",
            file_id=report.file_id,
            generation=report.generation,
            what=_WORDS[report.kind],
            offset=report.offset,
        )
        if found.recorded is not None:
            lost = Lost(report.file_id, report.index, found.recorded)
            await self._seams.proposer.propose(RemoveReplicas(report.node, report.number, (lost,)), Changed)
            term.check()
            term.repair_duty.nudge()
            await self._tell(report, found)
            term.check()
        return Done()

    async def _tell(self, report: ReportDamage, found: _Found) -> None:
        """In the log of events, each by itself: which chunk of which file, and where in it the bad bytes begin."""
        file = repr(found.file[:MAX_NAME]) if found.file else "no committed file"
        where = "" if report.offset is None else f" at offset {report.offset}"
        detail = f"chunk {report.index} of {file} {_WORDS[report.kind]}{where}"
        note = NoteEvent(int(EventKind.REPLICA_LOST), report.node, 1, found.length, detail)
        await self._seams.proposer.propose(note, Changed)

    def health(self, term: LeaderTerm | None, report: ReportHealth) -> Done:
        """See ReportHealth."""
        self._seams.roster.health(report)
        key = f"disk {report.node}"
        if report.trouble:
            self._seams.alarms.set(
                key, f"{self._name(report.node)}: {report.trouble}; it is avoided: check its disk, or replace it"
            )
        else:
            self._seams.alarms.clear(key)
        if term is not None and term.loaded:
            term.judging.changed(report.node)
        return Done()

    def _name(self, node: NodeNumber) -> str:
        entry = self._seams.roster.entry(node)
        return entry.record.name if entry is not None else str(node)
