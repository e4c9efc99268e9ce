"""Declarations of the messages of damage, disks and inventories (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U16, U32, U64, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.limits import MAX_COMMITS, MAX_RANGES, MAX_SENTENCE
from dfs.protocol.wire_metadata import SHA256

REPORT_DAMAGE = Record(
    m.ReportDamage,
    node=U32,
    incarnation=Raw(16),
    file_id=U64,
    index=U32,
    generation=U64,
    number=U64,
    kind=Choice(m.DamageKind),
    offset=Maybe(U32),
)
REPORT_HEALTH = Record(
    m.ReportHealth,
    node=U32,
    incarnation=Raw(16),
    trouble=Text(MAX_SENTENCE),
    unreadable=U32,
    rotten=U32,
    scrubbed=U64,
    to_scrub=U64,
    quarantined=U64,
)
SET_ASIDE = Record(
    m.SetAside,
    file_id=U64,
    index=U32,
    generation=U64,
    length=U32,
    sha256=SHA256,
    whole=Flag(),
    expired=Flag(),
)
JUDGE_QUARANTINED = Record(
    m.JudgeQuarantined, node=U32, incarnation=Raw(16), replicas=Items(SET_ASIDE, MAX_COMMITS)
)
QUARANTINE_JUDGED = Record(m.QuarantineJudged, verdicts=Items(Choice(m.QuarantineVerdict), MAX_COMMITS))
RANGE_DIGEST = Record(m.RangeDigest, upto=Raw(12), count=U32, digest=Raw(16))
COMPARE_INVENTORY = Record(
    m.CompareInventory, node=U32, incarnation=Raw(16), after=Raw(12), ranges=Items(RANGE_DIGEST, MAX_RANGES)
)
INVENTORY_DIFFERS = Record(m.InventoryDiffers, ranges=Items(U16, MAX_RANGES))
