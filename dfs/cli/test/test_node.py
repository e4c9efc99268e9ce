"""`dfs node`, `dfs rebalance`, `dfs events`: words and what is shown."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.cli import moves, node
from dfs.cli.errors import UsageError
from dfs.cli.options import parse
from dfs.protocol.messages import Event, EventKind, NodeFill, NodeInfo, Rebalanced
from dfs.protocol.values import NodeNumber, NodeState

INFO = NodeInfo(
    node=NodeNumber(3),
    name="chunk-3",
    address="h:7003",
    rack="dc1/r7",
    state=NodeState.DRAINING,
    removing=False,
    total=100 << 30,
    free=40 << 30,
    used=60 << 30,
    chunks=1500,
    bytes=6 << 30,
    streams=2,
    client_rate=0,
    until_ms=0,
    left_chunks=200,
    left_bytes=800 << 20,
    rate=40 << 20,
)


class WordTests(SynchronousTestCase):
    def test_node(self) -> None:
        """Each action has its node; what destroys can be tried dry."""
        options = parse(["node", "drain", "chunk-3", "--dry-run", "--json"])
        self.assertEqual((options.command, options.action, options.node), ("node", "drain", "chunk-3"))
        self.assertTrue(options.dry_run and options.json)
        self.assertEqual(parse(["node", "maintenance", "a", "--for", "10m"]).seconds, 600.0)
        self.assertTrue(parse(["node", "maintenance", "a", "--end"]).end)
        self.assertTrue(parse(["node", "remove", "a", "--dry-run"]).dry_run)
        self.assertEqual(parse(["node", "list"]).action, "list")

    def test_rebalance(self) -> None:
        """The threshold is a percentage, and one thing is asked at a time."""
        self.assertEqual(parse(["rebalance", "--threshold", "2.5%"]).threshold, 2.5)
        self.assertEqual(parse(["rebalance", "--pause"]).what, "pause")
        for words in (
            ["rebalance", "--threshold", "0"],
            ["rebalance", "--threshold", "much"],
            ["rebalance", "--pause", "--resume"],
            ["node", "drain"],
            ["node", "maintenance", "a"],
            ["node", "maintenance", "a", "--for", "-1"],
            ["events", "--limit", "0"],
        ):
            self.assertRaises(UsageError, parse, words)


class ShowTests(SynchronousTestCase):
    def test_list(self) -> None:
        """The table has a row a node, with what is left of a drain."""
        text = node.show([INFO, evolve(INFO, name="chunk-4", state=NodeState.ALIVE, rack="")])
        self.assertIn("draining (200 left)", text)
        self.assertIn("alive", text.splitlines()[2])

    def test_progress(self) -> None:
        """A drain tells what is left and how long that takes at its rate; without a rate it promises nothing."""
        self.assertIn("200 chunks, 800.0 MiB left, 40.0 MiB/s, about 20 s", node.progress(INFO))
        self.assertNotIn("about", node.progress(evolve(INFO, rate=0)))
        self.assertEqual(node.progress(evolve(INFO, state=NodeState.DRAINED)), "chunk-3: drained")
        self.assertEqual(node.document(INFO)["eta_seconds"], 20.0)
        self.assertIsNone(node.document(evolve(INFO, rate=0))["eta_seconds"])

    def test_rebalance(self) -> None:
        """What is said of a rebalance: its state, what is left, each node's filling."""
        found = Rebalanced(True, False, 100, 7, 7 << 20, 1 << 30, 0, (NodeFill("chunk-1", 734, 1 << 30, 0),))
        text = moves.show(found, False)
        self.assertIn("running: 1.0 GiB from nodes 10 % above the mean", text)
        self.assertIn("73.4 %", text)
        self.assertIn("would move", moves.show(found, True))
        self.assertEqual(moves.document(found, True)["nodes"][0]["filled_percent"], 73.4)

    def test_events(self) -> None:
        """A line an event: time, kind, node, sums, detail."""
        event = Event(9, 100, 0, EventKind.COPIED, "chunk-1", 12, 12 << 20, "lacked copies")
        self.assertIn("copied", moves.line(event, 0))
        self.assertIn("chunk-1  12 chunks, 12.0 MiB  lacked copies", moves.line(event, 0))
        self.assertEqual(moves.event_document(event, 1000)["at"], "1970-01-01T00:00:01Z")
        ended = evolve(event, kind=EventKind.MAINTENANCE_ENDED, count=0, detail="")
        self.assertNotIn("chunks", moves.line(ended, 0))
