"""Keys, grants and the key file."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import Exists
from dfs.protocol.errors import Forbidden
from dfs.protocol.trust import KeyRing, new_cluster_key, read_key_file, write_key_file
from dfs.protocol.values import FileId, Generation, Grant, GrantKind
from dfs.simulation.disk import SimulatedDisk

KEY = b"k" * 32
FILE = FileId(5)
GENERATION = Generation(9)


class GrantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ring = KeyRing(KEY, b"c" * 16)
        self.grant = self.ring.sign(GrantKind.PUT, FILE, 3, GENERATION, 1000)

    def check(self, grant: Grant, now_ms: int = 0, ring: KeyRing | None = None) -> None:
        """As a chunk server would, for a put of chunk 3."""
        (ring or self.ring).check(grant, GrantKind.PUT, FILE, 3, GENERATION, now_ms)

    def test_good(self) -> None:
        """A grant that metadata signed is good until it expires, and not at that moment any more."""
        self.check(self.grant, 999)
        self.assertRaises(Forbidden, self.check, self.grant, 1000)

    def test_changed(self) -> None:
        """A grant of which any field was changed is refused."""
        for change in (
            {"kind": GrantKind.COPY},
            {"file_id": FileId(6)},
            {"index": 4},
            {"generation": Generation(10)},
            {"expires_ms": 2000},
            {"evidence": 1},
            {"mac": bytes(32)},
            {"mac": b""},
        ):
            changed = attrs.evolve(self.grant, **change)
            self.assertRaises(Forbidden, self.check, changed)
            self.assertRaises(
                Forbidden, self.ring.check, changed, changed.kind, changed.file_id, changed.index, changed.generation, 0
            )

    def test_for_another_thing(self) -> None:
        """A good grant is no good for another chunk, generation or operation."""
        for kind, file_id, index, generation in (
            (GrantKind.COPY, FILE, 3, GENERATION),
            (GrantKind.PUT, FileId(6), 3, GENERATION),
            (GrantKind.PUT, FILE, 4, GENERATION),
            (GrantKind.PUT, FILE, 3, Generation(8)),
        ):
            self.assertRaises(Forbidden, self.ring.check, self.grant, kind, file_id, index, generation, 0)

    def test_another_cluster(self) -> None:
        """A grant of another key or another cluster is refused."""
        self.assertRaises(Forbidden, self.check, self.grant, 0, KeyRing(b"x" * 32, b"c" * 16))
        self.assertRaises(Forbidden, self.check, self.grant, 0, KeyRing(KEY, b"d" * 16))

    def test_every_generation(self) -> None:
        """No grant covers every generation of a chunk, not even one to delete (S16)."""
        delete = self.ring.sign(GrantKind.DELETE, FILE, 3, Generation(0), 1000, 77)
        self.assertRaises(Forbidden, self.ring.check, delete, GrantKind.DELETE, FILE, 3, GENERATION, 0)
        put = self.ring.sign(GrantKind.PUT, FILE, 3, Generation(0), 1000)
        self.assertRaises(Forbidden, self.check, put)

    def test_short_key(self) -> None:
        """A key that is too short is refused, never padded."""
        self.assertRaises(Forbidden, KeyRing, b"short", b"c" * 16)


class KeyFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_folders("/keys")

    def test_round_trip(self) -> None:
        """A key comes back from its file, and an existing file is never replaced."""
        key = new_cluster_key(lambda length: b"e" * length)
        write_key_file(self.disk, "/keys/cluster.key", key)
        self.assertEqual(read_key_file(self.disk, "/keys/cluster.key"), key)
        self.assertRaises(Exists, write_key_file, self.disk, "/keys/cluster.key", KEY)

    def test_no_key_in_it(self) -> None:
        """A file that holds no key is refused with a sentence that says what to do."""
        for content in (b"", b"not hex", b"ab" * 31, b"ab" * 33, b"\xff\xfe"):
            file = self.disk.open("/keys/bad", create=True)
            file.truncate(0)
            file.pwrite([content], 0)
            file.close()
            error = self.assertRaises(Forbidden, read_key_file, self.disk, "/keys/bad")
            self.assertIn("/keys/bad", error.message)
            self.assertTrue(error.hint)
