"""The words of `dfs node`, `dfs rebalance` and `dfs events`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dfs.cli.options import at_least_one, common
from dfs.runtime.units import parse_duration

Add = Callable[[str, str], argparse.ArgumentParser]


def duration(text: str) -> float:
    """Seconds for argparse, which shows only its own sentence on a ValueError."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be longer than nothing")
    return seconds


def percent(text: str) -> float:
    """A share of a node's space."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0.1 <= number <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} must be a percentage from 0.1 to 50")
    return number


def add_node(node: argparse.ArgumentParser) -> None:
    """`dfs node ...`"""
    actions = node.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = common()

    def add(name: str, text: str, dry: bool = True) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text, parents=[shared])
        if name != "list":
            action.add_argument("node", help="its name, as `dfs node list` shows it")
        if dry:
            action.add_argument("--dry-run", action="store_true", help="say what would follow, change nothing")
        return action

    add("list", "Every chunk server: state, rack, space, what is left of a drain.", dry=False)
    drain = add("drain", "Give each chunk of a node another place; the node keeps its own until it is removed.")
    drain.add_argument("--wait", action="store_true", help="show the progress until it is drained")
    add("undrain", "Let a node stay after all.", dry=False)
    away = add("maintenance", "Announce that a node will be away: until then nothing is healed.", dry=False)
    how_long = away.add_mutually_exclusive_group(required=True)
    how_long.add_argument("--for", dest="seconds", type=duration, metavar="TIME", help="such as 10m, at most 7 days")
    how_long.add_argument("--end", action="store_true", help="it is back")
    add("remove", "Forget a node that is drained or dead, once each of its chunks is whole elsewhere.")


def add_moves(add: Add) -> None:
    """`dfs rebalance` and `dfs events`."""
    rebalance = add("rebalance", "Move replicas so that the chunk servers are filled alike.")
    rebalance.add_argument("--dry-run", action="store_true", help="say what would be moved, change nothing")
    rebalance.add_argument(
        "--threshold", type=percent, default=10.0, metavar="PERCENT", help="how far from the mean is fine (default 10)"
    )
    what = rebalance.add_mutually_exclusive_group()
    for name, text in (
        ("pause", "move nothing for now"),
        ("resume", "go on"),
        ("stop", "and forget it"),
        ("status", "how far it is"),
    ):
        what.add_argument(f"--{name}", dest="what", action="store_const", const=name, help=text)
    events = add("events", "What happened to the nodes, and what was moved.")
    events.add_argument("--follow", action="store_true", help="go on as they come")
    events.add_argument("--limit", type=at_least_one, default=50, metavar="N", help="the last so many (default 50)")
