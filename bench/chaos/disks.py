"""Small file systems for nodes, ballast that fills them, and bits that flip at rest."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from random import Random

from dfs.chunkserver.layout import is_chunk

SIZE = 256  # MiB of a small file system
BALLAST = "ballast"
STEP = 1 << 20


class SmallDisk:
    """A file system in memory in the place of a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._mounted = False

    def mount(self) -> bool:
        """False where that is not permitted."""
        os.makedirs(self.folder, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "dfs-chaos", self.folder]
        try:
            self._mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            self._mounted = False
        return self._mounted

    def fill(self) -> None:
        """Take all that is left, as somebody else's file would."""
        with open(os.path.join(self.folder, BALLAST), "wb") as file:
            end = 0
            try:
                while True:
                    os.posix_fallocate(file.fileno(), end, STEP)
                    end += STEP
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def relieve(self) -> None:
        """Give it back."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, BALLAST))

    def unmount(self) -> None:
        """Once no process is in it; idempotent."""
        if self._mounted:
            subprocess.run(["umount", self.folder], capture_output=True, check=True)
            self._mounted = False


def flip_bit(folder: str, chance: Random, spared: set[str]) -> str:
    """Flip one bit of one replica below a chunk server's folder; the replica's name without its folder, "" if there
    was none to flip.

    ``spared``: replicas of which another copy was flipped before, so that no chunk loses two copies to us.
    """
    found = [
        os.path.join(root, name)
        for root, _, names in os.walk(os.path.join(folder, "data", "chunks"))
        for name in sorted(names)
        if is_chunk(name) and name not in spared
    ]
    if not found:
        return ""
    path = chance.choice(sorted(found))
    try:
        with open(path, "r+b") as file:
            length = os.fstat(file.fileno()).st_size
            if not length:
                return ""
            offset = chance.randrange(length)
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes((byte ^ (1 << chance.randrange(8)),)))
    except FileNotFoundError:
        return ""  # the chunk was deleted meanwhile
    return os.path.basename(path)
