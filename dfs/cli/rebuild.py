"""`dfs rebuild`: a new namespace from what chunk servers hold, when every metadata node is lost.

Exit codes: 0 every file is under its name; 1 something went under lost+found/, contradicts itself, or a server was not
asked; 6 a file is not whole and was not recovered.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from dfs.cli.errors import CommandFailed
from dfs.cli.finding import cluster_folder, meta_addresses, read_cluster_file
from dfs.cli.output import print_json, printable
from dfs.client.rebuilding import Rebuild, Report
from dfs.client.rebuilding import Settings as Wanted
from dfs.client.recovery import Finding, Verdict
from dfs.disk.errors import DiskError
from dfs.disk.real import RealDisk
from dfs.protocol.trust import read_key_file
from dfs.runtime.dial import parse_addresses
from dfs.runtime.interfaces import Runtime
from dfs.runtime.options import META, PATIENCE
from dfs.runtime.settings import Settings
from dfs.runtime.units import format_size

KEY_FILE = "cluster.key"


async def rebuild(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """One line a file that is not simply recovered, then the sum and what to do next."""
    key_file = options.key_file or os.environ.get("DFS_KEY_FILE") or os.path.join(cluster_folder(options), KEY_FILE)
    try:
        key = await runtime.threads.run(read_key_file, RealDisk(), key_file)
    except DiskError as error:
        raise CommandFailed(f"cannot read the cluster's key: {error}", "name it with --key-file", 2) from error
    wanted = Wanted(
        key,
        tuple(meta_addresses(options, settings, META)),
        chunk_addresses(options),
        options.dry_run,
        options.allow_missing,
        settings[PATIENCE],
    )

    def show(finding: Finding) -> None:
        if options.json:
            print_json(document(finding))
        else:
            for text in lines(finding):
                print(text)

    report = await Rebuild(runtime, wanted, show).run()
    if options.json:
        print_json({"summary": summary(report, options.dry_run)})
    else:
        print(closing(report, options.dry_run))
    return report.exit_code


def chunk_addresses(options: argparse.Namespace) -> tuple[str, ...]:
    """--chunk-servers, else the local cluster's.  Raises CommandFailed."""
    if options.chunk_servers:
        return tuple(str(address) for address in parse_addresses(options.chunk_servers))
    layout = read_cluster_file(cluster_folder(options)) or {}
    found = tuple(str(node["address"]) for node in layout.get("node", []) if node.get("kind") == "chunk")
    if not found:
        raise CommandFailed(
            "no chunk server is named", "give --chunk-servers host:port[,...]: all of them, for nobody else knows", 2
        )
    return found


def lines(finding: Finding) -> list[str]:
    """What people are told of a file: nothing where all is well."""
    found = []
    if finding.verdict not in (Verdict.RECOVERED, Verdict.KNOWN):
        found.append(f"{finding.verdict.value}: {printable(finding.name)}: {printable(finding.sentence)}")
    found += [f"contradiction: {printable(finding.name)}: {printable(each)}" for each in finding.contradictions]
    return found


def document(finding: Finding) -> dict[str, Any]:
    """A file for scripts."""
    return {
        "verdict": finding.verdict.value,
        "name": finding.name,
        "file_id": finding.file_id,
        "size": finding.size,
        "message": finding.sentence or None,
        "contradictions": list(finding.contradictions),
    }


def summary(report: Report, dry_run: bool) -> dict[str, Any]:
    """The sum for scripts."""
    return {
        "dry_run": dry_run,
        "files": {verdict.value: report.verdicts[verdict] for verdict in Verdict},
        "bytes": report.bytes,
        "chunks": report.chunks,
        "contradictions": report.contradictions,
        "unreadable": report.unreadable,
        "servers": report.servers,
        "absent": report.absent,
        "adopted": report.adopted,
    }


def closing(report: Report, dry_run: bool) -> str:
    """The last lines: what was found, and what to do."""
    verdicts = report.verdicts
    counted = ", ".join(f"{verdicts[verdict]} {verdict.value}" for verdict in Verdict if verdicts[verdict])
    asked = f"{len(report.servers)} chunk servers asked" + (f", {len(report.absent)} absent" if report.absent else "")
    text = [f"{counted or 'no file found'}; {format_size(report.bytes)} in {report.chunks} chunks; {asked}"]
    if report.unreadable:
        text.append(f"{report.unreadable} replicas have no readable footer and were left out")
    if dry_run:
        text.append("nothing was changed; next: the same command without --dry-run")
        return "\n".join(text)
    if report.adopted:
        names = ", ".join(report.adopted)
        text.append(f"next: start these chunk servers again, they belong to the new cluster now: {names}")
    elif report.servers:
        text.append("restart the chunk servers one after the other when it suits; see doc/operations.md")
    if report.absent or verdicts[Verdict.INCOMPLETE]:
        text.append("when more chunk servers are back: the same command again, with all of them; what is there stays")
    return "\n".join(text)
