"""Small files in segments, on real disks, in processes that are killed."""

from __future__ import annotations

import os
from random import Random

from dfs.test.functional.cluster import RealClusterCase

MOST = 64 << 10


class SegmentTests(RealClusterCase):
    """Chunk servers that pack."""

    def small_files(self, folder: str, count: int) -> dict[str, str]:
        """New local files of up to 70 KiB, one of them empty, by the names that they will have."""
        os.mkdir(os.path.join(self.folder, folder))
        lengths = [0, 1, MOST, MOST + 1, *(Random(count).randrange(MOST + 5000) for _ in range(count - 4))]
        return {f"{folder}/{at:03d}": self.local(f"{folder}/{at:03d}", length) for at, length in enumerate(lengths)}

    def test_packed(self) -> None:
        """A folder of small files is packed, and intact after every process was killed amid more of them (S01, S05);
        a segment that rotted at one server costs no file (S11); deleted files stay deleted over a restart (S15)."""
        self.up(chunks=3, DFS_SEGMENTS="on")
        paths = self.small_files("first", 40)
        self.dfs("upload", "--recursive", "--file", os.path.join(self.folder, "first"), "--name", "first")
        self.assert_all_same(paths)
        long = sum(os.path.getsize(path) > MOST for path in paths.values())
        self.assertEqual([len(self.chunk_files(f"chunk-{n}")) for n in (1, 2, 3)], [long] * 3)
        more = self.small_files("second", 60)
        words = ("upload", "--recursive", "--file", os.path.join(self.folder, "second"), "--name", "second")
        running = self.begin(*words)
        self.kill(*self.pids())
        running.kill()
        running.communicate()
        self.heal()
        self.assert_all_same(paths)
        self.dfs(*words, "--skip-same")
        paths |= more
        self.assert_all_same(paths)
        self.rot()
        self.assert_all_same(paths)
        for name in list(paths)[:20]:
            self.dfs("delete", "--name", name)
            del paths[name]
        self.dfs("cluster", "down")
        self.heal()
        self.assertEqual(self.dfs("list").split(), sorted(paths))
        self.assert_all_same(paths)

    def rot(self) -> None:
        """A byte of every page of one server's oldest segment."""
        folder = os.path.join(self.dir, "chunk-2", "data", "segments")
        name = min(name for name in os.listdir(folder) if name.endswith(".seg"))
        with open(os.path.join(folder, name), "r+b") as file:
            for page in range(1, os.path.getsize(file.name) // 4096):
                file.seek(4096 * page + 1000)
                byte = file.read(1)
                file.seek(4096 * page + 1000)
                file.write(bytes([byte[0] ^ 1]))
