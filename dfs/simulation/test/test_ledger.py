"""The ledger of requests accepts what one order explains, and nothing else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.errors import FileExists, FileNotFound
from dfs.protocol.errors import Disconnected
from dfs.protocol.messages import (
    CommitFile,
    CommitFiles,
    CommitRefusal,
    CreateUpload,
    CreateUploads,
    DeleteFile,
    FileInfo,
    FilePage,
    FilesCommitted,
    FilesOpened,
    FinishedUpload,
    GetFile,
    GrantedUpload,
    ListFiles,
    NewUpload,
    OpenedFile,
    OpenFiles,
    Operation,
    Refusal,
    UploadGranted,
    UploadOutcome,
    UploadsGranted,
)
from dfs.protocol.values import FileId, Generation
from dfs.simulation.ledger import Asked, Ledger, WatchedCaller

OPERATION = Operation(bytes(16), 1, 1)


def info(file_id: int, name: str = "n", size: int = 0) -> FileInfo:
    return FileInfo(name, FileId(file_id), size, bytes(32), 3, 65536, 0, 0)


def granted(file_id: int) -> UploadGranted:
    return UploadGranted(FileId(file_id), 1, 1000, 65536, 3, None, False, ())


def create(name: str = "n") -> CreateUpload:
    return CreateUpload(OPERATION, name, None, 65536, 3, 1)


def commit(file_id: int) -> CommitFile:
    return CommitFile(OPERATION, FileId(file_id), 1, 0, 0, bytes(32))


DELETE = DeleteFile(OPERATION, "n", None)
LOOK = GetFile("n", None)


class LedgerTests(SynchronousTestCase):
    """Small ledgers, mostly of one name."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def begin(self, request: object) -> Asked:
        asked = self.ledger.begin("c", request, 0.0)
        assert asked is not None
        return asked

    def did(self, request: object, answer: object) -> None:
        self.ledger.end(self.begin(request), answer)

    def test_errors_keep_no_frames(self) -> None:
        """A refusal is kept without the frames that it was raised through: a long run's memory stays flat."""
        asked = self.begin(LOOK)
        try:
            raise FileNotFound("no such file")
        except FileNotFound as error:
            self.ledger.end(asked, error)
        self.assertIsInstance(asked.answer, FileNotFound)
        self.assertIsNone(asked.answer.__traceback__)

    def uploaded(self, file_id: int, name: str = "n") -> None:
        self.did(create(name), granted(file_id))
        self.did(commit(file_id), info(file_id, name))

    def right(self) -> bool:
        return not self.ledger.violations()

    def test_plain_life(self) -> None:
        """Created, committed, seen, deleted, gone, created again."""
        self.did(LOOK, FileNotFound(""))
        self.uploaded(1)
        self.did(create(), FileExists(""))
        self.did(LOOK, info(1))
        self.did(DELETE, info(1))
        self.did(LOOK, FileNotFound(""))
        self.uploaded(2)
        self.did(LOOK, info(2))
        self.assertTrue(self.right())

    def test_commit_resurrects(self) -> None:
        """S36: a file that was deleted is committed again: no order explains it, seen again or not."""
        self.uploaded(1)
        self.did(DELETE, info(1))
        self.did(commit(1), info(1))
        self.assertFalse(self.right())

    def test_stale_stat(self) -> None:
        """S25: an answer of the former file, after another had the name."""
        self.uploaded(1)
        self.did(DELETE, info(1))
        self.uploaded(2)
        self.did(LOOK, info(1))
        self.assertFalse(self.right())

    def test_stale_create(self) -> None:
        """A create that is granted while a file has the name."""
        self.uploaded(1)
        self.did(create(), granted(2))
        self.assertFalse(self.right())

    def test_executed_twice(self) -> None:
        """S26: a delete whose answer was lost takes effect at the first try; that it deleted the next file too
        cannot be explained."""
        self.uploaded(1)
        self.begin(DELETE)
        self.did(LOOK, FileNotFound(""))
        self.uploaded(2)
        self.assertTrue(self.right())
        self.did(LOOK, FileNotFound(""))
        self.assertFalse(self.right())

    def test_pages(self) -> None:
        """A page says of each name between its ends whether it is there; of others nothing."""
        for number, name in enumerate("abcd", 1):
            self.uploaded(number, name)
        self.did(ListFiles("", b"", 2), FilePage((info(1, "a"), info(2, "b")), b"b"))
        self.did(ListFiles("", b"b", 2), FilePage((info(3, "c"), info(4, "d")), b""))
        self.did(ListFiles("x", b"", 2), FilePage((), b""))
        self.assertTrue(self.right())
        self.did(ListFiles("", b"b", 2), FilePage((info(4, "d"),), b""))
        (violation,) = self.ledger.violations()
        self.assertIn("'c'", violation)

    def test_a_file_never_changes(self) -> None:
        """Two answers about one id that differ are a violation."""
        self.uploaded(1)
        self.did(LOOK, info(1, size=7))
        self.assertFalse(self.right())

    def test_overlapping(self) -> None:
        """Two that overlap may be in either order."""
        self.uploaded(1)
        delete, look = self.begin(DELETE), self.begin(LOOK)
        self.ledger.end(look, FileNotFound(""))
        self.ledger.end(delete, info(1))
        self.assertTrue(self.right())


