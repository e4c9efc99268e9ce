"""Who belongs to the metadata cluster: founding, growing, shrinking, replacing a member (S28, S35; R51 to R58)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList

from dfs.client.errors import BadRequest
from dfs.metaserver.config import MetaConfig
from dfs.protocol.messages import Members
from dfs.simulation.cluster import DATA, PORT, ClusterSettings
from dfs.simulation.inspection import chunk_server_states, core_of, head_of, leads, raft_term
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.stage import Scenario, Stage, check, refused

SMALL_LOG = ClusterSettings(trailing_entries=20, sync_interval=0.5, segment_length=64 << 10)


class Writers:
    """Uploads go on, one after the other, from several clients; every one must succeed."""

    def __init__(self, stage: Stage, pause: float = 0.3, count: int = 2) -> None:
        self._stage, self._pause, self._going = stage, pause, True
        self.done = 0
        self.longest = 0.0
        self._ended = [Deferred.fromCoroutine(self._write(number)) for number in range(count)]

    async def _write(self, number: int) -> None:
        stage, turn = self._stage, 0
        client = stage.cluster.client()
        while self._going:
            began = stage.world.clock.now
            await stage.put(f"during/{number}/{turn}", 1000, client)
            self.longest = max(self.longest, stage.world.clock.now - began)
            self.done += 1
            turn += 1
            await stage.sleep(self._pause)

    async def stop(self) -> None:
        """Raises what an upload raised."""
        self._going = False
        results: Sequence[tuple[bool, Any]] = await DeferredList(self._ended, consumeErrors=True)
        for succeeded, result in results:
            if not succeeded:
                result.raiseException()
        check(self.done >= 10, f"only {self.done} uploads went on meanwhile")


async def grow(stage: Stage, name: str) -> SimulatedNode:
    """A new member: started, let in, caught up, promoted."""
    node = stage.cluster.joiner(name)
    node.start()
    files = await stage.client.enter()
    await files.membership.let_in(name, stage.cluster.joined[name])
    await files.membership.caught_up(name)
    await files.membership.promote(name)
    return node


async def shrink(stage: Stage, name: str) -> SimulatedNode:
    """A member less; it ends by itself if it runs."""
    files = await stage.client.enter()
    await files.membership.remove(name)
    node = stage.cluster.removed(name)
    if node.up:
        await stage.until(lambda: node.fatal, 20.0, f"{name} hears that it was removed")
        check("removed from the cluster" in node.fatal[-1], f"{name} ends with {node.fatal}")
    return node


async def members(stage: Stage) -> Members:
    """As the leader has them."""
    files = await stage.client.enter()
    return await files.membership.members()


def voters(found: Members) -> list[str]:
    """Their names."""
    return [member.name for member in found.members if member.voter]


async def grow_and_shrink(stage: Stage) -> None:
    """From one member to three and five, and back by removing the leader each time, while files are uploaded."""
    writers = Writers(stage)
    for number in (2, 3, 4, 5):
        await grow(stage, f"meta-{number}")
    check(voters(await members(stage)) == [f"meta-{n}" for n in (1, 2, 3, 4, 5)], "not all of them vote")
    await stage.sleep(6.0)  # a caller asks now and then who the members are
    for _ in range(2):
        await shrink(stage, (await stage.leader()).name)
    await writers.stop()
    check(len(voters(await members(stage))) == 3, "there should be three voters")
    await stage.sleep(6.0)  # by then the chunk servers know whom to report to
    await stage.cluster.wait_ready()


async def all_founders_go(stage: Stage) -> None:
    """One by one every founder is replaced, while files are uploaded: clients and chunk servers that knew the founders
    alone go on, and everything is there."""
    writers = Writers(stage)
    for number in (1, 2, 3):
        await grow(stage, f"meta-{number + 3}")
        await stage.sleep(6.0)  # a caller asks now and then who the members are
        await shrink(stage, f"meta-{number}")
    await stage.sleep(5.0)
    await writers.stop()
    check(voters(await members(stage)) == ["meta-4", "meta-5", "meta-6"], "the founders still vote")
    await stage.cluster.wait_ready()


async def dead_member_is_replaced(stage: Stage) -> None:
    """A member's machine is lost with its disk.  A wiped folder under its name is not listened to and does not vote;
    the member is removed, its name is used up, another one takes its place by a snapshot, and one more may fail."""
    await stage.sleep(3.0)  # the members' folders are pinned
    for number in range(8):
        await stage.put(f"f{number}", 1000)
        await stage.sleep(0.5)
    (lost, *_) = await stage.followers()
    stage.cluster.removed(lost.name)  # what it does from here on is no member's doing
    lost.crash()
    lost.host.disk.remove_tree(DATA)
    lost.start()
    await stage.sleep(5.0)
    found = next(member for member in (await members(stage)).members if member.name == lost.name)
    check(not found.alive, "a wiped folder is taken for the member")
    lost.kill()
    writers = Writers(stage)
    files = await stage.client.enter()
    await files.membership.remove(lost.name)
    await refused(files.membership.let_in(lost.name, stage.cluster.peers[lost.name]), BadRequest)
    core = core_of((await grow(stage, "meta-4")).program)
    check(core is not None and core.state.log.boundary.index > 1, "it was fed from the log, which reached back so far")
    (await stage.leader()).kill()
    await stage.sleep(5.0)
    await writers.stop()


async def tables_are_lost(stage: Stage) -> None:
    """A member loses its tables, not its log, after the log was compacted: it starts, votes and stores meanwhile, and
    gets its tables back by a snapshot from the leader."""
    for number in range(8):
        await stage.put(f"f{number}", 1000)
        await stage.sleep(0.5)
    (victim, other) = await stage.followers()
    core = core_of(victim.program)
    check(core is not None and core.state.log.boundary.index > 1, "the log still reaches back to its beginning")
    victim.crash()
    victim.host.disk.remove_tree(f"{DATA}/tables")
    other.kill()
    victim.start()
    await stage.put("with its vote", 1000)
    await stage.until(lambda: head_index(victim) > 0, 20.0, "the tables are there again")
    other.start()


def head_index(node: SimulatedNode) -> int:
    """The last entry in a member's tables."""
    head = head_of(node.program) if node.up else None
    return head.index if head is not None else 0


