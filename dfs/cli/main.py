"""`dfs`: from the words of the command line to an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dfs.cli import files, status, trees
from dfs.cli.cluster.changing import ACTIONS
from dfs.cli.errors import UsageError
from dfs.cli.explain import explain
from dfs.cli.finding import meta_addresses, settings_of
from dfs.cli.fsck import fsck
from dfs.cli.init import init
from dfs.cli.meta import meta
from dfs.cli.moves import events, rebalance
from dfs.cli.node import node
from dfs.cli.options import parse
from dfs.cli.output import Bar, print_json
from dfs.cli.rebuild import rebuild
from dfs.cli.running import exit_code_of, run_command
from dfs.cli.whatif import whatif
from dfs.client.api import Client, ClientOptions, connect
from dfs.runtime.options import META, PATIENCE, READ_FROM
from dfs.runtime.real import real_runtime
from dfs.runtime.settings import Settings

COMMANDS: dict[str, Callable[[Client, argparse.Namespace], Awaitable[int]]] = {
    "list": files.list_files,
    "delete": files.delete,
    "stat": files.stat,
    "fsck": fsck,
    "explain": explain,
    "rebalance": rebalance,
}
"""The commands that need nothing but a client."""


def say(text: str) -> None:
    """A line for people, at once."""
    print(text, flush=True)


def make_bar(options: argparse.Namespace) -> Bar:
    """A progress line for transfers on a terminal."""
    label = {"upload": "sending", "download": "fetching"}.get(options.command, "")
    shared = getattr(options, "out", None) == "-" and sys.stdout.isatty()  # the file itself goes to the terminal
    return Bar(label, sys.stderr, bool(label) and not options.json and not shared)

async def with_client(options: argparse.Namespace, settings: Settings, reactor: Any, bar: Bar) -> int:
    """The commands that talk to a cluster."""
    runtime = real_runtime(reactor)
    addresses = meta_addresses(options, settings, META)
    if options.command == "status":
        document = await status.status(runtime, addresses)
        if options.json:
            print_json(document)
        else:
            print(status.show(document))
        return 0
    client_options = ClientOptions(patience=settings[PATIENCE], any_member=settings[READ_FROM] == "any")
    async with connect(addresses, reactor, runtime=runtime, options=client_options) as client:
        if options.command == "upload":
            if options.recursive:
                return await trees.upload_tree(client, options, settings, bar, runtime.threads)
            return await files.upload(client, options, settings, bar, runtime.threads)
        if options.command == "download":
            if options.recursive:
                return await trees.download_tree(client, options, settings, bar, runtime.threads)
            return await files.download(client, options, settings, bar, runtime.threads)
        if options.command == "whatif":
            return await whatif(client, options, settings)
        if options.command == "meta":
            return await meta(client, options)
        if options.command == "node":
            return await node(client, options, runtime.reactor)
        if options.command == "bench":
            from dfs.cli.bench.command import bench

            return await bench(client, options, settings, runtime)
        if options.command == "events":
            return await events(client, options, runtime)
        return await COMMANDS[options.command](client, options)


async def run(options: argparse.Namespace, settings: Settings, reactor: Any, bar: Bar) -> int:
    """One command; its exit code."""
    if options.command == "cluster":
        return await ACTIONS[options.action](options, real_runtime(reactor), say)
    if options.command == "init":
        return await init(options, real_runtime(reactor), say)
    if options.command == "store":
        from dfs.cli.store import STORE_ACTIONS

        return await STORE_ACTIONS[options.action](options, real_runtime(reactor), say)
    if options.command == "rebuild":
        return await rebuild(options, settings, real_runtime(reactor))
    return await with_client(options, settings, reactor, bar)


def simulate(options: argparse.Namespace) -> int:
    """Without any reactor: time is virtual there."""
    from dfs.cli.sim import sim
    from dfs.simulation.workers import WorkerFailed

    try:
        return sim(options)
    except (UsageError, KeyboardInterrupt, WorkerFailed) as error:
        return exit_code_of(error, options.json)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is no failure
    try:
        options = parse(words)
    except UsageError as error:
        return exit_code_of(error, "--json" in words)
    if options.command == "sim":
        return simulate(options)
    bar = make_bar(options)
    try:
        settings = settings_of(options)
    except Exception as error:  # noqa: BLE001 - turned into a sentence and an exit code
        return exit_code_of(error, options.json)
    code = run_command(lambda reactor: run(options, settings, reactor, bar), options.json, bar.end)
    if code == 130:
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
