"""Damaged replicas and disks in trouble, as chunk servers tell of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import queries
from dfs.metaserver.placement import place
from dfs.metaserver.test.cluster import Chunk, Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import Forbidden
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState


class DamageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.start(4)
        self.file = self.cluster.store("a/name")
        page = self.cluster.done(m.ListChunks(self.file.file_id, 0, 1), m.ChunkPage)
        self.generation = page.chunks[0].generation
        self.chunk = self.cluster.chunk(min(self.cluster.replicas(self.file)))

    def recorded(self, chunk: Chunk) -> int | None:
        """The number under which a node's replica is recorded."""
        machine = self.cluster.leader().server._machine
        assert machine is not None
        rows = queries.replicas_page(machine.store, chunk.node)
        return rows[0][2].number if rows else None

    def report(self, number: int, generation: int, kind: m.DamageKind = m.DamageKind.CORRUPT) -> None:
        chunk = self.chunk
        assert chunk.leader is not None
        report = m.ReportDamage(
            chunk.node, chunk.incarnation, self.file.file_id, 0, Generation(generation), number, kind, 65536
        )
        self.assertEqual(self.cluster.world.run_until(chunk.leader.call(report, 5.0)), m.Done())

    def test_struck_off_and_replaced(self) -> None:
        """S11: a damaged replica is struck off at once and copied elsewhere; a word about an older number, or another
        generation, strikes off nothing (S06)."""
        number = self.recorded(self.chunk)
        assert number is not None
        self.report(number - 1, self.generation)
        self.report(number, self.generation + 1)
        self.assertEqual(self.recorded(self.chunk), number)
        self.report(number, self.generation, m.DamageKind.UNREADABLE)
        self.assertIsNone(self.recorded(self.chunk))
        self.cluster.world.run(10.0)
        self.assertEqual(len(self.cluster.replicas(self.file)), 3)
        told = [event for event in self.cluster.done(m.ListEvents(0, 100), m.EventPage).events if event.detail]
        lost = [(event.node, event.detail) for event in told if event.kind is m.EventKind.REPLICA_LOST]
        self.assertEqual(lost, [(self.chunk.name, "chunk 0 of 'a/name' cannot be read at offset 65536")])

    def test_unknown_chunk(self) -> None:
        """S11: a word about a chunk that metadata does not know changes nothing, and is answered."""
        chunk = self.chunk
        assert chunk.leader is not None
        report = m.ReportDamage(
            chunk.node, chunk.incarnation, FileId(999), 0, Generation(1), 1, m.DamageKind.MISSING, None
        )
        self.assertEqual(self.cluster.world.run_until(chunk.leader.call(report, 5.0)), m.Done())

    def test_speaks_for_itself_only(self) -> None:
        """S43: a chunk server cannot tell of another's replicas or disk."""
        other = next(chunk for chunk in self.cluster.chunks if chunk is not self.chunk)
        assert self.chunk.leader is not None
        health = m.ReportHealth(other.node, other.incarnation, "broken", 9, 9, 0, 0, 0)
        with self.assertRaises(Forbidden):
            self.cluster.world.run_until(self.chunk.leader.call(health, 5.0))

    def test_trouble_is_avoided(self) -> None:
        """S11, S23: a node whose disk is in trouble is named in an alarm and gets nothing new while others have room,
        until it says that the trouble is over."""
        chunk, term = self.chunk, self.cluster.leader().term
        assert chunk.leader is not None and term is not None
        for trouble in ("its disk could not read 9 replicas", ""):
            health = m.ReportHealth(chunk.node, chunk.incarnation, trouble, 9, 0, 0, 0, 0)
            self.cluster.world.run_until(chunk.leader.call(health, 5.0))
            alarms = [one for one in term.seams.alarms.sentences() if one.startswith(f"{chunk.name}: its disk")]
            self.assertEqual(len(alarms), 1 if trouble else 0)
            views = term.repair.views()
            chosen = place(1, views, 3, (), lambda: 0.0) + place(1, views, 3, (), lambda: 0.99)
            self.assertEqual(chunk.node in chosen, not trouble)
            self.assertIs(term.state(NodeNumber(chunk.node)), NodeState.ALIVE)
