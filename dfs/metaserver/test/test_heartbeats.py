"""Chunk servers that fall silent, come back, restart, copy and delete."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import queries
from dfs.metaserver.commands import MAX_COMMITS, AddReplicas, Command
from dfs.metaserver.test.cluster import SHA256, Chunk, Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState


class HealthTests(SynchronousTestCase):
    """One cluster a test; suspect after 3 s, dead after 6 s of virtual time."""

    def cluster(self, chunks: int, seed: int = 1) -> Cluster:
        cluster = Cluster(seed)
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def jobs(self, cluster: Cluster, kind: m.JobKind) -> list[m.Job]:
        return [job for chunk in cluster.chunks for job in chunk.jobs if job.kind is kind]

    def state(self, cluster: Cluster, name: str) -> NodeState:
        return next(server.state for server in cluster.status().chunk_servers if server.name == name)

    def test_all_chunk_servers_stop_and_come_back(self) -> None:
        """S01: every chunk server is silent for long and comes back: no replica was evicted, nothing is deleted."""
        cluster = self.cluster(4)
        file = cluster.store("a")
        before = set(cluster.replicas(file))
        for chunk in cluster.chunks:
            chunk.silent = True
        cluster.world.run(120.0)
        self.assertEqual(set(cluster.replicas(file).values()), {"DEAD"})
        for chunk in cluster.chunks:
            chunk.silent = False
        cluster.world.run(10.0)
        self.assertLessEqual(before, set(cluster.replicas(file)))
        self.assertEqual(set(cluster.replicas(file).values()), {"ALIVE"})
        self.assertEqual(self.jobs(cluster, m.JobKind.DELETE), [])

    def test_a_new_leader_gives_everybody_the_full_timeout(self) -> None:
        """S02: a node that was nearly dead to the old leader is judged by the new one only after its own time-out."""
        cluster = self.cluster(4)
        silent = cluster.chunks[0]
        silent.silent = True
        cluster.world.run(4.0)
        old = cluster.leader()
        old.host.kill()
        cluster.leader(others=(old,))
        took_over = cluster.world.clock.now
        cluster.world.run_until(lambda: self._dead(cluster, silent.name), 30.0)
        self.assertGreaterEqual(cluster.world.clock.now - took_over, 5.9)

    def _dead(self, cluster: Cluster, name: str) -> bool:
        term = cluster.leader().term
        assert term is not None
        number = term.seams.roster.named(name)
        return number is not None and term.state(number) is NodeState.DEAD

    def test_the_dead_return(self) -> None:
        """S03: a node that was declared dead and beats again is alive, and its replicas count again."""
        cluster = self.cluster(3)
        file = cluster.store("a")
        silent = cluster.chunks[0]
        silent.silent = True
        cluster.world.run(8.0)
        self.assertEqual(cluster.replicas(file)[silent.name], "DEAD")
        silent.silent = False
        cluster.world.run(2.0)
        self.assertEqual(cluster.replicas(file)[silent.name], "ALIVE")

    def test_a_short_absence_moves_nothing(self) -> None:
        """S04: a node that is away for less than the grace time causes no copy."""
        cluster = self.cluster(4)
        cluster.store("a")
        for chunk in cluster.chunks:
            chunk.silent = True
            cluster.world.run(4.5)
            chunk.silent = False
            cluster.world.run(2.0)
        self.assertEqual(self.jobs(cluster, m.JobKind.COPY), [])

    def test_death_is_healed(self) -> None:
        """S04: after a death each of its chunks has a copy more, ordered within a second or two and recorded once."""
        cluster = self.cluster(4)
        files = [cluster.store(f"f{number}") for number in range(6)]
        victim = cluster.chunks[0]
        victim.silent = True
        lost = [file for file in files if victim.name in cluster.replicas(file)]
        self.assertTrue(lost)
        cluster.world.run_until(lambda: self._dead(cluster, victim.name))
        cluster.world.run(8.0)
        for file in files:
            alive = [node for node, state in cluster.replicas(file).items() if state == "ALIVE"]
            self.assertEqual(len(alive), 3, file.name)
        copies = self.jobs(cluster, m.JobKind.COPY)
        self.assertEqual(len(copies), len(lost))
        self.assertTrue(all(job.grant is not None and job.sha256 == SHA256 for job in copies))
        self.assertEqual(cluster.status().debt_chunks, 0)

    def test_copies_of_a_beat_share_an_entry(self) -> None:
        """What one beat tells of several copies is recorded by one entry of the log."""
        cluster = self.cluster(4)
        for number in range(12):
            cluster.store(f"f{number}")
        victim = cluster.chunks[0]
        victim.silent = True
        cluster.world.run_until(lambda: self._dead(cluster, victim.name))
        term = cluster.leader().term
        assert term is not None
        proposed: list[Command] = []
        propose = term.seams.proposer.propose

        def watched(command: Command, kind: type[Any]) -> Any:
            proposed.append(command)
            return propose(command, kind)

        self.patch(term.seams.proposer, "propose", watched)
        cluster.world.run(8.0)
        adds = [len(command.replicas) for command in proposed if isinstance(command, AddReplicas)]
        self.assertEqual(sum(adds), len(self.jobs(cluster, m.JobKind.COPY)))
        self.assertGreater(max(adds), 1)
        self.assertLess(len(adds), sum(adds))

    def test_more_copies_than_an_entry_takes(self) -> None:
        """A node that tells of more copies at once than an entry of the log takes is not refused for ever (S12)."""
        cluster = self.cluster(4)
        file = cluster.store("f")
        teller = cluster.chunks[0]
        teller.results = {
            job: m.JobResult(job, m.JobKind.COPY, file.file_id, 0, Generation(1), teller.node, 1000 + job, 0, "")
            for job in range(1, MAX_COMMITS + 2)
        }
        cluster.world.run_until(lambda: not teller.results)
        self.assertEqual(teller.refused, [])

    def test_debt_is_told(self) -> None:
        """What cannot be healed for lack of nodes is counted: chunks, bytes, and those with a single copy."""
        cluster = self.cluster(3)
        cluster.store("a")
        cluster.chunks[0].silent = cluster.chunks[1].silent = True
        cluster.world.run(12.0)
        status = cluster.status()
        self.assertEqual((status.debt_chunks, status.debt_single_copy), (1, 1))
        self.assertEqual(status.debt_bytes, 2 * (4 << 20))

    def test_a_late_joiner_is_used(self) -> None:
        """S14: a file that was stored degraded gets its missing copy when a node joins, without a nudge."""
        cluster = self.cluster(2)
        file = cluster.store("a", durable=2)
        cluster.world.run(5.0)
        self.assertEqual(len(cluster.replicas(file)), 2)
        cluster.chunks.append(Chunk(cluster, 3))
        cluster.chunks[-1].start()
        cluster.world.run(8.0)
        self.assertEqual(len(cluster.replicas(file)), 3)

    def test_repair_survives_the_leader(self) -> None:
        """S12: the leader dies with copies ordered; the next one finds what is short by itself."""
        cluster = self.cluster(4)
        files = [cluster.store(f"f{number}") for number in range(4)]
        victim = cluster.chunks[1]
        victim.silent = True
        cluster.world.run_until(lambda: self._dead(cluster, victim.name))
        old = cluster.leader()
        old.host.kill()
        cluster.leader(others=(old,))
        cluster.world.run(20.0)
        for file in files:
            alive = [node for node, state in cluster.replicas(file).items() if state == "ALIVE"]
            self.assertEqual(len(alive), 3, file.name)

    def test_a_corrupt_source_is_struck_off_only_after_it_looked(self) -> None:
        """S07, S11: a source that fails with corruption is told to re-read; when it confirms, its record goes and the
        chunk is copied from another one."""
        cluster = self.cluster(4)
        file = cluster.store("a")
        holders = sorted(cluster.replicas(file))
        for name in holders:
            cluster.chunk(name).code = ReplicaCorrupt.code
        page = cluster.done(m.ListChunks(file.file_id, 0, 1), m.ChunkPage)
        bad = cluster.chunk(holders[0])
        cluster.done(m.ReportCorrupt(file.file_id, 0, page.chunks[0].generation, bad.name), m.Done)
        cluster.chunk(holders[1]).code = cluster.chunk(holders[2]).code = 0
        while bad.name in cluster.replicas(file):
            cluster.world.run(0.1)
        self.assertEqual([job.kind for job in bad.jobs], [m.JobKind.VERIFY])
        cluster.world.run(10.0)
        self.assertEqual(len(cluster.replicas(file)), 3)

    def test_a_late_word_strikes_off_nothing_newer(self) -> None:
        """S06: that a replica was absent as of a number strikes off no record of a higher one, whenever it arrives."""
        cluster = self.cluster(3)
        file = cluster.store("a")
        chunk = cluster.chunks[0]
        machine = cluster.leader().server._machine
        assert machine is not None and chunk.leader is not None
        ((_, _, record),) = queries.replicas_page(machine.store, chunk.node)
        generation = cluster.done(m.ListChunks(file.file_id, 0, 1), m.ChunkPage).chunks[0].generation
        chunk.number = record.number + 10
        for number, stays in ((0, True), (record.number - 1, True), (record.number, False)):
            late = m.JobResult(
                77, m.JobKind.VERIFY, file.file_id, 0, generation, chunk.node, number, ReplicaNotFound.code, ""
            )
            cluster.world.run_until(chunk.leader.call(evolve(_beat(chunk), results=(late,)), 5.0))
            self.assertEqual(chunk.name in cluster.replicas(file), stays, number)

    def test_garbage_is_collected(self) -> None:
        """S15: a deleted file's replicas are ordered to be deleted at every node that has one, with the evidence, and
        then forgotten."""
        cluster = self.cluster(4)
        file = cluster.store("a")
        holders = set(cluster.replicas(file))
        cluster.done(m.DeleteFile(cluster.operation(), "a", None), m.FileInfo)
        cluster.world.run(6.0)
        deleted = {chunk.name for chunk in cluster.chunks for job in chunk.jobs if job.kind is m.JobKind.DELETE}
        self.assertTrue(holders <= deleted, (holders, deleted))
        for job in self.jobs(cluster, m.JobKind.DELETE):
            assert job.grant is not None
            self.assertGreater(job.grant.evidence, 0)
            self.assertEqual(job.file_id, file.file_id)
        machine = cluster.leader().server._machine
        assert machine is not None
        self.assertEqual(machine.head.garbage, 0)

    def test_garbage_is_collected_as_fast_as_it_comes(self) -> None:
        """Results make room for the next orders at once: dozens of small files are gone in seconds (S15, S21)."""
        cluster = self.cluster(3)
        for number in range(60):
            cluster.store(f"f{number}")
        for number in range(60):
            cluster.done(m.DeleteFile(cluster.operation(), f"f{number}", None), m.FileInfo)
        cluster.world.run(2.0)
        machine = cluster.leader().server._machine
        assert machine is not None
        self.assertEqual(machine.head.garbage, 0)

    def test_an_old_inventory_evicts_nothing(self) -> None:
        """S06: an inventory as of before a write strikes off nothing that the write stored; one as of after it
        does."""
        cluster = self.cluster(4)
        chunk = cluster.chunks[0]
        before = chunk.number
        file = None
        while file is None or chunk.name not in cluster.replicas(file):
            file = cluster.store(f"f{cluster.operation().sequence}")
        assert chunk.leader is not None
        cluster.world.run_until(_page(cluster, chunk.name, before))
        self.assertIn(chunk.name, cluster.replicas(file))
        cluster.world.run_until(_page(cluster, chunk.name, chunk.number))
        self.assertNotIn(chunk.name, cluster.replicas(file))
        self.assertGreaterEqual(chunk.taken[-1].missing, 1)

    def test_unknown_replicas_are_kept_and_told(self) -> None:
        """S16: a replica that metadata has no record of is counted and named, and no order touches it."""
        cluster = self.cluster(3)
        chunk = cluster.chunks[0]
        held = m.HeldReplica(FileId(77), 0, Generation(5), 10, bytes(32), 3)
        chunk.held = (held,)
        cluster.world.run_until(_page(cluster, chunk.name, chunk.number, chunk.held))
        self.assertEqual(chunk.taken[-1].unknown, 1)
        cluster.world.run(3.0)
        self.assertIn("no record of", " ".join(cluster.status().alarms))
        self.assertEqual(self.jobs(cluster, m.JobKind.DELETE), [])

    def test_replicas_from_the_future_stop_deletion(self) -> None:
        """S16: where a node holds what this history never issued, metadata was put back: an alarm tells it, and from
        then on nothing is deleted anywhere."""
        cluster = self.cluster(3)
        file = cluster.store("a")
        machine = cluster.leader().server._machine
        assert machine is not None
        chunk = cluster.chunks[0]
        later = m.HeldReplica(file.file_id, 9, Generation(machine.head.generation + 1), 10, bytes(32), 3)
        cluster.world.run_until(_page(cluster, chunk.name, 0, (later,)))
        cluster.done(m.DeleteFile(cluster.operation(), "a", None), m.FileInfo)
        cluster.world.run(10.0)
        self.assertEqual(self.jobs(cluster, m.JobKind.DELETE), [])
        self.assertIn("put back to an older state", " ".join(cluster.status().alarms))
        self.flushLoggedErrors()

    def test_no_deletion_before_the_inventory(self) -> None:
        """S16: a node is ordered to delete only once this leader has seen all that it holds."""
        cluster = self.cluster(3)
        term = cluster.leader().term
        assert term is not None
        node = cluster.chunks[0].node
        cluster.world.run_until(lambda: term.inventorying.may_delete(node))
        term.inventorying.wanted(node)
        self.assertFalse(term.inventorying.may_delete(node))

    def test_followers_take_no_results(self) -> None:
        """Only the leader's answers carry jobs and say leads, whoever hears the beat."""
        cluster = self.cluster(3)
        answers = []
        for meta in cluster.metas:
            chunk = cluster.chunks[0]
            link = next(link for link in chunk._links if link.address == meta.address)
            assert link.connection is not None
            beat = _beat(chunk)
            answers.append((meta, cluster.world.run_until(link.connection.call(beat, 5.0))))
        for meta, answer in answers:
            assert isinstance(answer, m.HeartbeatAnswer)
            self.assertEqual(answer.leads, meta is cluster.leader())


def _page(cluster: Cluster, name: str, number: int, held: tuple[m.HeldReplica, ...] = ()) -> Deferred[None]:
    """The whole inventory of a node, as of ``number``, on its way to the leader."""
    chunk = cluster.chunk(name)
    assert chunk.leader is not None
    return Deferred.fromCoroutine(chunk.send_inventory(chunk.leader, number, held))


def _beat(chunk: Chunk) -> m.Heartbeat:
    node = NodeNumber(chunk.node)
    return m.Heartbeat(node, chunk.incarnation, chunk.boot, 1 << 40, 1 << 39, 0, 0, 0, 0, chunk.number, (), ())
