"""Members that do not lead answer readers that ask for it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import DeadlinePassed, DFSError, FileNotFound, NotLeader, Unavailable


class AnyReadingTests(SynchronousTestCase):
    """Three members; virtual time."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.start(3)
        self.addCleanup(self.cluster.stop)
        self.leader = self.cluster.leader()
        self.followers = [meta for meta in self.cluster.metas if meta is not self.leader]

    def test_every_member_answers(self) -> None:
        """R47, R49: a file that was just acknowledged is there on every member at once, with an applied index that is
        not below what the client has seen; so are its chunks and the list, with the replicas' states."""
        seen = 0
        for number in range(5):
            file = self.cluster.store(f"f{number}")
            for meta in (*self.followers, self.leader):
                found = self.cluster.ask(meta, m.GetFileAt(seen, m.GetFile(f"f{number}", None)))
                self.assertEqual(found.answer, file)
                self.assertGreaterEqual(found.applied, seen)
                seen = found.applied
                page = self.cluster.ask(meta, m.ListChunksAt(seen, m.ListChunks(file.file_id, 0, 10)))
                self.assertEqual({replica.state.name for replica in page.answer.chunks[0].replicas}, {"ALIVE"})
                files = self.cluster.ask(meta, m.ListFilesAt(seen, m.ListFiles("", b"", 100)))
                self.assertEqual(len(files.answer.files), number + 1)
        self.assertRaises(FileNotFound, self.cluster.ask, self.followers[0], m.GetFileAt(seen, m.GetFile("none", None)))

    def test_behind_what_was_seen(self) -> None:
        """R49: a member that is not as far as the client has seen says so instead of answering."""
        self.cluster.store("f")
        error = self.assertRaises(
            Unavailable, self.cluster.ask, self.followers[0], m.GetFileAt(1 << 40, m.GetFile("f", None))
        )
        self.assertIn("has seen", error.message)

    def test_cut_off(self) -> None:
        """S25, R47: a member that is cut off from the leader answers no read, however it is asked."""
        self.cluster.store("f")
        cut = self.followers[0]
        self.cluster.world.run(2.0)  # it has applied all
        for meta in self.cluster.metas:
            if meta is not cut:
                self.cluster.world.partition(cut.name, meta.name)
        error = self.assertRaises(DFSError, self.cluster.ask, cut, m.GetFileAt(0, m.GetFile("f", None)), 3.0)
        self.assertIsInstance(error, NotLeader | Unavailable | DeadlinePassed)

    def test_by_default_the_leader(self) -> None:
        """Requests that do not ask for any member are answered by the leader alone, which the others name."""
        self.cluster.store("f")
        for request in (m.GetFile("f", None), m.ListFiles("", b"", 10)):
            error = self.assertRaises(NotLeader, self.cluster.ask, self.followers[0], request)
            self.assertEqual(error.leader, self.leader.address)
