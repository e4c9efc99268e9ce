"""The literal table of messages: code, class, declaration, who may ask, on what connection, what may be answered.

Codes are never reused.  Requests have codes below 0x80 (0x01 to 0x3f to a metadata
server, 0x40 to 0x7f to a chunk server), answers from 0x80.  A message's bytes are its fields in the
order of its class; doc/protocol.md shows each as a table.

A message that grows gets a new code (and the protocol a new version): the fields
of a code never change, so an old node says UnknownRequest and misreads nothing (S39).
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dfs.protocol import messages as m
from dfs.protocol import wire_chunks as c
from dfs.protocol import wire_explaining as x
from dfs.protocol import wire_health as h
from dfs.protocol import wire_members as n
from dfs.protocol import wire_metadata as w
from dfs.protocol import wire_moving as v
from dfs.protocol import wire_reading as r
from dfs.protocol import wire_rebuilding as b
from dfs.protocol import wire_together as t
from dfs.protocol.errors import BadRequest, UnknownRequest
from dfs.protocol.fast import Codec, Malformed
from dfs.protocol.layout import Record
from dfs.protocol.limits import MAX_BODY
from dfs.protocol.values import Purpose, Role

ANYONE = frozenset((Role.CLIENT, Role.META, Role.CHUNK))
NODES = frozenset((Role.META, Role.CHUNK))
CHUNK_SERVERS = frozenset((Role.CHUNK,))
META_SERVERS = frozenset((Role.META,))

CONTROL, BULK = Purpose.CONTROL, Purpose.BULK

MAX_MESSAGE = MAX_BODY - 64


@frozen
class Entry:
    """One row.  ``senders``, ``answers`` and ``purpose`` are empty for what is itself an answer."""

    record: Record
    senders: frozenset[Role] = frozenset()
    purpose: Purpose | None = None
    answers: tuple[type[Any], ...] = ()

    @property
    def cls(self) -> type[Any]:
        return self.record.cls


TABLE: dict[int, Entry] = {
    0x01: Entry(w.CREATE_UPLOAD, ANYONE, CONTROL, (m.UploadGranted,)),
    0x02: Entry(w.RESUME_UPLOAD, ANYONE, CONTROL, (m.UploadGranted,)),
    0x03: Entry(w.ALLOCATE_CHUNKS, ANYONE, CONTROL, (m.Placements,)),
    0x04: Entry(w.REPLACE_CHUNK, ANYONE, CONTROL, (m.Placements,)),
    0x05: Entry(w.RENEW_LEASE, ANYONE, CONTROL, (m.Lease,)),
    0x06: Entry(w.COMMIT_FILE, ANYONE, CONTROL, (m.FileInfo, m.Done)),
    0x07: Entry(w.ABORT_UPLOAD, ANYONE, CONTROL, (m.Done,)),
    0x08: Entry(w.GET_FILE, ANYONE, CONTROL, (m.FileInfo,)),
    0x09: Entry(w.LIST_CHUNKS, ANYONE, CONTROL, (m.ChunkPage,)),
    0x0A: Entry(w.LIST_FILES, ANYONE, CONTROL, (m.FilePage,)),
    0x0B: Entry(w.DELETE_FILE, ANYONE, CONTROL, (m.FileInfo, m.Done)),
    0x0C: Entry(w.REPORT_CORRUPT, ANYONE, CONTROL, (m.Done,)),
    0x0D: Entry(w.GET_STATUS, ANYONE, CONTROL, (m.Status,)),
    0x0E: Entry(t.CREATE_UPLOADS, ANYONE, CONTROL, (m.UploadsGranted,)),
    0x0F: Entry(t.COMMIT_FILES, ANYONE, CONTROL, (m.FilesCommitted,)),
    0x14: Entry(t.OPEN_FILES, ANYONE, CONTROL, (m.FilesOpened,)),
    0x10: Entry(v.LIST_NODES, ANYONE, CONTROL, (m.NodePage,)),
    0x11: Entry(v.CHANGE_NODE, ANYONE, CONTROL, (m.NodeAnswer,)),
    0x12: Entry(v.REBALANCE, ANYONE, CONTROL, (m.Rebalanced,)),
    0x13: Entry(v.LIST_EVENTS, ANYONE, CONTROL, (m.EventPage,)),
    0x1A: Entry(v.GET_REDUNDANCY, ANYONE, CONTROL, (m.Redundancy,)),
    0x18: Entry(w.SURVEY, ANYONE, CONTROL, (m.SurveyPage,)),
    0x19: Entry(x.EXPLAIN, ANYONE, CONTROL, (m.Explanation,)),
    0x20: Entry(c.REGISTER, CHUNK_SERVERS, CONTROL, (m.Registered,)),
    0x22: Entry(c.INVENTORY, CHUNK_SERVERS, CONTROL, (m.InventoryTaken,)),
    0x23: Entry(c.COMMIT_CHUNKS, CHUNK_SERVERS, CONTROL, (m.CommitOutcomes,)),
    0x24: Entry(c.ADD_REPLICAS, CHUNK_SERVERS, CONTROL, (m.CommitOutcomes, m.Done)),
    0x25: Entry(c.HEARTBEAT, CHUNK_SERVERS, CONTROL, (m.HeartbeatAnswer,)),  # 0x21 and 0xa1 before it
    0x30: Entry(n.GET_CHECKPOINTS, META_SERVERS, CONTROL, (m.Checkpoints,)),
    0x31: Entry(n.GET_MEMBERS, ANYONE, CONTROL, (m.Members,)),
    0x32: Entry(n.CHANGE_MEMBER, ANYONE, CONTROL, (m.Members,)),
    0x33: Entry(n.TRANSFER_LEADERSHIP, ANYONE, CONTROL, (m.Done,)),
    0x38: Entry(r.GET_FILE_AT, ANYONE, CONTROL, (m.FileAt,)),
    0x39: Entry(r.LIST_CHUNKS_AT, ANYONE, CONTROL, (m.ChunkPageAt,)),
    0x3A: Entry(r.LIST_FILES_AT, ANYONE, CONTROL, (m.FilePageAt,)),
    0x3C: Entry(b.BEGIN_REBUILD, META_SERVERS, CONTROL, (m.Done,)),
    0x3D: Entry(b.RECOVER_FILE, META_SERVERS, CONTROL, (m.Recovered,)),
    0x26: Entry(h.REPORT_DAMAGE, CHUNK_SERVERS, CONTROL, (m.Done,)),
    0x27: Entry(h.REPORT_HEALTH, CHUNK_SERVERS, CONTROL, (m.Done,)),
    0x28: Entry(h.JUDGE_QUARANTINED, CHUNK_SERVERS, CONTROL, (m.QuarantineJudged,)),
    0x29: Entry(h.COMPARE_INVENTORY, CHUNK_SERVERS, CONTROL, (m.InventoryDiffers,)),
    0x2A: Entry(t.FINISH_UPLOADS, CHUNK_SERVERS, CONTROL, (m.UploadsFinished,)),
    0x40: Entry(c.PUT_CHUNK, ANYONE, BULK, (m.ChunkWritten,)),
    0x41: Entry(c.GET_CHUNK, ANYONE, BULK, (m.ChunkHead,)),
    0x43: Entry(c.PUT_LABELLED, ANYONE, BULK, (m.ChunkWritten,)),
    0x42: Entry(c.VERIFY_CHUNK, NODES, CONTROL, (m.Verified,)),
    0x48: Entry(t.PUT_CHUNKS, ANYONE, BULK, (m.ChunksWritten,)),
    0x49: Entry(t.GET_CHUNKS, ANYONE, BULK, (m.ChunksHead,)),
    0x4A: Entry(b.LIST_REPLICAS, META_SERVERS, CONTROL, (m.ReplicaPage,)),
    0x4B: Entry(b.ADOPT_CLUSTER, META_SERVERS, CONTROL, (m.Done,)),
    0x80: Entry(c.DONE),
    0x81: Entry(w.UPLOAD_GRANTED),
    0x82: Entry(w.PLACEMENTS_ANSWER),
    0x83: Entry(w.LEASE),
    0x84: Entry(w.FILE_INFO),
    0x85: Entry(w.CHUNK_PAGE),
    0x86: Entry(w.FILE_PAGE),
    0x88: Entry(w.STATUS),  # 0x87 before it
    0x89: Entry(t.UPLOADS_GRANTED),
    0x8A: Entry(t.FILES_COMMITTED),
    0x8B: Entry(t.FILES_OPENED),
    0x8C: Entry(t.UPLOADS_FINISHED),
    0x90: Entry(v.NODE_PAGE),
    0x91: Entry(v.NODE_ANSWER),
    0x92: Entry(v.REBALANCED),
    0x93: Entry(v.EVENT_PAGE),
    0x9A: Entry(v.REDUNDANCY),
    0x98: Entry(w.SURVEY_PAGE),
    0x99: Entry(x.EXPLANATION),
    0xA0: Entry(c.REGISTERED),
    0xA2: Entry(c.INVENTORY_TAKEN),
    0xA3: Entry(c.COMMIT_OUTCOMES),
    0xA4: Entry(c.HEARTBEAT_ANSWER),
    0xB0: Entry(n.CHECKPOINTS),
    0xB1: Entry(n.MEMBERS),
    0xA5: Entry(h.QUARANTINE_JUDGED),
    0xA6: Entry(h.INVENTORY_DIFFERS),
    0xB8: Entry(r.FILE_AT),
    0xB9: Entry(r.CHUNK_PAGE_AT),
    0xBA: Entry(r.FILE_PAGE_AT),
    0xBD: Entry(b.RECOVERED),
    0xC0: Entry(c.CHUNK_WRITTEN),
    0xC1: Entry(c.CHUNK_HEAD),
    0xC2: Entry(c.VERIFIED),
    0xC8: Entry(t.CHUNKS_WRITTEN),
    0xC9: Entry(t.CHUNKS_HEAD),
    0xCA: Entry(b.REPLICA_PAGE),
}

_CODES: dict[type[Any], int] = {entry.cls: code for code, entry in TABLE.items()}
_CODECS: dict[int, Codec] = {code: Codec(entry.record) for code, entry in TABLE.items()}


def code_of(cls: type[Any]) -> int:
    """The code of a message class; KeyError for what is no message."""
    return _CODES[cls]


def encode(message: object) -> bytes:
    """The message's bytes (without its code).  Raises BadRequest where a field is outside its limits."""
    name = type(message).__name__
    try:
        data = _CODECS[_CODES[type(message)]].encode(message)
    except Malformed as error:
        raise BadRequest(f"{name} cannot be sent: {error}") from None
    if len(data) > MAX_MESSAGE:
        raise BadRequest(f"{name} cannot be sent: {len(data)} bytes are above the limit of {MAX_MESSAGE}")
    return data


def decode(code: int, body: bytes) -> Any:
    """The message of ``code``.  Raises UnknownRequest for a code that is not in the table, BadRequest for bytes
    that are not exactly one such message."""
    codec = _CODECS.get(code)
    if codec is None:
        sentence = f"this node knows no message of code {code:#04x}"
        raise UnknownRequest(sentence, hint="upgrade the older of the two nodes")
    try:
        return codec.decode(body)
    except Malformed as error:
        raise BadRequest(f"malformed {TABLE[code].cls.__name__}: {error}") from None


def is_request(code: int) -> bool:
    """Whether a code of the table is something that one asks."""
    return bool(TABLE[code].senders)


def may_ask(role: Role, purpose: Purpose, code: int) -> bool:
    """Whether a peer of this role (proven, or CLIENT for a stranger) may send the request on such a connection."""
    return role in TABLE[code].senders and purpose is TABLE[code].purpose


def answers_of(request: object) -> tuple[type[Any], ...]:
    """The classes that may answer a request."""
    return TABLE[_CODES[type(request)]].answers
