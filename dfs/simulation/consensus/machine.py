"""The replicated state machine: a list of what clients appended, kept as its length and a running checksum.

A command is ``client:number:padding``.  Each client's last number and what it was answered are part of the state, so a
command that comes twice, because its client asked again elsewhere, is executed once (R44).  A replica that forgot
that, say by a snapshot that leaves the sessions out, executes it twice and differs from the others from there on.
"""

from __future__ import annotations

import json
from zlib import crc32

from attrs import define, field

from dfs.raft.messages import Entry, EntryKind

ANYBODY = b"-"
"""The client of commands that belong to no session."""


@define
class Machine:
    """See the module.

    :ivar index: of the last entry applied; ``term`` is that entry's.
    :ivar count: how many commands were executed.
    :ivar digest: over all of them in their order.
    :ivar sessions: client to its last number and the position that this command got.
    """

    index: int = 0
    term: int = 0
    count: int = 0
    digest: int = 0
    sessions: dict[bytes, tuple[int, int]] = field(factory=dict)

    def apply(self, entry: Entry) -> int:
        """The position, from 1, that the entry's command has in the list; 0 where it has none."""
        self.index, self.term = entry.index, entry.term
        if entry.kind is not EntryKind.COMMAND:
            return 0
        command = entry.payload
        client, number_text, _ = command.split(b":", 2)
        number = int(number_text)
        if client != ANYBODY:
            former, position = self.sessions.get(client, (0, 0))
            if number <= former:
                return position if number == former else 0
            self.sessions[client] = number, self.count + 1
        self.count += 1
        self.digest = crc32(command, self.digest)
        return self.count

    def copy(self) -> Machine:
        """An independent copy."""
        return Machine(self.index, self.term, self.count, self.digest, self.sessions.copy())

    def encode(self) -> bytes:
        """The whole state: a snapshot."""
        sessions = {client.decode(): what for client, what in self.sessions.items()}
        return json.dumps([self.index, self.term, self.count, self.digest, sessions]).encode()


def decode(state: bytes) -> Machine:
    """The machine that a snapshot holds."""
    index, term, count, digest, sessions = json.loads(state)
    return Machine(index, term, count, digest, {client.encode(): tuple(what) for client, what in sessions.items()})
