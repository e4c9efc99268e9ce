"""`dfs status`: every metadata node is asked at once, and whatever answers in time is shown.

It needs no leader: during an election ``leader`` is null and the rest is what the
nodes last knew.
"""

from __future__ import annotations

from typing import Any

from dfs.protocol.dial import connect
from twisted.internet.defer import Deferred

from dfs.cli.output import table
from dfs.client.concurrency import gather
from dfs.client.errors import DFSError, Unavailable
from dfs.protocol.interfaces import Identity
from dfs.protocol.messages import GetStatus, Status
from dfs.protocol.values import Purpose, Role
from dfs.runtime.interfaces import Runtime
from dfs.runtime.units import format_size

TIMEOUT = 2.0


async def ask(runtime: Runtime, address: str) -> Status | None:
    """One node's view, or None if it does not answer in time."""
    identity = Identity(Role.CLIENT, "status", b"", runtime.entropy(16), b"")
    try:
        connection = await connect(runtime, address, identity, Purpose.CONTROL, timeout=TIMEOUT)
    except DFSError:
        return None
    try:
        answer = await connection.call(GetStatus(), TIMEOUT)
        return answer if isinstance(answer, Status) else None
    except DFSError:
        return None
    finally:
        connection.close()


async def ask_all(runtime: Runtime, addresses: list[str]) -> list[Status | None]:
    """Every node's view at once.  Raises Unavailable if none answers."""
    answers = await gather(ask(runtime, address) for address in addresses)
    if not any(answers):
        raise Unavailable(
            f"no metadata node answers ({', '.join(addresses)})",
            "check --meta or DFS_META, and that the nodes run (`dfs cluster status` for a local cluster)",
        )
    return answers


def merge(answers: list[Status | None]) -> dict[str, Any]:
    """The document of ``--json``: the leader's view where there is one, else that of the highest term."""
    views = [answer for answer in answers if answer is not None]
    best = max(views, key=lambda view: (view.term, view.leader == view.node, view.applied))
    by_name = {view.node: view for view in views}
    leader = best.leader if best.leader is not None and best.leader in by_name else None
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
            }
            for server in best.chunk_servers
        ],
        "files": best.files,
        "bytes": best.bytes,
        "debt": {"chunks": best.debt_chunks, "bytes": best.debt_bytes, "single_copy": best.debt_single_copy},
        "alarms": list(best.alarms),
    }


def show(document: dict[str, Any]) -> str:
    """The same for people."""
    debt = document["debt"]
    owed = (
        f"{debt['chunks']} chunks ({format_size(debt['bytes'])}) short of copies, {debt['single_copy']} with one copy"
        if debt["chunks"]
        else "none"
    )
    lines = [
        f"leader  {document['leader'] or 'none (election)'}, term {document['term']}",
        f"files   {document['files']}, {format_size(document['bytes'])}",
        f"debt    {owed}",
    ]
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
    """The merged document."""

    async def run() -> dict[str, Any]:
        return merge(await ask_all(runtime, addresses))

    return Deferred.fromCoroutine(run())
