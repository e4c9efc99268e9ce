"""What lies in a folder, told to people who look for it."""

from __future__ import annotations

from attrs import evolve

from dfs.chunkserver import records
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.inspecting import Lying, layout_of, look
from dfs.chunkserver.records import ASIDE, BODY, PAGE
from dfs.chunkserver.segments import body_of
from dfs.chunkserver.test.fakes import CLUSTER
from dfs.chunkserver.test.packed import ROOT, PackedCase, bytes_of, ref, small
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import NotFound
from dfs.protocol.values import chunk_id


class LookingCase(PackedCase):
    """Two replicas in a segment and one in a file."""

    def setUp(self) -> None:
        super().setUp()
        self.put(1, 2)
        self.store = self.start(rules=WriteRules(reserve=0))
        self.put(3)

    def look(self, prefix: str = "", verify: bool = False) -> list[Lying]:
        return list(look(self.disk, self.layout, prefix, verify))


class LookTests(LookingCase):
    def test_places(self) -> None:
        """Each replica is told with the file and the offset at which its very bytes lie."""
        self.assertEqual(layout_of(self.disk, ROOT), self.layout)
        found = self.look()
        self.assertEqual([(each.ref, each.packed, each.problem) for each in found],
                         [(ref(3), False, ""), (ref(1), True, ""), (ref(2), True, "")])  # fmt: skip
        for each in found:
            assert each.ref is not None
            self.assertEqual(each.chunk, chunk_id(CLUSTER, each.ref.file_id, 0).hex())
            file = self.disk.open(each.path, writable=False)
            self.assertEqual(file.pread(each.length, each.offset), bytes_of(each.ref.file_id))
        self.assertEqual(self.look(found[1].chunk[:16]), [found[1]])
        self.assertEqual(self.look(verify=True), found)

    def test_rot(self) -> None:
        """Rot is told where every byte is read, in either layout, and nothing is moved or changed for it (S11)."""
        for each in self.look()[:2]:
            self.disk.flip_bits(each.path, each.offset + 10)
        before = self.content()
        self.assertEqual([each.problem for each in self.look()], ["", "", ""])
        self.assertEqual([bool(each.problem) for each in self.look(verify=True)], [True, True, False])
        self.assertEqual((self.content(), self.disk.list_folder(self.layout.quarantine)), (before, []))

    def test_what_does_not_count(self) -> None:
        """Unfinished writes, records that were set aside, bad heads and files of odd names are told with the reason;
        removed records are not."""
        path, nonce = self.layout.temporary(ref(4), bytes(8)), bytes(8)
        self.disk.open(path, create=True)
        odd = self.layout.path(ref(5)).replace(".1.chunk", ".one.chunk")
        self.disk.open(odd, create=True)
        segment = self.disk.open(self.segment())
        place = records.Place(1, self.offset(1))
        head = records.decode_head(segment.pread(BODY, place.offset), place, None)
        assert head is not None
        segment.pwrite([records.encode_head(evolve(head, kind=ASIDE))], place.offset)
        end = segment.size()
        body = body_of(CLUSTER, small(6), 9)
        torn = evolve(head, place=records.Place(1, end), group=end, held=small(6).held(9), body=len(body), nonce=nonce)
        segment.pwrite([records.encode_head(evolve(torn, nonce=head.nonce)), bytes(len(body))], end)
        self.run_now(self.store.delete(ref(3)))
        found = {(each.path, each.offset): each.problem.partition(":")[0] for each in self.look()}
        self.assertEqual(found, {
            (path, 0): "unfinished",
            (odd, 0): "name",
            (self.segment(), self.offset(2) + BODY): "",
            (self.segment(), place.offset + BODY): "set aside in its place",
            (self.segment(), end): "unfinished",
        })  # fmt: skip

    def test_foreign(self) -> None:
        """A folder without an identity, and a segment of another cluster, are refused (S28)."""
        self.assertRaises(NotFound, layout_of, self.disk, "/srv")
        segment = self.disk.open(self.segment())
        head = bytearray(records.encode_segment(records.SegmentHead(1, bytes(16), bytes(8))))
        segment.pwrite([head[:PAGE]], 0)
        self.assertRaises(RefusedStart, self.look)
