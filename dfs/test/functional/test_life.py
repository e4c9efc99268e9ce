"""Files go in and come out of a real cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

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
    """One small cluster, everything that a user does on a good day."""

    def test_sizes(self) -> None:
        """Empty files, single bytes and sizes around a chunk's come back byte for byte (S45)."""
        self.up(meta=1, chunks=3)
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 7):
            path = self.local(f"f{size}", size)
            result = self.upload(path, f"sizes/{size}", "--chunk-size", "64KiB")
            self.assertEqual((result["size"], result["chunks"]), (size, -(-size // CHUNK)))
            self.assertEqual((result["sent"], result["resumed"], result["degraded"]), (size, 0, False))
            self.assert_same(f"sizes/{size}", path)
        listed = [json.loads(line) for line in self.dfs("list", "--prefix", "sizes/", "--json").splitlines()]
        self.assertEqual(len(listed), 7)
        self.assertEqual([each["name"] for each in listed], sorted(each["name"] for each in listed))
        for chunk in self.document("stat", "--name", f"sizes/{3 * CHUNK}")["chunks"]:
            self.assertEqual(len({replica["node"] for replica in chunk["replicas"]}), 3)

    def test_exit_codes(self) -> None:
        """Each way to fail has its exit code, a sentence and no traceback."""
        self.up(meta=1, chunks=3)
        path = self.local("one", 1)
        self.dfs("put", "--file", path, "--name", "one")
        self.assertIn("dfs:", self.dfs("upload", "--file", path, "--name", "one", "--no-resume", code=4))
        again = self.upload(path, "one")
        self.assertEqual(again["sent"], 0)
        self.dfs("get", "--name", "missing", code=3)
        self.dfs("rm", "--name", "missing", code=3)
        self.dfs("stat", "--name", "missing", code=3)
        self.dfs("upload", "--file", "/does/not/exist", "--name", "x", code=1)
        self.dfs("upload", "--nonsense", code=2)
        error = json.loads(self.dfs("stat", "--name", "missing", "--json", code=3))
        self.assertEqual(set(error["error"]), {"code", "message", "hint"})
        os.mkdir(os.path.join(self.folder, "there"))
        self.dfs("download", "--name", "one", "--out", "there", code=4)
        self.dfs("download", "--name", "one", "--out", path, code=4)

    def test_names(self) -> None:
        """Any UTF-8 name is data and never a path of the store; what cannot be one is refused (S44)."""
        self.up(meta=1, chunks=3)
        path = self.local("one", 1)
        names = ["../../etc/passwd", "/abs", "a\nb", "имя/ファイル", "-dash", " ", "a" * 4096]
        for name in names:
            self.dfs("upload", "--file", path, f"--name={name}")
            fetched = self.run_dfs("download", f"--name={name}", "--out", "-", "--dir", self.dir)
            self.assertEqual((fetched.returncode, len(fetched.stdout)), (0, 1), fetched.stderr.decode())
        listed = [json.loads(line)["name"] for line in self.dfs("list", "--json").splitlines()]
        self.assertEqual(sorted(listed), sorted(names))
        for name in ("", "a" * 4097, b"\xff\xfe".decode("utf-8", "surrogateescape")):
            self.assertIn("name", self.dfs("upload", "--file", path, f"--name={name}", code=2))

    def test_streams(self) -> None:
        """A stream of unknown length goes in from stdin and out to stdout."""
        self.up(meta=1, chunks=3)
        data = os.urandom(3 * CHUNK + 11)
        self.dfs("upload", "--file", "-", "--name", "piped", "--chunk-size", "64KiB", data=data)
        done = self.run_dfs("download", "--name", "piped", "--out", "-", "--dir", self.dir)
        self.assertEqual((done.returncode, done.stdout == data), (0, True))

    def test_blocking_facade(self) -> None:
        """The blocking Python API stores, reads ranges, lists and deletes."""
        self.up(meta=1, chunks=3)
        path = self.local("file", 2 * CHUNK + 9)
        meta = self.nodes()["meta-1"]["address"]
        done = subprocess.run(
            [sys.executable, "-c", BLOCKING, meta, path],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual((done.stdout, done.returncode), ("fine\n", 0), done.stderr)

    def test_hostile_bytes(self) -> None:
        """Garbage, huge lengths and silent connections on every port leave the cluster serving (S43)."""
        self.up(meta=1, chunks=3)
        silent = []
        for node in self.nodes().values():
            host, _, port = node["address"].rpartition(":")
            for junk in (os.urandom(4096), b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x10" + bytes(16)):
                with socket.create_connection((host, int(port))) as sock:
                    sock.sendall(junk)
            silent += [socket.create_connection((host, int(port))) for _ in range(100)]
        for sock in silent:
            self.addCleanup(sock.close)
        path = self.local("file", CHUNK)
        self.upload(path, "still/served")
        self.assert_same("still/served", path)
        self.assertTrue(all(node["pid"] for node in self.nodes().values()))
