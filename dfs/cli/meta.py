"""`dfs meta`: who belongs to the metadata cluster, and how that changes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from dfs.cli.output import print_json, table
from dfs.client.api import Client
from dfs.client.membership import Membership
from dfs.protocol.messages import MemberInfo, Members
from dfs.runtime.dial import parse_address

Tell = Callable[[str], None]


def nothing(text: str) -> None:
    """With --json steps are not told."""


async def meta(client: Client, options: argparse.Namespace) -> int:
    """One of the actions; its exit code."""
    tell = nothing if options.json else _line
    document, text = await ACTIONS[options.action](client.membership, options, tell)
    if options.json:
        print_json(document)
    else:
        print(text)
    return 0


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


Outcome = tuple[dict[str, Any], str]


async def show(membership: Membership, options: argparse.Namespace, tell: Tell) -> Outcome:
    """The members."""
    found = await membership.members()
    return document(found), listing(found)


async def add(membership: Membership, options: argparse.Namespace, tell: Tell) -> Outcome:
    """Let one in, wait until it has caught up, let it vote; with --learner only the first."""
    name, address = options.name, str(parse_address(options.address))
    found = await membership.let_in(name, address)
    if options.learner:
        return document(found), f"{name} is a learner; when it has caught up: dfs meta promote --name {name}"
    tell(f"{name} is let in at {address}; it catches up")
    await membership.caught_up(name)
    found = await membership.promote(name)
    return document(found), f"{name} votes. {strength(found)}"


async def promote(membership: Membership, options: argparse.Namespace, tell: Tell) -> Outcome:
    """Let a learner vote, once it has caught up."""
    await membership.caught_up(options.name)
    found = await membership.promote(options.name)
    return document(found), f"{options.name} votes. {strength(found)}"


async def remove(membership: Membership, options: argparse.Namespace, tell: Tell) -> Outcome:
    """Take one out."""
    found = await membership.remove(options.name)
    left = f"{options.name} is removed and stops by itself; its name is not used again. {strength(found)}"
    return document(found), left


async def transfer(membership: Membership, options: argparse.Namespace, tell: Tell) -> Outcome:
    """Hand leadership over."""
    leader = await membership.transfer(options.to)
    return {"leader": leader}, f"{leader} leads"


ACTIONS: dict[str, Callable[[Membership, argparse.Namespace, Tell], Awaitable[Outcome]]] = {
    "list": show,
    "add": add,
    "promote": promote,
    "remove": remove,
    "transfer-leader": transfer,
}


def role(member: MemberInfo, found: Members) -> str:
    """The word for it."""
    return "leader" if member.name == found.leader else "voter" if member.voter else "learner"


def document(found: Members) -> dict[str, Any]:
    """For scripts.  ``alive`` and ``behind`` (entries) are null where no leader tells."""
    led = found.leader == found.node
    return {
        "leader": found.leader,
        "term": found.term,
        "members": [
            {
                "name": member.name,
                "address": member.address,
                "role": role(member, found),
                "alive": member.alive if led else None,
                "behind": max(0, found.last_index - member.match) if led else None,
                "caught_up": member.caught_up if led else None,
            }
            for member in found.members
        ],
    }


def listing(found: Members) -> str:
    """The same for people."""
    led = found.leader == found.node
    rows: list[tuple[str, ...]] = [("metadata", "address", "role", "state", "behind")]
    for member in found.members:
        state = "-" if not led else "alive" if member.alive else "silent"
        behind = str(max(0, found.last_index - member.match)) if led else "-"
        rows.append((member.name, member.address, role(member, found), state, behind))
    return f"leader  {found.leader or 'none (election)'}, term {found.term}\n\n{table(rows)}\n\n{strength(found)}"


def strength(found: Members) -> str:
    """What the cluster survives."""
    voters = sum(member.voter for member in found.members)
    spare = (voters - 1) // 2
    survives = f"{spare} of them may fail" if spare else "none of them may fail"
    even = "; an even number is no better than one less" if voters % 2 == 0 else ""
    return f"{voters} voter{'s' if voters > 1 else ''}: {survives}{even}"
