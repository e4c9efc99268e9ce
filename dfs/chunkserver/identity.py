"""Who a data folder belongs to, and the lock that keeps a second process off (S19).

Identity file (written once, when the folder is formatted), big endian::

    offset size
       0     1   version, 1; 2 where the folder has segments
       1     3   magic, "DFI"
       4    16   cluster id
      20    16   incarnation, random
      36     1   length n of the node's name, 1 to 255
      37     n   name of the node, UTF-8
    37+n     4   CRC-32C of all bytes before

What is on disk wins over what flags say (S28): a folder of another node or
cluster is refused with a sentence.  Everything here blocks.
"""

from __future__ import annotations

from attrs import evolve, frozen
from crc32c import crc32c

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.layout import HEX, chunk_folders
from dfs.chunkserver.numbers import format_numbers
from dfs.disk.errors import DiskError, DiskFull, Locked, NotFound, ReadOnly
from dfs.disk.interfaces import IDisk, IDiskLock

VERSION = 1
SEGMENTS_VERSION = 2
"""A program that knows no segments would start without what they hold."""
MAGIC = b"DFI"
MAX_FILE = 37 + 255 + 4


@frozen
class FolderIdentity:
    """``cluster`` and ``incarnation`` have 16 bytes each."""

    node: str
    cluster: bytes
    incarnation: bytes
    version: int = VERSION


@frozen
class OpenFolder:
    """A folder that is locked by us; ``identity`` is None while it is empty (see :func:`claim`)."""

    root: str
    identity: FolderIdentity | None
    lock: IDiskLock


def encode(identity: FolderIdentity) -> bytes:
    """The file's bytes."""
    name = identity.node.encode()
    assert 1 <= len(name) <= 255, identity.node
    body = bytes([identity.version]) + MAGIC + identity.cluster + identity.incarnation + bytes([len(name)]) + name
    return body + crc32c(body).to_bytes(4, "big")


def decode(content: bytes, path: str) -> FolderIdentity:
    """Raises RefusedStart with a sentence."""
    if content[1:4] == MAGIC and content[0] not in (VERSION, SEGMENTS_VERSION):
        raise RefusedStart(
            f"{path} has version {content[0]}, not {VERSION} or {SEGMENTS_VERSION}: use the program that wrote it, or "
            "newer"
        )
    if len(content) < 42 or crc32c(content[:-4]).to_bytes(4, "big") != content[-4:] or content[1:4] != MAGIC:
        raise RefusedStart(
            f"{path} is damaged: restore it from a backup, or start with an empty folder and let the cluster repair"
        )
    length = content[36]
    if len(content) != 41 + length:
        raise RefusedStart(f"{path} is damaged: its name has not the length that it says")
    name = content[37 : 37 + length].decode("utf-8", "replace")
    return FolderIdentity(name, content[4:20], content[20:36], content[0])


def open_folder(disk: IDisk, root: str, node: str, cluster: bytes) -> OpenFolder:
    """Lock the folder, then read its identity.  Raises RefusedStart; the lock is given back then."""
    try:
        disk.make_folders(root)
        lock = disk.lock(f"{root}/lock")
    except Locked as error:
        raise RefusedStart(
            f"{root} is in use by another process; stop it, or choose another --data"
        ) from error
    except DiskError as error:
        raise RefusedStart(sentence(root, error)) from error
    try:
        return OpenFolder(root, _read(disk, root, node, cluster), lock)
    except DiskError as error:
        lock.release()
        raise RefusedStart(sentence(root, error)) from error
    except RefusedStart:
        lock.release()
        raise


def claim(disk: IDisk, folder: OpenFolder, node: str, cluster: bytes, incarnation: bytes) -> FolderIdentity:
    """Format an empty folder for this node of this cluster; the identity is durable when it returns.
    Raises RefusedStart."""
    assert folder.identity is None
    try:
        return _format(disk, folder.root, FolderIdentity(node, cluster, incarnation))
    except DiskError as error:
        raise RefusedStart(sentence(folder.root, error)) from error


def sentence(root: str, error: DiskError) -> str:
    """What the operator reads when the folder cannot be used."""
    if isinstance(error, ReadOnly):
        return (
            f"{root} cannot be written ({error.reason}): check its owner, its mode and whether it is mounted read-only"
        )
    if isinstance(error, DiskFull):
        return f"the disk of {root} is full: make room, then start again"
    return f"{root} cannot be used: {error}"


def _read(disk: IDisk, root: str, node: str, cluster: bytes) -> FolderIdentity | None:
    if not disk.exists(f"{root}/identity"):
        left = set(disk.list_folder(root)) - {"lock", "chunks", "quarantine", "numbers", "identity.tmp"}
        if left:
            raise RefusedStart(f"{root} is not empty ({min(left)}) and has no identity: choose an empty folder")
        _check_empty(disk, root)
        return None
    found = read(disk, root)
    if found.cluster != cluster:
        raise RefusedStart(
            f"{root} belongs to cluster {found.cluster.hex()}, the key is that of {cluster.hex()}: "
            "choose the folder, or the key file, of this cluster"
        )
    if found.node != node:
        raise RefusedStart(f"{root} belongs to node {found.node}, not {node}: each node has a folder of its own")
    return found


def read(disk: IDisk, root: str) -> FolderIdentity:
    """What the file says.  Raises RefusedStart, DiskError."""
    path = f"{root}/identity"
    file = disk.open(path, writable=False)
    try:
        return decode(file.pread(MAX_FILE + 1, 0), path)
    finally:
        file.close()


def mark_segments(disk: IDisk, root: str) -> None:
    """From now on the folder may have segments: a program that knows none refuses it (S39).  Durable when this
    returns.  Raises RefusedStart, DiskError."""
    found = read(disk, root)
    if found.version != SEGMENTS_VERSION:
        _write(disk, root, evolve(found, version=SEGMENTS_VERSION))


def _check_empty(disk: IDisk, root: str) -> None:
    """A format that was cut short has folders but no file in them.  Raises RefusedStart where there is one: to claim
    it would give the replicas to a node that nobody recorded them for."""
    for folder in (*chunk_folders(root), f"{root}/quarantine"):
        try:
            files = disk.list_folder(folder)
        except NotFound:
            continue
        if files:
            raise RefusedStart(
                f"{root} holds replicas ({folder}/{files[0]}) and its file identity is missing: restore that file from "
                "a backup, or choose an empty folder and let the cluster repair"
            )


def _format(disk: IDisk, root: str, identity: FolderIdentity) -> FolderIdentity:
    """Make all that a store needs; the identity comes last, so that a format cut short is begun again."""
    for folder in chunk_folders(root):
        disk.make_folders(folder)
    disk.make_folders(f"{root}/quarantine")
    for folder in _parents(root):  # a format cut short may have made them and not have synced what names them
        disk.sync_folder(folder)
    format_numbers(disk, f"{root}/numbers")
    _write(disk, root, identity)
    return identity


def _write(disk: IDisk, root: str, identity: FolderIdentity) -> None:
    file = disk.open(f"{root}/identity.tmp", create=True)
    try:
        file.truncate(0)
        file.pwrite([encode(identity)], 0)
        file.sync()
    finally:
        file.close()
    disk.rename(f"{root}/identity.tmp", f"{root}/identity")
    disk.sync_folder(root)


def _parents(root: str) -> list[str]:
    """Every folder that holds a name which the replicas' 256 folders depend on, the one above ``root`` included."""
    above = root.rpartition("/")[0] or ("/" if root.startswith("/") else ".")
    return [above, root, f"{root}/chunks", *(f"{root}/chunks/{digit}" for digit in HEX)]
