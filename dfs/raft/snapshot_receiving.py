"""The follower's side of a snapshot transfer: write pieces in order, verify, switch (R37 to R40).

Pieces are written on the state machine's lane, so installing waits for what is
being applied and the other way round (R39).  At most ``PENDING_LENGTH`` bytes wait
for the lane; a piece beyond that is dropped and sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.raft.applying import Applier
from dfs.raft.codec import CodecError
from dfs.raft.completion import when
from dfs.raft.core.types import SnapshotMark
from dfs.raft.interfaces import ISnapshotSink
from dfs.raft.membership import Configuration, decode_configuration
from dfs.raft.messages import SnapshotPiece, SnapshotProgress, SnapshotReply
from dfs.raft.segment import NoSpace

_log = Logger()

PENDING_LENGTH = 4 << 20


class ReceiverCore(Protocol):
    """What a transfer asks of the core."""

    @property
    def term(self) -> int: ...

    @property
    def configuration(self) -> Configuration: ...

    @property
    def needs_snapshot(self) -> bool: ...

    def wants_snapshot(self, mark: SnapshotMark) -> bool: ...

    def install_snapshot(self, mark: SnapshotMark, configuration: bytes) -> bool: ...

    def snapshot_installed(self, mark: SnapshotMark) -> None: ...

    def install_failed(self) -> None: ...


@define(eq=False)
class _Reception:
    sender: str
    mark: SnapshotMark
    configuration: bytes
    sink: ISnapshotSink | None = None
    offset: int = 0
    written: int = 0
    complete: bool = False


class SnapshotReceiver:
    """See the module.  Used on the reactor thread.

    :param note: makes durable which configuration the snapshot at a mark brings, after all that was submitted to the
        log before; called before the state machine switches to it (R38).
    :param reply: sends a member an answer once the present term is durable.
    :param installed: called with the mark after the state machine switched; the core was told.
    :param failed: called with the Failure of a switch that is neither done nor refused: final for the node.
    """

    def __init__(
        self,
        core: ReceiverCore,
        applier: Applier,
        note: Callable[[SnapshotMark, bytes], Deferred[None]],
        reply: Callable[[str, SnapshotReply], None],
        installed: Callable[[SnapshotMark], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._core = core
        self._applier = applier
        self._note = note
        self._reply = reply
        self._installed = installed
        self._failed = failed
        self._reception: _Reception | None = None
        self.stopped = False

    def received(self, sender: str, piece: SnapshotPiece) -> None:
        """One piece, whose term the core has checked."""
        mark = SnapshotMark(piece.index, piece.mark_term)
        reception = self._reception
        if not self._core.wants_snapshot(mark):
            self._unwanted(sender, mark)
            return
        if reception is not None and reception.complete:
            # Being verified and switched to: nothing replaces it now, and its sender learns that we live.
            if (reception.sender, reception.mark) == (sender, mark):
                self._answer(sender, mark, reception.offset, SnapshotProgress.WANTED)
            return
        if reception is None or (reception.sender, reception.mark) != (sender, mark):
            if piece.offset != 0:
                self._answer(sender, mark, 0, SnapshotProgress.WANTED)
                return
            if not self._is_ours(piece.configuration):
                _log.error("{sender} sends a snapshot of another cluster; refused", sender=sender)
                self._answer(sender, mark, 0, SnapshotProgress.REFUSED)
                return
            reception = self._begin(sender, mark, piece.configuration)
        if piece.offset != reception.offset or reception.offset - reception.written > PENDING_LENGTH:
            self._answer(sender, mark, reception.written, SnapshotProgress.WANTED)
            return
        reception.offset += len(piece.data)
        reception.complete = piece.last
        when(
            self._applier.run(self._write, reception, piece.data),
            lambda _: self._wrote(reception, len(piece.data), piece.last),
            lambda failure: self._broken(failure, reception),
        )

    def stop(self) -> None:
        """Throw away what came so far."""
        self.stopped = True
        if self._reception is not None and not self._reception.complete:
            self._abandon(self._reception)

    def _is_ours(self, configuration: bytes) -> bool:
        try:
            return decode_configuration(configuration).cluster == self._core.configuration.cluster
        except CodecError:
            return False

    def _unwanted(self, sender: str, mark: SnapshotMark) -> None:
        """It brings nothing that is missing; or too little, where the tables were lost."""
        too_little = self._core.needs_snapshot
        self._answer(sender, mark, 0, SnapshotProgress.REFUSED if too_little else SnapshotProgress.INSTALLED)

    def _begin(self, sender: str, mark: SnapshotMark, configuration: bytes) -> _Reception:
        if self._reception is not None:
            self._abandon(self._reception)
        _log.info("receiving a snapshot at {index} from {sender}", index=mark.index, sender=sender)
        self._reception = _Reception(sender, mark, configuration)
        return self._reception

    def _write(self, reception: _Reception, data: bytes) -> None:
        """On the lane."""
        if reception.sink is None:
            reception.sink = self._applier.machine.receive_snapshot()
        reception.sink.write(data)

    def _wrote(self, reception: _Reception, length: int, last: bool) -> None:
        if reception is not self._reception:
            return
        reception.written += length
        if last:
            self._install(reception)
        else:
            self._answer(reception.sender, reception.mark, reception.written, SnapshotProgress.WANTED)

    def _install(self, reception: _Reception) -> None:
        mark, sink = reception.mark, reception.sink
        if self.stopped or not self._core.install_snapshot(mark, reception.configuration):
            self._abandon(reception)
            self._unwanted(reception.sender, mark)
            return
        assert sink is not None
        noted = self._note(mark, reception.configuration).addErrback(self._not_noted, reception)
        when(noted, lambda refused: None if refused else self._switch(sink, reception), self._failed)

    def _switch(self, sink: ISnapshotSink, reception: _Reception) -> None:
        """Who belongs as of the mark is on disk: the state machine may follow."""
        if self.stopped:
            self._abandon(reception)
            return
        done = self._applier.run(sink.commit).addErrback(self._not_committed, reception)
        when(done, lambda committed: self._committed(committed, reception), self._failed)

    def _committed(self, mark: SnapshotMark | None, reception: _Reception) -> None:
        if mark is None:
            return
        assert mark == reception.mark, (mark, reception.mark)
        self._reception = None
        if self.stopped:
            return
        _log.info("installed the snapshot at {index}", index=mark.index)
        self._core.snapshot_installed(mark)
        self._answer(reception.sender, mark, 0, SnapshotProgress.INSTALLED)
        self._installed(mark)

    def _not_noted(self, failure: Failure, reception: _Reception) -> bool:
        failure.trap(NoSpace)
        self._end_refused(reception, failure)
        return True

    def _not_committed(self, failure: Failure, reception: _Reception) -> None:
        failure.trap(ValueError)
        self._end_refused(reception, failure)

    def _end_refused(self, reception: _Reception, failure: Failure) -> None:
        """The former state stays."""
        _log.error("the snapshot from {sender} is not taken: {why}", sender=reception.sender, why=failure.value)
        self._core.install_failed()
        self._abandon(reception)
        self._answer(reception.sender, reception.mark, 0, SnapshotProgress.REFUSED)

    def _broken(self, failure: Failure, reception: _Reception) -> None:
        """A piece could not be written (a full disk, say): the state in use is untouched, so only the transfer ends."""
        if reception is not self._reception:
            return
        _log.error("a piece of a snapshot cannot be written: {why}", why=failure.getErrorMessage())
        self._abandon(reception)
        self._answer(reception.sender, reception.mark, 0, SnapshotProgress.REFUSED)

    def _abandon(self, reception: _Reception) -> None:
        if self._reception is reception:
            self._reception = None
        when(
            self._applier.run(_abort, reception),
            lambda _: None,
            lambda failure: _log.warn("a snapshot was not aborted: {why}", why=failure.getErrorMessage()),
        )

    def _answer(self, member: str, mark: SnapshotMark, offset: int, progress: SnapshotProgress) -> None:
        self._reply(member, SnapshotReply(self._core.term, mark.index, offset, progress))


def _abort(reception: _Reception) -> None:
    """On the lane, after the writes that were asked for."""
    if reception.sink is not None:
        reception.sink.abort()
