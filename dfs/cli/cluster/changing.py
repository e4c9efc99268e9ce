"""add, remove: a local cluster grows and shrinks while it runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from attrs import evolve

from dfs.cli.cluster import layout as layouts
from dfs.cli.cluster.commands import (
    STEADY,
    STOP_TIMEOUT,
    Action,
    Say,
    alone,
    start_nodes,
    wait_answering,
    wait_serving,
)
from dfs.cli.cluster.layout import Layout, Node, free_ports
from dfs.cli.cluster.processes import running_pid, stop
from dfs.cli.errors import CommandFailed
from dfs.cli.finding import cluster_folder
from dfs.cli.meta import strength
from dfs.cli.output import print_json
from dfs.client.api import Client, connect
from dfs.client.concurrency import pause
from dfs.client.membership import NoSuchMember
from dfs.protocol.messages import Members
from dfs.runtime.interfaces import Runtime

END_TIMEOUT = 10.0
"""Seconds in which a removed member ends by itself."""

POLL = 0.1


def client_of(layout: Layout, runtime: Runtime) -> Client:
    """A client of the local cluster."""
    return connect([node.address for node in layout.of_kind("meta")], None, runtime=runtime)


async def add_node(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """One node more: started, and a metadata node let in and promoted too."""
    folder = cluster_folder(options)
    with alone(folder):
        layout = layouts.must_read(folder)
        name = layout.new_name(options.kind)
        (port,) = free_ports(1, runtime.random)
        node = Node(name, options.kind, f"127.0.0.1:{port}", os.path.join(folder, name), options.kind == "meta")
        former, layout = layout, evolve(layout, nodes=(*layout.nodes, node), founders=layout.founding())
        layouts.write(layout)
        await runtime.threads.run(start_nodes, layout, [node])
        await wait_answering(runtime, node)
        if node.kind == "meta":
            found = await let_in(former, node, runtime)
        await wait_serving(runtime, layout, {name})
    if options.json:
        print_json({"node": name, "address": node.address, "pid": running_pid(node)})
    else:
        say(f"{name} serves at {node.address}" + (f". {strength(found)}" if node.kind == "meta" else ""))
    return 0


async def let_in(layout: Layout, node: Node, runtime: Runtime) -> Members:
    """A member, at last a voter."""
    async with client_of(layout, runtime) as client:
        await client.membership.let_in(node.name, node.address)
        await client.membership.caught_up(node.name)
        return await client.membership.promote(node.name)


async def remove_node(options: argparse.Namespace, runtime: Runtime, say: Say) -> int:
    """A metadata node less, running or not; its folder stays."""
    folder = cluster_folder(options)
    with alone(folder):
        layout = layouts.must_read(folder)
        node = layout.named(options.node)
        if node.kind != "meta":
            raise CommandFailed(f"{node.name} is a chunk server", "this removes metadata nodes only", 2)
        text = "it was no member"
        async with client_of(layout, runtime) as client:
            try:
                text = strength(await client.membership.remove(node.name))
            except NoSuchMember:
                """A former try got so far."""
        await _ended(node, runtime)
        nodes = tuple(each for each in layout.nodes if each is not node)
        layouts.write(evolve(layout, nodes=nodes, founders=layout.founding(), retired=(*layout.retired, node.name)))
    if options.json:
        print_json({"node": node.name, "dir": node.folder})
    else:
        say(f"{node.name} is removed; its folder stays at {node.folder}. {text}")
    return 0


async def _ended(node: Node, runtime: Runtime) -> None:
    """It hears that it was removed and stops; if it does not, it is stopped."""
    end = runtime.reactor.seconds() + END_TIMEOUT
    while running_pid(node) is not None and runtime.reactor.seconds() < end:
        await pause(runtime.reactor, POLL)
    await runtime.threads.run(stop, [node], STOP_TIMEOUT)


ACTIONS: dict[str, Callable[[argparse.Namespace, Runtime, Say], Action]] = {
    **STEADY,
    "add": add_node,
    "remove": remove_node,
}
