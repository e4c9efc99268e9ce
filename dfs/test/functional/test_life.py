"""Files go in and come out of a real cluster."""

from __future__ import annotations

import json
import os
import socket

from dfs.test.functional.cluster import RealClusterCase

CHUNK = 64 << 10

BLOCKING = """
import sys
from dfs.client import blocking
meta, path = sys.argv[1:]
with blocking.connect(meta) as fs:
    fs.upload(path, "by/blocking", chunk_size=65536)
    data = open(path, "rb").read()
    assert fs.read("by/blocking") == data
    assert fs.read("by/blocking", 65530, 20) == data[65530:65550]
    assert [info.name for info in fs.list("by/")] == ["by/blocking"]
    fs.delete("by/blocking")
    assert fs.list("by/") == []
print("fine")
"""


class LifeTests(RealClusterCase):
    """Small clusters, everything that a user does on a good day, and on a day of mistakes."""

    def test_files(self) -> None:
        """Sizes around a chunk's come back byte for byte (S45), streams too, by command and by Python; also after
        garbage, huge lengths and silent connections on every port (S43)."""
        self.up(meta=1, chunks=3)
        self.bother()
        self.sizes()
        self.streams()
        path = self.local("file", 2 * CHUNK + 9)
        self.assertEqual(self.python(BLOCKING, self.nodes()["meta-1"]["address"], path), "fine\n")
        self.assertTrue(all(node["pid"] for node in self.nodes().values()))

    def bother(self) -> None:
        """Talk nonsense to every port, and hold connections open that say nothing."""
        for node in self.nodes().values():
            host, _, port = node["address"].rpartition(":")
            for junk in (os.urandom(4096), b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x10" + bytes(16)):
                with socket.create_connection((host, int(port))) as sock:
                    sock.sendall(junk)
            for _ in range(100):
                self.addCleanup(socket.create_connection((host, int(port))).close)

    def sizes(self) -> None:
        """Upload, download, list, stat."""
        sizes = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 7)
        paths = {f"sizes/{size}": self.local(f"f{size}", size) for size in sizes}
        options = ("--chunk-size", "64KiB", "--json")
        printed = self.together(
            *[("upload", "--file", path, "--name", name, *options) for name, path in paths.items()]
        )
        for size, result in zip(sizes, map(json.loads, printed), strict=True):
            self.assertEqual((result["size"], result["chunks"]), (size, -(-size // CHUNK)))
            self.assertEqual((result["sent"], result["resumed"], result["degraded"]), (size, 0, False))
        self.assert_all_same(paths)
        self.assert_same("sizes/0", paths["sizes/0"])
        self.assert_same(f"sizes/{sizes[-1]}", paths[f"sizes/{sizes[-1]}"])
        listed = [json.loads(line)["name"] for line in self.dfs("list", "--prefix", "sizes/", "--json").splitlines()]
        self.assertEqual(listed, sorted(paths))
        for chunk in self.document("stat", "--name", f"sizes/{3 * CHUNK}")["chunks"]:
            self.assertEqual(len({replica["node"] for replica in chunk["replicas"]}), 3)

    def streams(self) -> None:
        """From stdin, to stdout, of unknown length."""
        data = os.urandom(3 * CHUNK + 11)
        self.dfs("upload", "--file", "-", "--name", "piped", "--chunk-size", "64KiB", data=data)
        done = self.run_dfs("download", "--name", "piped", "--out", "-", "--dir", self.dir)
        self.assertEqual((done.returncode, done.stdout == data), (0, True))

    def test_mistakes(self) -> None:
        """Each way to fail has its exit code, a sentence and no traceback; a name is data, never a path of the store,
        and what cannot be a name is refused (S44)."""
        self.up(meta=1, chunks=3)
        path = self.local("one", 1)
        self.names(path)
        self.dfs("put", "--file", path, "--name", "one")
        self.assertIn("dfs:", self.dfs("upload", "--file", path, "--name", "one", "--no-resume", code=4))
        self.assertEqual(self.upload(path, "one")["sent"], 0)
        self.together(*[(command, "--name", "missing") for command in ("get", "rm", "stat")], code=3)
        self.dfs("upload", "--file", "/does/not/exist", "--name", "x", code=1)
        self.dfs("upload", "--nonsense", code=2)
        error = json.loads(self.dfs("stat", "--name", "missing", "--json", code=3))
        self.assertEqual(set(error["error"]), {"code", "message", "hint"})
        os.mkdir(os.path.join(self.folder, "there"))
        self.together(*[("download", "--name", "one", "--out", out) for out in ("there", path)], code=4)
        self.sisters()

    def names(self, path: str) -> None:
        """Odd ones."""
        names = ["../../etc/passwd", "/abs", "a\nb", "имя/ファイル", "-dash", " ", "a" * 4096]
        self.together(*[("upload", "--file", path, f"--name={name}") for name in names])
        for fetched in self.together(*[("download", f"--name={name}", "--out", "-") for name in names[:5]]):
            self.assertEqual(len(fetched.encode("utf-8", "surrogateescape")), 1)
        listed = [json.loads(line)["name"] for line in self.dfs("list", "--json").splitlines()]
        self.assertEqual(sorted(listed), sorted(names))
        bad = ("", "a" * 4097, b"\xff\xfe".decode("utf-8", "surrogateescape"))
        self.together(*[("upload", "--file", path, f"--name={name}") for name in bad], code=2)

    def sisters(self) -> None:
        """The commands around `dfs cluster up`."""
        self.assertIn("chunk-3", self.dfs("cluster", "status"))
        self.assertIn("starting up", self.dfs("cluster", "logs", "meta-1", "--lines", "1000"))
        self.assertIn("chunk-9", self.dfs("cluster", "kill", "chunk-9", code=3))
        self.assertIn("has 3 chunk nodes", self.dfs("cluster", "up", "-s", "5", code=2))
        self.assertIn("already", self.dfs("cluster", "up"))
        self.dfs("cluster", "down")
        self.assertEqual(set(self.pids().values()), {None})
        self.assertIn("does not run", self.dfs("cluster", "kill", "chunk-1", code=1))
