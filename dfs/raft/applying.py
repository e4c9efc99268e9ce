"""The state machine's lane: committed entries in, answers out, one call at a time (R39).

The core hands out at most two batches that are not yet applied, so this queue is
bounded.  A failure of the state machine is final for the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.raft.completion import when
from dfs.raft.interfaces import Command, IStateMachine
from dfs.raft.messages import Entry, EntryKind
from dfs.runtime.interfaces import ILane


class Applier:
    """See the module.  Used on the reactor thread.

    :param applied: called with each batch and the answers of its commands, in order.
    :param failed: called with the Failure of the state machine.
    """

    def __init__(
        self,
        lane: ILane,
        machine: IStateMachine,
        applied: Callable[[tuple[Entry, ...], dict[int, bytes]], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self.machine = machine
        self._lane = lane
        self._applied = applied
        self._failed = failed
        self.stopped = False

    def apply(self, entries: tuple[Entry, ...]) -> None:
        """Have a batch applied after all earlier ones, as one transaction."""
        commands = [
            Command(entry.index, entry.term, entry.payload)
            for entry in entries
            if entry.kind is not EntryKind.CONFIGURATION
        ]
        when(
            self._lane.run(_apply, self.machine, commands),
            lambda answers: self._answered(answers, entries, commands),
            self._failed,
        )

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Another call on the state machine's lane, after what was asked before."""
        return self._lane.run(function, *arguments)

    def _answered(self, answers: list[bytes], entries: tuple[Entry, ...], commands: list[Command]) -> None:
        if not self.stopped:
            self._applied(entries, {command.index: answer for command, answer in zip(commands, answers, strict=True)})


def _apply(machine: IStateMachine, commands: list[Command]) -> list[bytes]:
    return machine.apply(commands) if commands else []
