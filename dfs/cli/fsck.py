"""`dfs fsck`: which files are affected by what is missing or bad, and what to do next.

Exit codes: 0 all is whole, 1 copies are lacking, 6 something is lost or not what was stored.
"""

from __future__ import annotations

import argparse

from dfs.cli.output import print_json, printable
from dfs.client.api import Client
from dfs.client.checking import Damage, Finding
from dfs.client.fsck import CORRUPT, Report
from dfs.runtime.units import format_size

PARALLEL = 4


async def fsck(client: Client, options: argparse.Namespace) -> int:
    """One line a finding as it is found, then the sum and the next command."""

    def show(finding: Finding) -> None:
        if options.json:
            print_json(document(finding))
        else:
            where = "" if finding.index is None else f"  chunk {finding.index}"
            node = f" on {finding.node}" if finding.node else ""
            print(f"{finding.damage.value}: {printable(finding.name)}{where}{node}: {printable(finding.sentence)}")

    report = await client.check(
        options.prefix,
        show,
        deep=options.deep or options.repair,
        repair=options.repair,
        parallel=options.parallel or PARALLEL,
    )
    if options.json:
        print_json({"summary": summary(report)})
    else:
        print(closing(report, options.prefix, options.repair))
    return report.exit_code


def document(finding: Finding) -> dict[str, object]:
    """A finding for scripts."""
    return {
        "name": finding.name,
        "file_id": finding.file_id,
        "index": finding.index,
        "damage": finding.damage.value,
        "node": finding.node or None,
        "message": finding.sentence,
    }


def summary(report: Report) -> dict[str, object]:
    """The sum for scripts."""
    return {
        "files": report.files,
        "chunks": report.chunks,
        "bytes": report.bytes,
        "replicas_read": report.replicas,
        "affected": report.affected,
        "damages": {damage.value: report.damages[damage] for damage in Damage if report.damages[damage]},
    }


def closing(report: Report, prefix: str, repaired: bool) -> str:
    """The last lines: what was looked at, what was found, what to do."""
    looked = f"{report.files} files, {report.chunks} chunks, {format_size(report.bytes)}"
    if report.replicas:
        looked += f", {report.replicas} replicas read"
    if not report.damages:
        return f"{looked}: all whole"
    counted = ", ".join(f"{report.damages[damage]} {damage.value}" for damage in Damage if report.damages[damage])
    return f"{looked}: {report.affected} files affected ({counted})\n{advice(report, prefix, repaired)}"


def advice(report: Report, prefix: str, repaired: bool) -> str:
    """What to do about the worst of it."""
    damages = report.damages
    if damages[Damage.LOST]:
        return (
            "next: bring a node with the lost chunks back: `dfs stat --name NAME` names those that are recorded, "
            "`dfs status` shows which are dead"
        )
    if damages[Damage.CORRUPT] or damages[Damage.MISSING]:
        if repaired:
            return "next: the bad replicas were reported and are being replaced; run the same command again in a while"
        chosen = f" --prefix {prefix}" if prefix else ""
        return f"next: dfs fsck --repair{chosen}"
    if CORRUPT.intersection(damages):
        return "next: keep the metadata nodes' folders as they are, and report this: the record contradicts itself"
    return "next: `dfs status` shows whether healing goes on; start the nodes that are dead"
