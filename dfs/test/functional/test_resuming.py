"""Commands that are killed or interrupted in the middle."""

from __future__ import annotations

import os
import signal
import time

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20


class ResumeTests(RealClusterCase):
    """Killed commands go on where they stopped."""

    def test_killed_commands(self) -> None:
        """An upload killed by SIGKILL resumes, and what is durable is not sent again (S40); a killed download leaves
        nothing under the final name, and goes on (S41); Ctrl-C ends a command within a second with 130 and leaves no
        name behind (S48)."""
        self.up(meta=1, chunks=3)
        path = self.local("file", 48 * MIB)
        self.kill_upload(path)
        self.kill_download(path)
        self.interrupt(path)

    def kill_upload(self, path: str) -> None:
        """In the middle, and once more to the end."""
        process = self.begin("upload", "--file", path, "--name", "file", "--chunk-size", "256KiB", "--parallel", "1")
        self.until(lambda: len(self.chunk_files("chunk-1")) > 3, "some chunks")
        process.kill()
        process.communicate()
        self.assertEqual(self.dfs("list").split(), [])
        result = self.upload(path, "file", "--chunk-size", "256KiB")
        self.assertGreater(result["resumed"], 0)
        self.assertEqual(result["sent"] + result["resumed"], 48 * MIB)
        self.assert_same("file", path)

    def kill_download(self, path: str) -> None:
        """In the middle, and once more to the end."""
        out = os.path.join(self.folder, "out")
        process = self.begin("download", "--name", "file", "--out", out, "--parallel", "1")
        self.until(self.parts, "the partial file")
        process.kill()
        process.communicate()
        self.assertFalse(os.path.exists(out))
        self.dfs("download", "--name", "file", "--out", out)
        self.assertEqual(self.parts(), [])
        with open(out, "rb") as fetched, open(path, "rb") as original:
            self.assertTrue(fetched.read() == original.read())

    def parts(self) -> list[str]:
        """Of unfinished downloads."""
        return [name for name in os.listdir(self.folder) if name.endswith(".dfs-part")]

    def interrupt(self, path: str) -> None:
        """While it waits for chunk servers that are gone."""
        self.kill("chunk-1", "chunk-2")
        kept = set(os.listdir(self.environment["DFS_STATE"]))
        process = self.begin("upload", "--file", path, "--name", "never", start_new_session=True)
        self.until(lambda: set(os.listdir(self.environment["DFS_STATE"])) - kept, "the upload's manifest")
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        self.ends(process, 130)
        self.assertLess(time.monotonic() - began, 2.0)
        self.assertEqual(self.dfs("list").split(), ["file"])
