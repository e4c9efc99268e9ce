"""The contract of IKeyValueStore, run against every engine."""

from __future__ import annotations

import os
import shutil
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from dfs.disk.real import RealDisk
from dfs.kv.errors import LimitExceeded, SnapshotOpen, StoreClosed
from dfs.kv.interfaces import MAX_BATCH, MAX_KEY, MAX_VALUE, Batch, IKeyValueStore, IStoreSnapshot, prefix_end, scan_all

KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=40)), max_size=6)
STEPS = st.one_of(
    st.tuples(st.just("apply"), CHANGES),
    st.tuples(st.just("scan"), st.tuples(st.binary(max_size=3), st.none() | st.binary(max_size=3), st.booleans())),
    st.tuples(st.sampled_from(["sync", "reopen", "crash", "snapshot", "read"]), st.none()),
)


def numbered(index: int) -> Batch:
    """Batch ``index`` of a history: its own three keys, and a counter that each overwrites."""
    changes: dict[bytes, bytes | None] = {b"k%04d-%d" % (index, i): b"v%d" % index * 5 for i in range(3)}
    return Batch({**changes, b"counter": b"%d" % index, b"k%04d-0" % (index - 2): None})


def after(count: int) -> list[tuple[bytes, bytes]]:
    """All pairs after the batches 1 to ``count``."""
    state: dict[bytes, bytes] = {}
    for index in range(1, count + 1):
        for key, value in numbered(index).changes.items():
            state.pop(key, None)
            if value is not None:
                state[key] = value
    return sorted(state.items())


