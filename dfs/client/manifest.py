"""What a client remembers of an upload, so that it can be resumed (S40).

One JSON file per (cluster, name, local path, size, modification time) in
``$DFS_STATE`` or ``$XDG_STATE_HOME/dfs``.  It names the file id; which chunks are
durable is metadata's to say, and the local bytes are hashed again against what
it says.  A changed local file has another key, so it never mixes with old chunks.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from attrs import asdict, evolve, frozen

from dfs.client.errors import LocalFileError
from dfs.disk.errors import DiskError, NotFound
from dfs.disk.interfaces import IDisk
from dfs.runtime.interfaces import IThreads

VERSION = 1
OURS = re.compile(r"[0-9a-f]{64}\.json(\.\d+\.new)?")  # what we may remove of a folder that others may use too
KEPT = 1000  # manifests beyond this many are forgotten, oldest first


@frozen
class Manifest:
    """``state`` is ``open`` or ``committed``; ``modified`` and ``size`` are the local file's."""

    cluster: str
    name: str
    path: str
    size: int
    modified: float
    file_id: int
    chunk_size: int
    state: str

    def is_sound(self) -> bool:
        """Whether every field is of its kind: the file may have been damaged or written by hand."""
        texts = (self.cluster, self.name, self.path, self.state)
        numbers = (self.size, self.file_id, self.chunk_size)
        return (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int) and number >= 0 for number in numbers)
            and isinstance(self.modified, float)
            and self.state in ("open", "committed")
        )

    def key(self) -> str:
        """What the file in the state folder is called."""
        return manifest_key(self.cluster, self.name, self.path, self.size, self.modified)


def manifest_key(cluster: str, name: str, path: str, size: int, modified: float) -> str:
    """64 hex digits."""
    return hashlib.sha256(json.dumps([cluster, name, path, size, repr(modified)]).encode()).hexdigest()


class ManifestFolder:
    """Reads and writes manifests.  All methods are coroutines; the disk work is on a thread."""

    def __init__(self, disk: IDisk, threads: IThreads, folder: str) -> None:
        self._disk = disk
        self._threads = threads
        self._folder = folder

    async def load(self, key: str) -> Manifest | None:
        """None if there is none that can be understood: then the upload starts anew.  Raises LocalFileError."""
        try:
            document: dict[str, Any] | None = await self._threads.run(self._read, key)
        except DiskError as error:
            raise self._unusable("read", error) from error
        if document is None or document.pop("version", None) != VERSION:
            return None
        try:
            manifest = Manifest(**document)
        except TypeError:
            return None
        return manifest if manifest.is_sound() and manifest.key() == key else None

    async def forget(self, key: str) -> None:
        """Remove a manifest, if there is one.  Raises LocalFileError."""
        try:
            await self._threads.run(self._disk.unlink, self._path(key))
        except NotFound:
            return
        except DiskError as error:
            raise self._unusable("remove", error) from error

    def _unusable(self, verb: str, error: DiskError) -> LocalFileError:
        return LocalFileError(
            f"cannot {verb} the upload's manifest: {error}", "set DFS_STATE to a writable folder, or use --no-resume"
        )

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            file = self._disk.open(self._path(key), False, False, False)
        except NotFound:
            return None
        try:
            document = json.loads(file.pread(file.size(), 0))
        except ValueError:
            return None
        finally:
            file.close()
        return document if isinstance(document, dict) else None

    async def save(self, manifest: Manifest) -> None:
        """Durable when it returns.  Raises LocalFileError."""
        try:
            await self._threads.run(self._write, manifest)
        except DiskError as error:
            raise self._unusable("keep", error) from error

    def _write(self, manifest: Manifest) -> None:
        self._disk.make_folders(self._folder)
        target = self._path(manifest.key())
        temporary = f"{target}.{manifest.file_id}.new"
        file = self._disk.open(temporary, True)
        try:
            file.truncate(0)
            file.pwrite([json.dumps({"version": VERSION, **asdict(manifest)}, indent=1).encode()], 0)
            file.sync()
        finally:
            file.close()
        self._disk.rename(temporary, target)
        self._disk.sync_folder(self._folder)
        self._forget_old()

    def _forget_old(self) -> None:
        names = [name for name in self._disk.list_folder(self._folder) if OURS.fullmatch(name)]
        if len(names) <= KEPT:
            return
        aged = sorted((self._age(name), name) for name in names)
        for _, name in aged[: len(names) - KEPT]:
            try:
                self._disk.unlink(f"{self._folder}/{name}")
            except NotFound:
                continue  # another process forgot it

    def _age(self, name: str) -> float:
        try:
            return self._disk.stat(f"{self._folder}/{name}").modified
        except NotFound:
            return 0.0

    async def finished(self, manifest: Manifest) -> None:
        """Remember that it is committed: finishing it again is a success that sends nothing."""
        await self.save(evolve(manifest, state="committed"))

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}.json"