async def restart_of_one_that_joined(stage: Stage) -> None:
    """A member that joined restarts with --join still on its command line, alone and then with the others: it is the
    member that it was, and founds nothing; one that was never let in founds nothing either."""
    await stage.put("f")
    await grow(stage, "meta-4")
    waiting = stage.cluster.meta_server("meta-9", lambda config: evolve(config, join=True, advertise="10.9.9.9:1"))
    waiting.start()
    nodes = list(stage.cluster.meta.values())
    for node in nodes:
        node.crash()
    stage.cluster.meta["meta-4"].start()
    await stage.sleep(5.0)
    check(stage.cluster.leader() is None, "it leads alone")
    for node in nodes:
        node.start()
    await stage.leader()
    check(voters(await members(stage)) == ["meta-1", "meta-2", "meta-3", "meta-4"], "the members are others now")
    check(not leads(waiting.program) and raft_term(waiting.program) == 0, "one that nobody let in founded a cluster")
    waiting.kill()


async def removed_behind_its_back(stage: Stage) -> None:
    """A member is cut off while it is removed, and comes back: it disturbs nobody, hears of it, and ends; started again
    it says so at once."""
    await stage.put("f")
    (cut, _) = await stage.followers()
    stage.world.isolate(cut.name)
    files = await stage.client.enter()
    await files.membership.remove(cut.name)
    stage.cluster.removed(cut.name)
    await stage.sleep(20.0)
    leader = await stage.leader()
    term = raft_term(leader.program)
    stage.world.heal()
    await stage.until(lambda: cut.fatal, 30.0, "the removed member hears of it")
    check(not cut.up, "it goes on")
    check(raft_term((await stage.leader()).program) == term, "its return cost an election")
    cut.start()
    await stage.until(lambda: len(cut.fatal) == 2, 20.0, "started again it says the same")


async def quorum_is_kept(stage: Stage) -> None:
    """With one of three dead no live member can be removed, and one that was let in and never came can; an operator's
    repeated command changes nothing."""
    (dead, alive) = await stage.followers()
    dead.kill()
    await stage.sleep(3.0)
    files = await stage.client.enter()
    error = await refused(files.membership.remove(alive.name), BadRequest)
    check("would be alive" in error.message, f"it says {error.message}")
    for _ in range(2):
        await files.membership.let_in("meta-7", "10.9.9.9:7000")
    check(not next(m for m in (await members(stage)).members if m.name == "meta-7").voter, "an absent one votes")
    await files.membership.remove("meta-7")
    await stage.put("f")
    dead.start()


