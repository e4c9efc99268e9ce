"""The local cluster's files and processes; whole clusters are in dfs/test/functional."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.cluster import layout as layouts
from dfs.cli.cluster.changing import ACTIONS
from dfs.cli.cluster.commands import alone, start_nodes
from dfs.cli.cluster.processes import command_line, died, last_words, running_pid, signal_and_wait, started
from dfs.cli.errors import CommandFailed
from dfs.cli.finding import meta_addresses, settings_of
from dfs.cli.init import init
from dfs.cli.options import parse
from dfs.disk.real import RealDisk
from dfs.protocol.trust import read_key_file
from dfs.protocol.values import cluster_id_of
from dfs.runtime.interfaces import Runtime
from dfs.runtime.options import META


class InlineThreads:
    """Calls at once."""

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(function, *arguments)


def runtime() -> Runtime:
    threads: Any = InlineThreads()
    return Runtime(Clock(), threads, Random(1), lambda: 0.0, os.urandom)


class ClusterCase(SynchronousTestCase):
    """A folder, and what is said."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        self.said: list[str] = []

    def plan(self, folder: str = "") -> layouts.Layout:
        environment = {"DFS_DEAD_AFTER": "5", "DFS_META": "h:1", "DFS_STATE": "s", "HOME": "h"}
        return layouts.plan(folder or self.folder, 3, 2, "ab" * 16, environment, Random(1))

    def written(self) -> layouts.Layout:
        os.makedirs(self.folder)
        layout = self.plan()
        layouts.write(layout)
        return layout

    def act(self, *words: str) -> Deferred[int]:
        options = parse(["cluster", *words, "--dir", self.folder])
        return Deferred.fromCoroutine(ACTIONS[options.action](options, runtime(), self.said.append))

    def failure(self, *words: str) -> CommandFailed:
        error = self.failureResultOf(self.act(*words), CommandFailed).value
        assert isinstance(error, CommandFailed)
        return error


class LayoutTests(ClusterCase):
    """cluster.toml."""

    def test_names(self) -> None:
        """Nodes are meta-1, ... and chunk-1, ..., each with a folder of its name and a port of its own."""
        layout = self.plan()
        self.assertEqual([node.name for node in layout.nodes], ["meta-1", "meta-2", "meta-3", "chunk-1", "chunk-2"])
        self.assertEqual({node.folder for node in layout.nodes}, {f"{self.folder}/{n.name}" for n in layout.nodes})
        self.assertEqual(len({node.port for node in layout.nodes}), 5)

    def test_environment(self) -> None:
        """The settings that `up` was given are kept for restarts; the client's own are not."""
        self.assertEqual(self.plan().environment, {"DFS_DEAD_AFTER": "5"})

    def test_round_trip(self) -> None:
        """Whatever the path holds, what is written is read."""
        for name in ("plain", 'with "quotes" and \\', "tab\tand\nline", "наш кластер", "\U0001f600"):
            folder = os.path.join(self.folder, name)
            os.makedirs(folder)
            layout = self.plan(folder)
            layouts.write(layout)
            self.assertEqual(layouts.read(folder), layout)

    def test_racks(self) -> None:
        """Chunk servers lie in as many racks as were asked for, in turn; that is kept, and said at their start."""
        os.makedirs(self.folder, exist_ok=True)
        layout = layouts.plan(self.folder, 1, 3, "ab" * 16, {}, Random(1), racks=2)
        self.assertEqual([node.rack for node in layout.nodes], ["", "rack-1", "rack-2", "rack-1"])
        layouts.write(layout)
        self.assertEqual(layouts.read(self.folder), layout)
        self.assertEqual(command_line(layout, layout.nodes[2])[-2:], ["--rack", "rack-2"])

    def test_membership(self) -> None:
        """What a change of the metadata members leaves behind is read again: founders are always started with the list
        of the founding, one that joined with --join and those that are there, and no name is used twice."""
        layout = self.written()
        founding = layout.founding()
        joined = layouts.Node("meta-4", "meta", "127.0.0.1:1234", f"{self.folder}/meta-4", joined=True)
        nodes = (*(node for node in layout.nodes if node.name != "meta-1"), joined)
        layout = evolve(layout, nodes=nodes, founders=founding, retired=("meta-1", "meta-5"))
        layouts.write(layout)
        self.assertEqual(layouts.read(self.folder), layout)
        self.assertEqual((layout.new_name("meta"), layout.new_name("chunk")), ("meta-6", "chunk-3"))
        words = command_line(layout, layout.named("meta-2"))
        self.assertEqual(words[words.index("--peers") + 1], founding)
        self.assertNotIn("--join", words)
        words = command_line(layout, joined)
        there = ",".join(f"{name}={layout.named(name).address}" for name in ("meta-2", "meta-3"))
        self.assertEqual(words[words.index("--peers") + 1], there)
        self.assertIn("--join", words)

    def test_damaged(self) -> None:
        """A damaged cluster.toml is a sentence, a missing one is none."""
        self.assertIsNone(layouts.read(self.folder))
        os.makedirs(self.folder)
        for text in ("[[node]", "x = 1", '[[node]]\nname = "a"', "node = 3"):
            Path(self.folder, "cluster.toml").write_text(text, encoding="utf-8")
            self.assertRaises(CommandFailed, layouts.read, self.folder)

    def test_ports(self) -> None:
        """Ports that somebody listens on are not taken, and none the kernel may give to outgoing connections."""
        taken = layouts.free_ports(1, Random(5))[0]
        with socket.socket() as other:
            other.bind(("127.0.0.1", taken))
            other.listen()
            self.assertNotIn(taken, layouts.free_ports(3, Random(5)))
        self.assertTrue(all(20_000 <= port < 32_768 for port in layouts.free_ports(50, Random(6))))

    def test_found_by_clients(self) -> None:
        """A client finds the metadata nodes of --dir; --meta comes first; without a cluster it is told what to do."""
        layout = self.written()

        def found(*words: str) -> list[str]:
            options = parse(["list", *words])
            return meta_addresses(options, settings_of(options), META)

        self.assertEqual(found("--dir", self.folder), [node.address for node in layout.of_kind("meta")])
        self.assertEqual(found("--dir", self.folder, "--meta", "h:1,i:2"), ["h:1", "i:2"])
        error = self.assertRaises(CommandFailed, found, "--dir", self.folder + "x")
        self.assertEqual(error.exit_code, 2)
        self.assertIn("dfs cluster up", error.hint)


