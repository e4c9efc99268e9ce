"""Snapshots between members: the leader's streams and the follower's reception, a piece at a time (R38 to R42)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from dfs.raft.core import Role, SnapshotMark
from dfs.raft.messages import SnapshotPiece, SnapshotProgress, SnapshotReply
from dfs.simulation.consensus.machine import Machine, decode

if TYPE_CHECKING:
    from dfs.simulation.consensus.member import Member

TRIES = 3
"""A piece is sent so often, an election time-out apart, before the transfer is given up."""


@define
class Stream:
    """One transfer to one follower."""

    mark: SnapshotMark
    term: int
    state: bytes
    configuration: bytes
    offset: int = 0
    waited: int = 0
    tries: int = 0


class Sender:
    """The leader's transfers, by follower."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.streams: dict[str, Stream] = {}

    def wanted(self, to: str) -> None:
        """Begin a transfer of the state as it is now."""
        machine, core = self._member.machine, self._member.up
        mark, configuration = SnapshotMark(machine.index, machine.term), core.configuration_at(machine.index)
        stream = Stream(mark, core.term, machine.encode(), configuration)
        self.streams[to] = stream
        core.snapshot_started(to, stream.mark)
        self._send(to, stream)

    def answered(self, sender: str, reply: SnapshotReply) -> None:
        """The follower wants more, has it all, or wants none of it."""
        stream, core = self.streams.get(sender), self._member.up
        if stream is None or reply.index != stream.mark.index:
            return
        stream.waited = stream.tries = 0
        if reply.progress is SnapshotProgress.WANTED:
            if reply.offset <= len(stream.state):
                stream.offset = reply.offset
                self._send(sender, stream)
            return
        del self.streams[sender]
        if reply.progress is SnapshotProgress.INSTALLED:
            core.snapshot_sent(sender, stream.mark)
        else:
            core.snapshot_failed(sender)

    def tick(self) -> None:
        """Send again what was lost; give up what leads nowhere."""
        core = self._member.up
        for to, stream in list(self.streams.items()):
            if core.role is not Role.LEADER or core.term != stream.term:
                del self.streams[to]
                continue
            stream.waited += 1
            if stream.waited < self._member.plan.config.election_ticks:
                continue
            stream.waited = 0
            stream.tries += 1
            if stream.tries < TRIES:
                self._send(to, stream)
            else:
                del self.streams[to]
                self._member.do("snapshot_failed", to)

    def _send(self, to: str, stream: Stream) -> None:
        end = stream.offset + self._member.store.piece
        piece = SnapshotPiece(
            stream.term, stream.mark.index, stream.mark.term, stream.offset, end >= len(stream.state),
            b"" if stream.offset else stream.configuration, stream.state[stream.offset : end],
        )  # fmt: skip
        self._member.send(to, piece)


class Receiver:
    """What has come of one snapshot, until it is whole and switched to.

    :ivar ready: the state to switch to once what is being applied has ended (R39).
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._from: tuple[str, SnapshotMark] | None = None
        self._state = self._configuration = b""
        self.ready: Machine | None = None

    def received(self, sender: str, piece: SnapshotPiece) -> None:
        """One piece, whose term the core has checked."""
        core = self._member.up
        mark = SnapshotMark(piece.index, piece.mark_term)
        if mark.index <= core.commit_index:
            self._answer(sender, mark, SnapshotProgress.INSTALLED)
            return
        if self.ready is not None:
            return
        if self._from != (sender, mark):
            if piece.offset:
                self._answer(sender, mark, SnapshotProgress.WANTED)
                return
            self._from, self._state, self._configuration = (sender, mark), b"", piece.configuration
        if piece.offset == len(self._state):
            self._state += piece.data
            if piece.last:
                self._complete(sender, mark)
                return
        self._answer(sender, mark, SnapshotProgress.WANTED, len(self._state))

    def _complete(self, sender: str, mark: SnapshotMark) -> None:
        state, self._state, self._from = self._state, b"", None
        if not self._member.up.install_snapshot(mark, self._configuration):
            has_it = self._member.up.commit_index >= mark.index
            self._answer(sender, mark, SnapshotProgress.INSTALLED if has_it else SnapshotProgress.REFUSED)
            return
        self.ready, self._from = decode(state), (sender, mark)
        if not self._member.applying:
            self.install()

    def install(self) -> None:
        """Nothing is being applied: switch, if there is something to switch to."""
        if self.ready is None or self._from is None:
            return
        machine, (sender, mark), core = self.ready, self._from, self._member.up
        self.ready = self._from = None
        self._member.installed(machine, self._configuration)
        if self._member.core is core:
            self._answer(sender, mark, SnapshotProgress.INSTALLED)

    def _answer(self, to: str, mark: SnapshotMark, progress: SnapshotProgress, offset: int = 0) -> None:
        self._member.send(to, SnapshotReply(self._member.up.term, mark.index, offset, progress))
