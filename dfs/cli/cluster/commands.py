"""up, down, status, logs, kill, restart: a local cluster from the outside."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from dfs.cli import status as cluster_status
from dfs.cli.cluster import layout as layouts
from dfs.cli.cluster.layout import Layout, Node
from dfs.cli.cluster.processes import died, kill, running_pid, start, started, stop
from dfs.cli.errors import CommandFailed
from dfs.cli.finding import cluster_folder
from dfs.cli.output import print_json, table
from dfs.client.concurrency import cancellable, pause
from dfs.client.errors import DFSError
from dfs.disk.errors import DiskError, Exists, Locked
from dfs.disk.real import RealDisk
from dfs.protocol.dial import connect as dial
from dfs.protocol.interfaces import Identity
from dfs.protocol.trust import new_cluster_key, read_key_file, write_key_file
from dfs.protocol.values import Purpose, Role, cluster_id_of
from dfs.runtime.interfaces import Runtime

START_TIMEOUT = 30.0
SERVE_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
POLL = 0.1
LOCK_FILE = "starting.lock"
Say = Callable[[str], None]
Action = Coroutine[Deferred[Any], Any, int]


def make_folder(folder: str) -> bytes:
    """The folder with its key; the cluster id.  Raises CommandFailed."""
    key_file = os.path.join(folder, layouts.KEY_FILE)
    disk = RealDisk()
    try:
        disk.make_folders(folder)
        try:
            write_key_file(disk, key_file, new_cluster_key(os.urandom))
        except Exists:
            pass  # a former `up` was interrupted before cluster.toml was written: its key serves
        return cluster_id_of(read_key_file(disk, key_file))
    except DiskError as error:
        raise CommandFailed(f"cannot make the cluster's folder: {error}", "choose another one with --dir") from error


def lay_out(options: argparse.Namespace, folder: str, runtime: Runtime) -> Layout:
    """The cluster of the folder, made now if there is none.  Raises CommandFailed."""
    layout = layouts.read(folder)
    if layout is None:
        cluster_id = make_folder(folder).hex()
        meta, chunks = options.meta_nodes or 3, options.chunk_servers or 5
        layout = layouts.plan(folder, meta, chunks, cluster_id, os.environ, runtime.random, options.racks)
        layouts.write(layout)
        return layout
    for kind, asked in (("meta", options.meta_nodes), ("chunk", options.chunk_servers)):
        if asked is not None and asked != len(layout.of_kind(kind)):
            raise CommandFailed(
                f"the cluster in {folder} has {len(layout.of_kind(kind))} {kind} nodes, not {asked}",
                "start it without -m and -s, or another one in another --dir",
                2,
            )
    return layout


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """One `up` or `restart` at a time in a folder.  Raises CommandFailed."""
    disk = RealDisk()
    try:
        disk.make_folders(folder)
        lock = disk.lock(os.path.join(folder, LOCK_FILE))
    except Locked as error:
        raise CommandFailed(f"another command starts nodes in {folder} now", "wait until it is done") from error
    except DiskError as error:
        raise CommandFailed(f"cannot use the cluster's folder: {error}", "choose another one with --dir") from error
    try:
        yield
    finally:
        lock.release()


def start_nodes(layout: Layout, nodes: list[Node]) -> None:
    """Start these, all at once.  Raises CommandFailed naming the first that did not start; the others stay, so that
    the same command goes on with what is missing."""
    processes = []
    failures = []
    for node in nodes:
        try:
            processes.append((node, start(layout, node)))
        except CommandFailed as failure:
            failures.append(failure)
    for node, process in processes:
        try:
            started(node, process, START_TIMEOUT)
        except CommandFailed as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


async def up(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """Start what does not run and wait until the whole serves."""
    folder = cluster_folder(options)
    with alone(folder):
        layout = lay_out(options, folder, runtime)
        missing = [node for node in layout.nodes if running_pid(node) is None]
        if missing:
            await runtime.threads.run(start_nodes, layout, missing)
        document = await wait_serving(runtime, layout, {node.name for node in layout.nodes})
    if options.json:
        print_json({"dir": layout.folder, "started": [node.name for node in missing], **document})
        return 0
    what = f"{len(layout.of_kind('meta'))} metadata nodes and {len(layout.of_kind('chunk'))} chunk servers run"
    say(what if missing else f"{what} already")
    say(f"leader {document['leader']}; folder {layout.folder}")
    say(f"Use it: dfs --dir {layout.folder} upload --file PATH    Stop it: dfs cluster down --dir {layout.folder}")
    return 0


async def wait_serving(runtime: Runtime, layout: Layout, names: set[str]) -> dict[str, Any]:
    """Until there is a leader and each node of ``names`` serves; the status then.  Raises CommandFailed."""
    end = runtime.reactor.seconds() + SERVE_TIMEOUT
    missing = sorted(names)
    while runtime.reactor.seconds() < end:
        try:
            document = await cluster_status.status(runtime, [node.address for node in layout.of_kind("meta")])
        except DFSError:
            document = {"leader": None, "meta": [], "chunk_servers": []}
        alive = {server["name"] for server in document["chunk_servers"] if server["state"] == "alive"}
        alive |= {member["name"] for member in document["meta"] if member["role"] != "unreachable"}
        missing = sorted(names - alive)
        if document["leader"] is not None and not missing:
            return document
        dead = [node.name for node in layout.nodes if node.name in missing and running_pid(node) is None]
        if dead:
            raise died(layout.named(dead[0]))
        await pause(runtime.reactor, POLL)
    raise CommandFailed(
        f"the cluster does not serve after {SERVE_TIMEOUT:.0f} s: waiting for {', '.join(missing) or 'a leader'}",
        f"see the logs: dfs cluster logs --dir {layout.folder}",
        5,
    )


async def down(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """SIGTERM to all; SIGKILL to what does not go."""
    layout = layouts.must_read(cluster_folder(options))
    chunk_servers = await runtime.threads.run(stop, layout.of_kind("chunk"), STOP_TIMEOUT)
    killed = chunk_servers + await runtime.threads.run(stop, layout.of_kind("meta"), STOP_TIMEOUT)
    if options.json:
        print_json({"dir": layout.folder, "killed": killed})
        return 0
    if killed:
        say(f"had to be killed: {', '.join(killed)}")
    say(f"stopped; the data stay in {layout.folder}")
    return 0


async def status(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """Processes, then the cluster's own word."""
    layout = layouts.must_read(cluster_folder(options))
    pids = {node.name: running_pid(node) for node in layout.nodes}
    try:
        document = await cluster_status.status(runtime, [node.address for node in layout.of_kind("meta")])
    except DFSError as error:
        document = None
        problem = error.message
    if options.json:
        nodes = [{"name": n.name, "kind": n.kind, "address": n.address, "pid": pids[n.name]} for n in layout.nodes]
        print_json({"dir": layout.folder, "nodes": nodes, "status": document})
        return 0
    rows: list[tuple[str, ...]] = [("node", "address", "process")]
    rows += [(n.name, n.address, f"pid {pids[n.name]}" if pids[n.name] else "stopped") for n in layout.nodes]
    say(table(rows) + "\n")
    say(cluster_status.show(document) if document is not None else problem)
    return 0