class ProcessTests(ClusterCase):
    """Whose process a pid is."""

    def running(self, node: layouts.Node, *arguments: str) -> subprocess.Popen[bytes]:
        """A process with these words on its command line, and the node's pid file with its number."""
        os.makedirs(node.folder, exist_ok=True)
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", *arguments], stdin=-1)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        Path(node.pid_file).write_text(str(process.pid), encoding="ascii")
        return process

    def test_own_process(self) -> None:
        """A process counts as the node's if its command line names the node's data folder."""
        node = self.plan().nodes[0]
        process = self.running(node, "--data", node.data)
        # the command line is the old one until the process has begun
        while b"--data" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            continue
        self.assertEqual(running_pid(node), process.pid)

    def test_foreign_pids(self) -> None:
        """A pid file that outlived its process names nobody, nor does another's process that has the number now."""
        node = self.plan().nodes[0]
        self.assertIsNone(running_pid(node))
        self.running(node, "--data", node.data + "-other")
        self.assertIsNone(running_pid(node))
        for text in ("", "x", "-1", "999999999", str(os.getpid())):
            Path(node.pid_file).write_text(text, encoding="ascii")
            self.assertIsNone(running_pid(node), text)
        self.assertEqual(signal_and_wait([node], 9, 1.0), [])  # type: ignore[arg-type]

    def test_start_that_fails(self) -> None:
        """A node that does not start is told with the last line that it printed."""
        node = self.plan().nodes[0]
        script = "import sys; print('first', flush=True); sys.exit('the port is taken')"
        process = subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=subprocess.STDOUT)
        error = self.assertRaises(CommandFailed, started, node, process, 60.0)
        self.assertEqual(error.message, "meta-1 did not start: the port is taken")

    def test_port_taken_since(self) -> None:
        """A port that somebody took between planning and starting is a sentence that names the node."""
        layout = self.plan()
        with socket.socket() as other:
            other.bind(("127.0.0.1", layout.nodes[0].port))
            other.listen()
            error = self.assertRaises(CommandFailed, start_nodes, layout, [layout.nodes[0]])
        self.assertIn(f"the port of meta-1, {layout.nodes[0].port}, is in use", error.message)

    def test_command_line(self) -> None:
        """Each daemon is told its folder, port, name and key, and the metadata nodes."""
        layout = self.plan()
        words = command_line(layout, layout.named("meta-2"))
        self.assertIn("dfs-meta", words)
        peers = ",".join(f"{node.name}={node.address}" for node in layout.of_kind("meta"))
        self.assertEqual(words[words.index("--peers") + 1], peers)
        words = command_line(layout, layout.named("chunk-1"))
        self.assertEqual(words[words.index("--meta") + 1].count(","), 2)
        self.assertEqual(words[words.index("--key-file") + 1], layout.key_file)