class StoreContract:
    """Mix into a SynchronousTestCase; give :meth:`make`."""

    def make(self, folder: str) -> IKeyValueStore:
        """Open or make the store in ``folder``."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.disk = RealDisk()
        self.base: str = os.path.abspath(self.mktemp())  # type: ignore[attr-defined]
        self.copies = 0
        self.stores: list[IKeyValueStore] = []

    def tearDown(self) -> None:
        for store in self.stores:
            store.close()

    def opened(self, folder: str | None = None) -> Any:
        store = self.make(folder or self.base)
        self.stores.append(store)
        return store

    def copied(self, folder: str | None = None) -> str:
        """A copy of the folder as it is now: what the death of the process leaves."""
        self.copies += 1
        target = f"{self.base}-copy{self.copies}"
        shutil.copytree(folder or self.base, target)
        return target

    def pairs(self, store: IKeyValueStore) -> list[tuple[bytes, bytes]]:
        return list(scan_all(store, b"", 7))

    def test_interface(self: Any) -> None:
        """The engine provides the interface, and so does its snapshot."""
        store = self.opened()
        self.assertTrue(verifyObject(IKeyValueStore, store))
        self.assertTrue(verifyObject(IStoreSnapshot, store.snapshot()))

    def test_put_get_delete(self: Any) -> None:
        """What was put is got, also an empty value; what was deleted or never put is None."""
        store = self.opened()
        store.apply(Batch({b"a": b"1", b"b": b"", b"\x00": b"zero"}))
        self.assertEqual([store.get(key) for key in (b"a", b"b", b"\x00", b"c", b"")], [b"1", b"", b"zero", None, None])
        store.apply(Batch({b"a": None, b"never": None, b"b": b"2"}))
        self.assertEqual([store.get(b"a"), store.get(b"b"), store.count()], [None, b"2", 2])

    def test_told_what_is_stored(self: Any) -> None:
        """A batch that says which of its keys are stored leaves the records and the count that it would leave else."""
        store = self.opened()
        store.apply(Batch({b"a": b"1", b"b": b"2"}, {b"a": False}))
        stored = {b"a": True, b"b": True, b"c": False, b"d": False}
        store.apply(Batch({b"a": None, b"b": b"3", b"c": None, b"d": b"4"}, stored))
        self.assertEqual((self.pairs(store), store.count()), ([(b"b", b"3"), (b"d", b"4")], 2))

    def test_order_and_ranges(self: Any) -> None:
        """Scans are in the order of unsigned bytes, half open, limited, and the same in reverse."""
        store = self.opened()
        keys = [b"\x00", b"\x00\x00", b"a", b"a\x00", b"aa", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
        store.apply(Batch({key: key * 2 for key in reversed(keys)}))
        expected = [(key, key * 2) for key in sorted(keys)]
        for start in (b"", b"a", b"a\x00", b"c", b"\xff\xff\xff"):
            for end in (None, b"", b"a", b"a\x00\x00", b"\xff", b"\xff\xff\xff"):
                inside = [(k, v) for k, v in expected if k >= start and (end is None or k < end)]
                self.assertEqual(store.scan(start, end), inside)
                self.assertEqual(store.scan(start, end, reverse=True), inside[::-1])
                self.assertEqual(store.scan(start, end, 2, reverse=True), inside[::-1][:2])
                self.assertEqual(store.scan(start, end, 3), inside[:3])
        self.assertEqual(store.scan(b"", None, 0), [])

    def test_many_keys(self: Any) -> None:
        """Order holds over thousands of keys that come in no order, and as they go."""
        store = self.opened()
        keys = [b"%05d" % (i * 7919 % 5003) for i in range(5003)]
        for i in range(0, len(keys), 100):
            store.apply(Batch({key: key for key in keys[i : i + 100]}))
        self.assertEqual([k for k, _ in self.pairs(store)], sorted(keys))
        store.apply(Batch(dict.fromkeys(keys[:4900])))
        self.assertEqual([k for k, _ in store.scan(b"", reverse=True)], sorted(keys[4900:], reverse=True))
        self.assertEqual(store.count(), 103)

    def test_limits(self: Any) -> None:
        """The largest key and value are stored; beyond them, and for empty keys, nothing of the batch is."""
        store = self.opened()
        key, value = b"k" * MAX_KEY, b"v" * MAX_VALUE
        store.apply(Batch({key: value, b"small": b""}))
        bad: list[dict[bytes, bytes | None]] = [{b"": b"1"}, {key + b"k": b"1"}, {b"x": value + b"v"}, {b"": None}]
        bad.append({b"%d" % i: value for i in range(MAX_BATCH // MAX_VALUE)})
        for changes in bad:
            with self.assertRaises(LimitExceeded):
                store.apply(Batch({b"first": b"1", **changes}))
        self.assertEqual((store.get(key), store.get(b"first"), store.count()), (value, None, 2))
        self.assertEqual(store.scan(b"", None, 1), [(key, value)])

    def test_reopen(self: Any) -> None:
        """What was applied before the close is there after it, with the count."""
        store = self.opened()
        for index in range(1, 30):
            store.apply(numbered(index))
        store.close()
        store = self.opened()
        self.assertEqual(self.pairs(store), after(29))
        self.assertEqual(store.count(), len(after(29)))
        store.apply(numbered(30))
        store.close()
        self.assertEqual(self.pairs(self.opened()), after(30))

    def test_closed(self: Any) -> None:
        """close may be called again; any other call is then refused, also a read of a snapshot."""
        store = self.opened()
        snapshot = store.snapshot()
        store.close()
        store.close()
        snapshot.close()
        for call in (lambda: store.get(b"a"), lambda: store.scan(b""), lambda: store.apply(Batch()), store.sync):
            self.assertRaises(StoreClosed, call)
        for call in (store.snapshot, store.count, lambda: snapshot.read(1)):
            self.assertRaises(StoreClosed, call)

    def test_snapshot_isolation(self: Any) -> None:
        """A snapshot gives what was there when it was opened, whatever is written while it is read (S32)."""
        store = self.opened()
        for index in range(1, 40):
            store.apply(numbered(index))
        snapshot = store.snapshot()
        self.assertRaises(SnapshotOpen, store.snapshot)
        seen: list[tuple[bytes, bytes]] = []
        index = 40
        while pairs := snapshot.read(60):
            seen += pairs
            store.apply(numbered(index))
            store.apply(Batch({seen[-1][0]: b"overwritten", b"k%04d-2" % index: None, b"k0030-%d" % (index % 3): b"x"}))
            store.apply(Batch({b"k%04d-1" % (79 - index): None, b"a%d" % index: b"new", b"z%d" % index: b"new"}))
            index += 1
        self.assertEqual(seen, after(39))
        self.assertEqual(snapshot.read(60), [])
        snapshot.close()
        second = store.snapshot()
        self.assertEqual(second.read(1 << 20), self.pairs(store))

    def test_snapshot_slices(self: Any) -> None:
        """A slice has at most the bytes asked for, but one pair at least."""
        store = self.opened()
        store.apply(Batch({b"a": b"1" * 10, b"b": b"2" * 10, b"c": b"3" * 100, b"d": b""}))
        snapshot = store.snapshot()
        slices = [[key for key, _ in snapshot.read(limit)] for limit in (22, 5, 1000, 1000)]
        self.assertEqual(slices, [[b"a", b"b"], [b"c"], [b"d"], []])

    def test_process_crash(self: Any) -> None:
        """The death of the process at any moment leaves a prefix that contains every synced batch."""
        store = self.opened()
        synced = 0
        for index in range(1, 25):
            store.apply(numbered(index))
            if index % 7 == 0:
                store.sync()
                synced = index
            found = self.opened(self.copied())
            count = int(found.get(b"counter") or b"0")
            self.assertTrue(synced <= count <= index, (synced, count, index))
            self.assertEqual(self.pairs(found), after(count))
            self.assertEqual(found.count(), len(after(count)))
            found.close()

    # one property for several engines, by design; nothing is replayed from a database
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.differing_executors],
    )
    @given(st.lists(STEPS, max_size=25))
    def test_model(self: Any, steps: list[tuple[str, Any]]) -> None:
        """Any history gives what a sorted dict gives, over syncs, reopenings, crashes and snapshots."""
        folder = self.copied_base()
        store = self.make(folder)
        model: dict[bytes, bytes] = {}
        view: Any = None
        frozen: list[tuple[bytes, bytes]] = []
        try:
            for step, argument in steps:
                if step == "apply":
                    store.apply(Batch(argument))
                    for key, value in argument.items():
                        model.pop(key, None)
                        if value is not None:
                            model[key] = value
                elif step == "scan":
                    start, end, reverse = argument
                    inside = [(k, v) for k, v in sorted(model.items()) if k >= start and (end is None or k < end)]
                    self.assertEqual(store.scan(start, end, 1000, reverse), inside[::-1] if reverse else inside)
                elif step == "snapshot":
                    view = view or store.snapshot()
                    frozen = frozen or sorted(model.items())
                elif step == "read" and view is not None:
                    pairs = view.read(8)
                    self.assertEqual(pairs, frozen[: len(pairs)])
                    self.assertEqual(bool(pairs), bool(frozen))
                    frozen = frozen[len(pairs) :]
                elif step == "sync":
                    store.sync()
                elif step in ("reopen", "crash"):
                    store.sync()
                    folder = self.copied(folder) if step == "crash" else folder
                    store.close()
                    store, view, frozen = self.make(folder), None, []
                self.assertEqual(store.count(), len(model))
                if view is not None and not frozen:
                    view.close()
                    view = None
            self.assertEqual(self.pairs(store), sorted(model.items()))
        finally:
            store.close()

    def copied_base(self: Any) -> str:
        """A fresh folder for each example."""
        self.copies += 1
        return f"{self.base}-model{self.copies}"

    def test_prefix_end(self: Any) -> None:
        """A prefix scan has every key under the prefix and no other."""
        store = self.opened()
        store.apply(Batch({b"a": b"", b"a\xff": b"", b"a\xff\xff": b"", b"b": b"", b"\xff": b"", b"\xff\xff": b""}))
        self.assertEqual([k for k, _ in scan_all(store, b"a\xff")], [b"a\xff", b"a\xff\xff"])
        self.assertEqual([k for k, _ in scan_all(store, b"\xff", 1)], [b"\xff", b"\xff\xff"])
        self.assertEqual(prefix_end(b"a\xff"), b"b")