async def kill_node(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """SIGKILL."""
    node = layouts.must_read(cluster_folder(options)).named(options.node)
    pid = await runtime.threads.run(kill, node)
    if options.json:
        print_json({"node": node.name, "pid": pid})
    else:
        say(f"killed {node.name} (pid {pid})")
    return 0


async def restart_node(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """SIGTERM if it runs, start, wait until it serves."""
    layout = layouts.must_read(cluster_folder(options))
    node = layout.named(options.node)
    with alone(layout.folder):
        await runtime.threads.run(stop, [node], STOP_TIMEOUT)
        await runtime.threads.run(start_nodes, layout, [node])
        await wait_answering(runtime, node)
        await wait_serving(runtime, layout, {node.name})
    if options.json:
        print_json({"node": node.name, "pid": running_pid(node)})
    else:
        say(f"{node.name} serves (pid {running_pid(node)})")
    return 0


async def wait_answering(runtime: Runtime, node: Node) -> None:
    """Until a node says Hello under its name: metadata may still take it for alive from before.  Raises
    CommandFailed."""
    end = runtime.reactor.seconds() + SERVE_TIMEOUT
    identity = Identity(Role.CLIENT, "restart", b"", runtime.entropy(16), b"")
    while True:
        try:
            connection = await cancellable(
                dial(runtime, node.address, identity, Purpose.CONTROL, None, node.name), lambda late: late.close()
            )
        except DFSError as error:
            if running_pid(node) is None:
                raise died(node) from error
            if runtime.reactor.seconds() > end:
                raise CommandFailed(f"{node.name} does not answer: {error.message}", f"see {node.log}", 5) from error
        else:
            connection.close()
            return
        await pause(runtime.reactor, POLL)


async def logs(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """`tail` over the nodes' logs."""
    layout = layouts.must_read(cluster_folder(options))
    nodes = [layout.named(options.node)] if options.node else list(layout.nodes)
    files = [node.log for node in nodes if os.path.exists(node.log)]
    if not files:
        raise CommandFailed("there is no log yet", f"start the cluster: dfs cluster up --dir {layout.folder}")
    command = ["tail", "-n", str(options.lines), *(["-F"] if options.follow else []), "--", *files]
    sys.stdout.flush()
    process = subprocess.Popen(command)
    try:
        return int(await runtime.threads.run(process.wait))
    finally:
        if process.poll() is None:
            process.terminate()


STEADY: dict[str, Callable[[argparse.Namespace, Runtime, Say], Action]] = {
    "up": up,
    "down": down,
    "status": status,
    "kill": kill_node,
    "restart": restart_node,
    "logs": logs,
}