class BatchTests(SynchronousTestCase):
    """Batches through a client's caller are judged part by part."""

    def judged(self, request: object, answer: object) -> list[str]:
        """The violations after a batch was answered so, and the name ``n`` then looked at by id 1."""
        ledger = Ledger()
        caller: Any = FixedCaller(answer)
        ledger.end(_begun(ledger, create()), granted(1))
        self.successResultOf(WatchedCaller(caller, ledger, "c", lambda: 0.0).call(request).addErrback(lambda _: None))
        ledger.end(_begun(ledger, LOOK), info(1))
        return ledger.violations()

    def test_parts(self) -> None:
        """A commit in a batch is a commit of its name; one that was refused, or lost, explains what it can (S26)."""
        batch = CommitFiles(OPERATION, (FinishedUpload(FileId(1), 1, 0, 0, bytes(32)),))
        done, refused = CommitRefusal(None), CommitRefusal(Refusal(FileExists.code, "taken", ""))
        self.assertEqual(self.judged(batch, FilesCommitted((done,))), [])
        self.assertEqual(self.judged(batch, Disconnected("lost")), [])
        self.assertNotEqual(self.judged(batch, FilesCommitted((refused,))), [])

    def test_creates_and_looks(self) -> None:
        """A create that was granted says that nobody had the name; so does a file that could not be opened."""
        grant = UploadOutcome(GrantedUpload(FileId(2), Generation(1), bytes(32)), None)
        uploads = CreateUploads(OPERATION, 65536, 3, (NewUpload("n", 1),))
        batch = CommitFiles(OPERATION, (FinishedUpload(FileId(1), 1, 0, 0, bytes(32)),))
        for request, answer in (
            (uploads, UploadsGranted(1000, (), 2, 0, (grant,))),
            (OpenFiles((LOOK,)), FilesOpened((OpenedFile(None, None),))),
        ):
            ledger = Ledger()
            ledger.end(_begun(ledger, create()), granted(1))
            for asked, answered in ((batch, FilesCommitted((CommitRefusal(None),))), (request, answer)):
                caller: Any = FixedCaller(answered)
                self.successResultOf(WatchedCaller(caller, ledger, "c", lambda: 0.0).call(asked))
            self.assertNotEqual(ledger.violations(), [])


class FixedCaller:
    """Answers everything alike."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def call(self, request: object) -> Deferred[object]:
        return fail(self._answer) if isinstance(self._answer, Exception) else succeed(self._answer)


def _begun(ledger: Ledger, request: object) -> Asked:
    asked = ledger.begin("c", request, 0.0)
    assert asked is not None
    return asked