class CommandTests(ClusterCase):
    """What goes wrong is a sentence."""

    def test_unknown(self) -> None:
        """A folder without a cluster, and a node that it does not have, are told with exit code 3."""
        for words in (["down"], ["status"], ["kill", "chunk-1"], ["restart", "chunk-1"], ["logs"]):
            self.assertEqual(self.failure(*words).exit_code, 3, words)
        self.written()
        for words in (["kill", "chunk-9"], ["restart", "x"], ["logs", "x"]):
            error = self.failure(*words)
            self.assertEqual(error.exit_code, 3, words)
            self.assertIn("meta-1", error.hint)

    def test_not_running(self) -> None:
        """What does not run cannot be killed, and has no log yet; stopping it is fine."""
        self.written()
        self.assertEqual(self.failure("kill", "chunk-1").exit_code, 1)
        self.assertIn("no log", self.failure("logs").message)
        self.assertEqual(self.successResultOf(self.act("down")), 0)

    def test_last_words(self) -> None:
        """What a node said when it stopped is told where its process is missed; what an earlier process said is not."""
        node = self.written().named("meta-1")
        self.assertEqual(last_words(node), "")
        os.makedirs(node.folder)
        log = Path(node.log)
        start = "2026-01-01T00:00:00+0000 [twisted.scripts._twistd_unix.UnixAppLogger#info] twistd 26 starting up.\n"
        words = "2026-01-01T00:00:01+0000 [dfs.metaserver.node#critical] meta-1 stops: the disk said no\n"
        log.write_text(start + words + "2026-01-01T00:00:02+0000 [-] Server Shut Down.\n", encoding="utf-8")
        self.assertEqual(last_words(node), "meta-1 stops: the disk said no")
        self.assertIn("meta-1 stopped while it started: meta-1 stops: the disk said no", died(node).message)
        with log.open("a", encoding="utf-8") as file:
            file.write(start)
        self.assertEqual(last_words(node), "")
        with log.open("a", encoding="utf-8") as file:
            file.write('{"time": 1, "level": "critical", "message": "it \\"ends\\""}\n')
        self.assertEqual(last_words(node), 'it "ends"')

    def test_other_shape(self) -> None:
        """`up` with other numbers than the cluster has is a mistake (exit code 2), not another cluster."""
        self.written()
        error = self.failure("up", "-m", "5")
        self.assertEqual((error.exit_code, "has 3 meta nodes" in error.message), (2, True))

    def test_chunk_servers_are_not_removed_so(self) -> None:
        """`dfs cluster remove` is for metadata nodes; a chunk server is refused before anything is touched."""
        layout = self.written()
        self.assertEqual(self.failure("remove", "chunk-1").exit_code, 2)
        self.assertEqual(layouts.read(self.folder), layout)

    def test_one_start_at_a_time(self) -> None:
        """A second `up` in the same folder says that another one is at work."""
        os.makedirs(self.folder)
        with alone(self.folder):
            self.assertIn("another command", self.failure("up").message)

    def test_unwritable_folder(self) -> None:
        """A folder that cannot be made is a sentence."""
        Path(self.folder).write_text("a file", encoding="ascii")
        self.folder += "/cluster"
        self.assertIn("--dir", self.failure("up").hint)


class InitTests(ClusterCase):
    """`dfs init`."""

    def init(self, *words: str) -> Deferred[int]:
        options = parse(["init", "--key-file", self.folder, *words])
        return Deferred.fromCoroutine(init(options, runtime(), self.said.append))

    def test_key(self) -> None:
        """It writes a key that only its owner reads, and tells the id of the cluster that it makes."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(self.successResultOf(self.init("--json")), 0)
        key = read_key_file(RealDisk(), self.folder)
        self.assertEqual(os.stat(self.folder).st_mode & 0o777, 0o600)
        expected = {"key_file": self.folder, "cluster_id": cluster_id_of(key).hex()}
        self.assertEqual(json.loads(out.getvalue()), expected)

    def test_steps(self) -> None:
        """For people it says what to do next with the very file."""
        self.assertEqual(self.successResultOf(self.init()), 0)
        self.assertIn(f"twistd dfs-meta  --key-file {self.folder}", self.said[1])

    def test_never_replaced(self) -> None:
        """A key that is there is never replaced: its cluster could not be opened without it (exit code 4)."""
        self.successResultOf(self.init())
        before = read_key_file(RealDisk(), self.folder)
        error = self.failureResultOf(self.init(), CommandFailed).value
        self.assertEqual(getattr(error, "exit_code", None), 4)
        self.assertEqual(read_key_file(RealDisk(), self.folder), before)

    def test_no_folder(self) -> None:
        """A folder that is missing is a sentence."""
        self.folder += "/no/such"
        self.failureResultOf(self.init(), CommandFailed)
