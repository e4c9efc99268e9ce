"""Reports to metadata: what goes on beside what."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.test.world import CLUSTER, KEY, NOW_MS, PORT, Cluster, FakeMeta
from dfs.protocol import messages as m
from dfs.protocol.interfaces import IConnection, Identity
from dfs.protocol.listen import ServerFactory
from dfs.protocol.values import FileId, Generation, Role


def beats_of(meta: FakeMeta) -> list[m.Heartbeat]:
    """Those that it heard."""
    return [heard for heard in meta.heard if isinstance(heard, m.Heartbeat)]


class InventoryTests(SynchronousTestCase):
    def test_beats_go_on_beside_an_inventory(self) -> None:
        """A long inventory, slowly taken, holds up no beat: it must not make its own node a dead one (S02)."""
        cluster = Cluster(1)
        store = cluster.servers[1].store
        assert store is not None
        for number in range(1, 20_001):
            store.index.add(m.HeldReplica(FileId(number), 0, Generation(1), 10, bytes(32), number))
        reactor = cluster.world.hosts["meta-1"].reactor
        taken: list[m.Inventory] = []
        beats: list[float] = []
        handle = cluster.meta.handle

        def slowly(connection: IConnection, request: object) -> Deferred[object]:
            answer: Deferred[Any]
            if isinstance(request, m.Inventory):
                taken.append(request)
                answer = Deferred()
                reactor.callLater(1.0, answer.callback, m.InventoryTaken(0, 0, 0))
                return answer
            if isinstance(request, m.Heartbeat):
                beats.append(cluster.world.clock.now)
                answer = handle(connection, request)
                return answer.addCallback(evolve, inventory=not taken)
            return handle(connection, request)

        self.patch(cluster.meta, "handle", slowly)
        cluster.world.run_until(lambda: bool(taken) and taken[-1].upto == b"\xff" * 12)
        self.assertEqual(sum(len(page.replicas) for page in taken), 20_000)
        self.assertLess(max(later - earlier for earlier, later in pairwise(beats)), 5.0)


class MembersTests(SynchronousTestCase):
    """The metadata nodes change while a chunk server runs."""

    def setUp(self) -> None:
        self.cluster = Cluster(1)
        self.metas = {"meta-1": self.cluster.meta}
        self.addresses = {"meta-1": self.cluster.meta_address}
        self.members: tuple[str, ...] = ("meta-1",)
        self.answer(self.cluster.meta)

    def answer(self, meta: FakeMeta) -> None:
        """It leads, and tells who the members are."""
        handle = meta.handle

        def tell(connection: IConnection, request: object) -> Deferred[object]:
            if not isinstance(request, m.GetMembers):
                return handle(connection, request)
            members = tuple(m.MemberInfo(name, self.addresses[name], True, 1, True, True) for name in self.members)
            return succeed(m.Members("meta-1", "meta-1", 1, 1, members))

        self.patch(meta, "handle", tell)

    def add(self, name: str) -> FakeMeta:
        """One more metadata node listens."""
        host = self.cluster.world.host(name)
        meta = self.metas[name] = FakeMeta()
        self.addresses[name] = f"{host.ip}:{PORT}"
        identity = Identity(Role.META, name, CLUSTER, name.encode().ljust(16), KEY)
        host.reactor.listenTCP(PORT, ServerFactory(host.runtime, identity, meta, lambda: NOW_MS))
        return meta

    def beats(self, meta: FakeMeta, seconds: float = 12.0) -> int:
        """How many it hears from now on, once the members were asked for."""
        self.cluster.world.run(seconds)
        del meta.heard[:]
        self.cluster.world.run(seconds)
        return len(beats_of(meta))

    def test_new_members_hear_it(self) -> None:
        """A member that was let in is reported to like the others, one that was removed is not any more, and none is
        reported to twice."""
        first, second = self.cluster.meta, self.add("meta-2")
        alone = self.beats(first)
        self.assertGreater(alone, 5)
        self.assertEqual(self.beats(second), 0)
        self.members = ("meta-1", "meta-2")
        self.assertEqual((self.beats(second), self.beats(first)), (alone, alone))
        self.members = ("meta-1",)
        self.assertEqual((self.beats(second), self.beats(first)), (0, alone))

    def test_news_go_to_the_leader(self) -> None:
        """An early beat, which brings news, goes to who leads; to everybody where nobody is known to lead."""
        first, second = self.cluster.meta, self.add("meta-2")
        self.members = ("meta-1", "meta-2")
        second.leads = False
        self.beats(second)
        reporting = self.cluster.servers[1]._reporting
        assert reporting is not None

        def early() -> tuple[int, int]:
            del second.heard[:]
            self.cluster.world.run_until(lambda: bool(beats_of(second)))  # so that the next in turn are a while off
            del first.heard[:], second.heard[:]
            reporting.kick()
            self.cluster.world.run(0.5)
            return len(beats_of(first)), len(beats_of(second))

        self.assertEqual(early(), (1, 0))
        first.leads = False
        self.beats(first)
        self.assertEqual(early(), (1, 1))

    def test_other_spelling(self) -> None:
        """A member that is reached under an address that was given is not dialed under its own as well."""
        self.members, self.addresses["meta-1"] = ("meta-1",), f"meta-1:{PORT}"
        alone = self.beats(self.cluster.meta)
        self.assertEqual(self.beats(self.cluster.meta), alone)
        reporting = self.cluster.servers[1]._reporting
        assert reporting is not None
        self.assertEqual(list(reporting._lines), [self.cluster.meta_address])
