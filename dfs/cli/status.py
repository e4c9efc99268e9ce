"""`dfs status`: the metadata nodes, also those that only others name, are asked; whatever answers in time is shown.

It needs no leader: during an election ``leader`` is null and the rest is what the
nodes last knew.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

from dfs.cli.output import table
from dfs.client.concurrency import at_most, cancellable
from dfs.client.errors import DFSError, Unavailable
from dfs.protocol.dial import connect
from dfs.protocol.interfaces import Identity
from dfs.protocol.messages import GetRedundancy, GetStatus, Redundancy, Status
from dfs.protocol.values import Purpose, Role
from dfs.runtime.interfaces import Runtime
from dfs.runtime.units import format_duration, format_size

Answer = TypeVar("Answer")

TIMEOUT = 2.0
GRACE = 0.5  # seconds that the others have once one has answered


async def ask(runtime: Runtime, address: str, request: object, kind: type[Answer]) -> Answer | None:
    """One node's answer, or None if it gives none in time."""
    identity = Identity(Role.CLIENT, "status", b"", runtime.entropy(16), b"")
    try:
        connection = await cancellable(
            connect(runtime, address, identity, Purpose.CONTROL, timeout=TIMEOUT), lambda late: late.close()
        )
    except DFSError:
        return None
    try:
        answer = await cancellable(connection.call(request, TIMEOUT))
        return answer if isinstance(answer, kind) else None
    except DFSError:
        return None
    finally:
        connection.close()


async def ask_all(runtime: Runtime, addresses: list[str]) -> list[Status]:
    """The views of those that answer: all are asked at once, then the members that they name and nobody asked;
    stragglers are not waited for long.  Raises Unavailable if none answers."""
    views = await _ask_each(runtime, addresses)
    if not views:
        raise Unavailable(
            f"no metadata node answers ({', '.join(addresses)})",
            "check --meta or DFS_META, and that the nodes run (`dfs cluster status` for a local cluster)",
        )
    known = {view.node for view in views}
    named = {member.address for view in views for member in view.members if member.name not in known}
    return views + await _ask_each(runtime, sorted(named.difference(addresses)))


async def _ask_each(runtime: Runtime, addresses: list[str]) -> list[Status]:
    views: list[Status] = []
    if not addresses:
        return views
    enough: Deferred[None] = Deferred()
    asking: list[Deferred[None]] = []

    async def one(address: str) -> None:
        view = await ask(runtime, address, GetStatus(), Status)
        if view is not None:
            views.append(view)
            if not enough.called:
                enough.callback(None)

    try:
        asking += [Deferred.fromCoroutine(one(address)) for address in addresses]
        everyone = DeferredList(asking, consumeErrors=True)
        await at_most(runtime.reactor, 2 * TIMEOUT, DeferredList([everyone, enough], fireOnOneCallback=True))
        await at_most(runtime.reactor, GRACE if views else 0.0, everyone)
    finally:
        for each in asking:
            each.cancel()
    return views


def leader_of(views: list[Status]) -> str | None:
    """Who says in the highest term that it leads."""
    term = max(view.term for view in views)
    leading = [view.node for view in views if view.role == "leader" and view.term == term]
    return leading[0] if leading else None


