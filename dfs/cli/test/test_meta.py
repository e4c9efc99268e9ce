"""`dfs meta` in a simulated cluster: what it says, to people and to scripts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.meta import ACTIONS, document, listing, strength
from dfs.cli.options import parse
from dfs.client.errors import BadRequest, DFSError, Unavailable
from dfs.client.membership import MemberExists, NoSuchMember
from dfs.protocol.messages import MemberInfo, Members
from dfs.simulation.cluster import ClusterSettings, SimulatedCluster
from dfs.simulation.host import World


def member(name: str, voter: bool = True, match: int = 9) -> MemberInfo:
    """One that is alive."""
    return MemberInfo(name, f"{name}:7000", voter, match, alive=True, caught_up=True)


class TextTests(SynchronousTestCase):
    """Formatting."""

    found = Members("a", "a", 4, 9, (member("a"), member("b", match=2), member("c", voter=False)))

    def test_leader_knows(self) -> None:
        """The leader's word has roles, who is alive, and how far each is behind."""
        shown = document(self.found)
        self.assertEqual((shown["leader"], shown["term"]), ("a", 4))
        self.assertEqual([each["role"] for each in shown["members"]], ["leader", "voter", "learner"])
        self.assertEqual([each["behind"] for each in shown["members"]], [0, 7, 0])
        self.assertIn("b         b:7000   voter    alive  7", listing(self.found))

    def test_nobody_leads(self) -> None:
        """During an election a member tells who belongs, and what only a leader knows is null."""
        shown = document(Members("b", None, 4, 9, self.found.members))
        self.assertEqual(shown["leader"], None)
        self.assertEqual({(each["alive"], each["behind"]) for each in shown["members"]}, {(None, None)})
        self.assertIn("none (election)", listing(Members("b", None, 4, 9, self.found.members)))

    def test_strength(self) -> None:
        """What the voters survive is said, and that an even number is no better."""
        said = [strength(Members("a", "a", 1, 1, tuple(member(name) for name in "abcde"[:n]))) for n in (1, 2, 3, 5)]
        self.assertEqual(said[0], "1 voter: none of them may fail")
        self.assertIn("an even number is no better", said[1])
        self.assertEqual(said[2:], ["3 voters: 1 of them may fail", "5 voters: 2 of them may fail"])


class CommandTests(SynchronousTestCase):
    """Against a cluster of three."""

    def setUp(self) -> None:
        self.cluster = SimulatedCluster(World(1), ClusterSettings(chunk_servers=0, patience=3.0))
        self.cluster.start()
        self.cluster.run(self.cluster.wait_leader())
        self.client = self.cluster.client()
        self.told: list[str] = []

    def act(self, *words: str) -> tuple[dict[str, Any], str]:
        """The document and the text of a command."""
        options = parse(["meta", *words])

        async def run() -> tuple[dict[str, Any], str]:
            files = await self.client.enter()
            return await ACTIONS[options.action](files.membership, options, self.told.append)

        found = self.cluster.run(run())
        assert found is not None
        return found

    def refusal(self, kind: type[DFSError], *words: str) -> DFSError:
        """The error of a command."""
        found: DFSError = self.assertRaises(kind, self.act, *words)
        return found

    def names(self) -> list[str]:
        """Of the members."""
        return [each["name"] for each in self.act("list")[0]["members"]]

    def test_add_and_remove(self) -> None:
        """R54: a node that joins is let in, catches up and votes, in one command; it is removed by another; both may be
        given again."""
        node = self.cluster.joiner("meta-4")
        node.start()
        address = self.cluster.joined["meta-4"]
        found, text = self.act("add", "--name", "meta-4", "--address", address)
        self.assertEqual([each["role"] for each in found["members"]].count("voter"), 3)
        self.assertIn("meta-4 votes. 4 voters", text)
        self.assertIn("catches up", self.told[0])
        self.act("add", "--name", "meta-4", "--address", address)  # given again, it changes nothing
        self.assertIn("3 voters", self.act("remove", "--name", "meta-4")[1])
        self.assertIn("3 voters", self.act("remove", "--name", "meta-4")[1])  # its first answer may have been lost
        self.assertEqual(self.names(), ["meta-1", "meta-2", "meta-3"])

    def test_one_that_never_comes(self) -> None:
        """R54: a node that does not answer stays a learner; the sentence says how to go on and how to take it back."""
        error = self.refusal(Unavailable, "add", "--name", "meta-4", "--address", "10.9.9.9:7000")
        self.assertIn("does not answer at 10.9.9.9:7000", error.message)
        self.assertIn("dfs meta remove --name meta-4", error.hint)
        self.assertEqual(self.names(), ["meta-1", "meta-2", "meta-3", "meta-4"])
        self.act("remove", "--name", "meta-4")
        self.assertEqual(self.names(), ["meta-1", "meta-2", "meta-3"])

    def test_transfer(self) -> None:
        """R58: leadership goes to the member named, or to any other voter."""
        leader = self.act("list")[0]["leader"]
        other = next(name for name in self.names() if name != leader)
        self.assertEqual(self.act("transfer-leader", "--to", other)[0], {"leader": other})
        self.assertEqual(self.act("transfer-leader", "--to", other)[0], {"leader": other})
        self.assertNotEqual(self.act("transfer-leader")[0]["leader"], other)

    def test_refusals(self) -> None:
        """Each mistake has its exit code and names the members or what to do."""
        for words in (("remove", "--name", "x"), ("promote", "--name", "x"), ("transfer-leader", "--to", "x")):
            error = self.refusal(NoSuchMember, *words)
            self.assertEqual(error.exit_code, 3)
            self.assertIn("meta-1, meta-2, meta-3", error.hint)
        self.assertEqual(self.refusal(MemberExists, "add", "--name", "meta-1", "--address", "h:1").exit_code, 4)
        taken = self.cluster.peers["meta-1"]
        self.assertIn("meta-1 is at", self.refusal(BadRequest, "add", "--name", "n", "--address", taken).message)