async def planned_restart(stage: Stage) -> None:
    """Leaders are stopped by SIGTERM, one after the other, under writes: leadership is handed over, and no write waits
    for an election time-out."""
    settings = stage.cluster.settings
    writers = Writers(stage, 0.05)
    await stage.sleep(1.0)
    writers.longest = 0.0
    for _ in range(3):
        leader = await stage.leader()
        await leader.stop()
        await stage.sleep(1.0)
        leader.start()
        await stage.sleep(2.0)
    await writers.stop()
    limit = 10 * settings.tick  # the shortest election time-out
    check(writers.longest < limit, f"a write took {writers.longest:.2f} s, an election begins after {limit:g} s")


async def reads_of_any_member(stage: Stage) -> None:
    """A reader asks any member, while files come, leaders are killed and members are cut off: every list has all that
    was acknowledged before it was asked for, and nothing that it had is missing later."""
    reader = stage.cluster.client(any_member=True)
    writers = Writers(stage)
    answered: set[str] = set()
    before: set[str] = set()
    for turn in range(60):
        if turn % 20 == 5:
            (cut, _) = await stage.followers()
            stage.world.isolate(cut.name)
        if turn % 20 == 10:
            stage.world.heal()
            (await stage.leader()).kill()
        if turn % 20 == 15:
            stage.cluster.start()
        stored = set(stage.stored)
        names = set(await reader.names())
        check(names >= stored, f"acknowledged, and not there: {sorted(stored - names)}")
        check(names >= before, f"gone again: {sorted(before - names)}")
        before = names
        index = reader.files._context.any_member
        assert index is not None
        answered.add(index.caller._route._reader)
        await stage.sleep(0.2)
    await writers.stop()
    check(len(answered) > 1, "one member answered all reads")


def stray_founder(stage: Stage, name: str) -> SimulatedNode:
    """A metadata server that was started with the cluster's key and with itself alone as --peers."""

    def alone(config: MetaConfig) -> MetaConfig:
        return evolve(config, peers={name: f"{stage.world.hosts[name].ip}:{PORT}"})

    return stage.cluster.meta_server(name, alone)


async def one_key_two_clusters(stage: Stage) -> None:
    """A second cluster is founded under the same key by another member list, at an address that the chunk servers
    were given too: they stay with the one that they met first, also when they start again while it is away."""
    cluster = stage.cluster
    await stage.put("before")
    stray = stray_founder(stage, "meta-9")
    stray.start()
    await stage.until(lambda: leads(stray.program), 10.0, "the stray one leads its own cluster")
    cluster.joined["meta-9"] = f"{stray.host.ip}:{PORT}"
    for node in cluster.chunks.values():
        node.kill()
        node.start()
    await stage.sleep(10.0)
    check(not chunk_server_states(stray.program), "a chunk server registered with the second cluster")
    for node in cluster.meta.values():
        node.kill()
    for server in cluster.chunks.values():
        server.kill()
        server.start()
    await stage.sleep(30.0)
    check(not chunk_server_states(stray.program), "with its own cluster away, a chunk server went to the second one")
    del cluster.joined["meta-9"]
    for node in cluster.meta.values():
        node.start()
    await stage.put("after")


SCENARIOS = (
    Scenario("S24", "the metadata cluster grows and shrinks", grow_and_shrink, ClusterSettings(meta_nodes=1)),
    Scenario("S24", "every founder is replaced", all_founders_go),
    Scenario("S24", "a planned restart of leaders", planned_restart),
    Scenario("S25", "reads of any member", reads_of_any_member),
    Scenario("S28", "one key, two clusters", one_key_two_clusters, ClusterSettings(chunk_servers=3)),
    Scenario("S28", "a restart with --join", restart_of_one_that_joined),
    Scenario("S32", "a lost member is replaced", dead_member_is_replaced, SMALL_LOG),
    Scenario("S32", "a member's tables are lost", tables_are_lost, SMALL_LOG),
    Scenario("S35", "a member is removed behind its back", removed_behind_its_back),
    Scenario("S35", "a removal that would stop the cluster", quorum_is_kept),
)
