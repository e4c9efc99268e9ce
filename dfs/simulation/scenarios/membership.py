"""Who belongs to the metadata cluster: founding, growing, shrinking, replacing a member (S28, S35; R51 to R58)."""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.config import MetaConfig
from dfs.simulation.cluster import PORT, ClusterSettings
from dfs.simulation.inspection import chunk_server_states, leads
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.stage import Scenario, Stage, check


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
    members, cluster.peers = cluster.peers, {**cluster.peers, "meta-9": f"{stray.host.ip}:{PORT}"}
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
    cluster.peers = members
    for node in cluster.meta.values():
        node.start()
    await stage.put("after")


SCENARIOS = (Scenario("S28", "one key, two clusters", one_key_two_clusters, ClusterSettings(chunk_servers=3)),)