def in_order(name: str) -> list[tuple[int, str]]:
    """A key by which chunk-2 comes before chunk-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def merge(views: list[Status]) -> dict[str, Any]:
    """The document of ``--json``: the leader's view where there is one, else that of the highest term."""
    leader = leader_of(views)
    best = max(views, key=lambda view: (view.node == leader, view.term, view.applied))
    by_name = {view.node: view for view in views}
    meta = []
    for member in best.members:
        view = by_name.get(member.name)
        role = view.role if view is not None else "unreachable"
        applied = view.applied if view is not None else None
        meta.append({"name": member.name, "address": member.address, "role": role, "applied": applied})
    return {
        "cluster_id": best.cluster_id.hex(),
        "leader": leader,
        "term": best.term,
        "meta": meta,
        "chunk_servers": [
            {
                "name": server.name,
                "address": server.address,
                "state": server.state.name.lower(),
                "rack": server.rack,
                "used": server.used,
                "free": server.free,
                "chunks": server.chunks,
                "quarantined": server.quarantined,
                "quarantined_bytes": server.quarantined_bytes,
                "scrub": {"done": server.scrubbed, "total": server.to_scrub},
            }
            for server in sorted(best.chunk_servers, key=lambda server: in_order(server.name))
        ],
        "files": best.files,
        "bytes": best.bytes,
        "debt": {"chunks": best.debt_chunks, "bytes": best.debt_bytes, "single_copy": best.debt_single_copy},
        "alarms": list(best.alarms),
    }


def with_redundancy(document: dict[str, Any], found: Redundancy) -> dict[str, Any]:
    """The document with what the leader knows of healing."""
    debt = {"chunks": found.chunks, "bytes": found.bytes, "single_copy": found.single, "no_copy": found.lost}
    healing = {
        "counting": found.counting,
        "moving": found.moving,
        "aside": found.aside,
        "rate": found.rate,
        "usual_rate": found.usual,
        "allowed_rate": found.allowed,
        "limit": found.limit,
        "seconds_left": None if found.left_ms is None else found.left_ms / 1000,
        "paused": list(found.paused),
    }
    return {**document, "debt": debt, "healing": healing}


def owed(document: dict[str, Any]) -> str:
    """The debt in one line."""
    debt, healing = document["debt"], document.get("healing")
    if not debt["chunks"]:
        return "none known yet, still counting" if healing is not None and healing["counting"] else "none"
    parts = [
        f"{debt['chunks']} chunks ({format_size(debt['bytes'])}) short of copies, {debt['single_copy']} with one copy"
    ]
    if debt.get("no_copy"):
        parts.append(f"{debt['no_copy']} WITHOUT ANY")
    if healing is None:
        return parts[0]
    if healing["aside"]:
        parts.append(f"{healing['aside']} without a place")
    left = healing["seconds_left"]
    how_long = "time to go unknown" if left is None else f"about {format_duration(left)} to go"
    line = f"{', '.join(parts)}; healing {format_size(healing['rate'])}/s, {how_long}"
    return f"{line}; limited by: {healing['limit']}" if healing["limit"] else line


def show(document: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"leader  {document['leader'] or 'none (election)'}, term {document['term']}",
        f"files   {document['files']}, {format_size(document['bytes'])}",
        f"debt    {owed(document)}",
    ]
    lines += [f"paused  {sentence}" for sentence in document.get("healing", {}).get("paused", ())]
    lines += [f"ALARM   {alarm}" for alarm in document["alarms"]]
    meta: list[tuple[str, ...]] = [("metadata", "address", "role", "applied")]
    meta += [
        (m["name"], m["address"], m["role"], "-" if m["applied"] is None else str(m["applied"]))
        for m in document["meta"]
    ]
    lines += ["", table(meta)]
    servers: list[tuple[str, ...]] = [("chunk server", "address", "state", "rack", "used", "free", "chunks")]
    for s in document["chunk_servers"]:
        used, free = format_size(s["used"]), format_size(s["free"])
        servers.append((s["name"], s["address"], s["state"], s["rack"] or "-", used, free, str(s["chunks"])))
    lines += ["", table(servers)]
    return "\n".join(lines)


def status(runtime: Runtime, addresses: list[str]) -> Deferred[dict[str, Any]]:
    """The merged document.  Fails with Unavailable."""

    async def run() -> dict[str, Any]:
        views = await ask_all(runtime, addresses)
        document = merge(views)
        leading = [member["address"] for member in document["meta"] if member["name"] == document["leader"]]
        found = await ask(runtime, leading[0], GetRedundancy(), Redundancy) if leading else None
        return document if found is None else with_redundancy(document, found)

    return Deferred.fromCoroutine(run())
