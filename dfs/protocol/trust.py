"""Keys and what is proven with them: the cluster key, the MACs of Hello, grants.

Everything stands on one 32-byte key that all nodes of a cluster share and no
client has.  It never signs anything itself: HKDF-SHA256 (RFC 5869) derives a key
for each use, so no MAC made for one use is valid for another.

============  =======================================  ==========================
derived key   salt                                     context
============  =======================================  ==========================
proof keys    dialer's nonce, listener's nonce         ``dfs hello 1`` + SHA-256 of
(one each                                              the HELLO and WELCOME bodies
direction)
grant key     cluster id                               ``dfs grant 1``
removal key   cluster id                               ``dfs removal 1``
============  =======================================  ==========================

The HELLO and WELCOME bodies hold names, roles, purposes, cluster ids,
incarnations and version ranges, so a proof vouches for all of them and a replayed one
is worthless.  MACs are HMAC-SHA256 and are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from attrs import evolve, frozen
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import Forbidden
from dfs.protocol.fast import Codec
from dfs.protocol.layout import U8, Record
from dfs.protocol.removal import Removal
from dfs.protocol.values import FileId, Generation, Grant, GrantKind, Target
from dfs.protocol.wire_chunks import REMOVAL
from dfs.protocol.wire_metadata import GRANT, TARGETS

KEY_LENGTH = 32
MAC_LENGTH = 32
_NO_MAC = bytes(MAC_LENGTH)
_GRANT = Codec(GRANT)
_REMOVAL = Codec(REMOVAL)


def _hkdf(key: bytes, salt: bytes, context: bytes, count: int) -> list[bytes]:
    keys = HKDF(key, KEY_LENGTH, salt, SHA256, count, context)
    return [keys] if isinstance(keys, bytes) else keys


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


# ---- the key file --------------------------------------------------------------------------------


def new_cluster_key(entropy: Callable[[int], bytes]) -> bytes:
    """A new cluster key, of unguessable bytes."""
    return entropy(KEY_LENGTH)


def write_key_file(disk: IDisk, path: str, key: bytes) -> None:
    """Store the key as one line of hex in a new file that only its owner reads (the disk makes files with mode 0600).
    Durable on return; an existing file is never replaced (dfs.disk.errors.Exists)."""
    file = disk.open(path, create=True, exclusive=True)
    try:
        file.pwrite([key.hex().encode("ascii") + b"\n"], 0)
        file.sync()
    finally:
        file.close()
    disk.sync_folder(path.rpartition("/")[0] or "/")


def read_key_file(disk: IDisk, path: str) -> bytes:
    """The key.  Raises Forbidden when the file does not hold one, dfs.disk.errors when it cannot be read."""
    file = disk.open(path, writable=False)
    try:
        text = file.pread(4 * KEY_LENGTH, 0)
    finally:
        file.close()
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        raise Forbidden(f"{path} holds no cluster key", hint="copy the key file of a running node there, mode 0600")
    return key


# ---- proofs of Hello -----------------------------------------------------------------------------


@frozen
class Proofs:
    """The MACs that each side of one connection must show."""

    dialer: bytes
    listener: bytes


def proofs(cluster_key: bytes, nonces: bytes, hello: bytes, welcome: bytes) -> Proofs:
    """``nonces`` are the dialer's and the listener's, joined; ``hello`` and ``welcome`` the bodies of both frames."""
    said = hashlib.sha256(len(hello).to_bytes(4, "big") + hello + welcome).digest()
    dialer, listener = _hkdf(cluster_key, nonces, b"dfs hello 1" + said, 2)
    return Proofs(_mac(dialer, b"dialer"), _mac(listener, b"listener"))


def same_mac(shown: bytes, expected: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(shown, expected)


# ---- grants --------------------------------------------------------------------------------------


@frozen
class Spread:
    """Where a chunk goes and how many of these nodes must have it: what a grant to write covers.  A client carries it
    from metadata to the primary; unsigned, it could send a chunk server, with its proofs, to any address."""

    targets: Sequence[Target] = ()
    quorum: int = 0


NOWHERE = Spread()
"""What a grant covers that is not for writing."""

_SPREAD = Codec(Record(Spread, targets=TARGETS, quorum=U8))


class KeyRing:
    """Signs and checks the grants of one cluster.

    :param cluster_key: the 32 bytes that all nodes share.
    :param cluster_id: 16 bytes; a grant of another cluster never fits.
    """

    def __init__(self, cluster_key: bytes, cluster_id: bytes) -> None:
        if len(cluster_key) != KEY_LENGTH:
            raise Forbidden(f"a cluster key has {KEY_LENGTH} bytes, not {len(cluster_key)}")
        (self._grant_key,) = _hkdf(cluster_key, cluster_id, b"dfs grant 1", 1)
        (self._removal_key,) = _hkdf(cluster_key, cluster_id, b"dfs removal 1", 1)

    def _grant_mac(self, grant: Grant, spread: Spread) -> bytes:
        said = _GRANT.encode(grant)[:-MAC_LENGTH]
        return _mac(self._grant_key, said + hashlib.sha256(_SPREAD.encode(spread)).digest())

    def sign(
        self,
        kind: GrantKind,
        file_id: FileId,
        index: int,
        generation: Generation,
        expires_ms: int,
        evidence: int = 0,
        spread: Spread = NOWHERE,
    ) -> Grant:
        """Leave for one operation on one generation of a chunk until ``expires_ms`` of cluster time; to write it, to
        just this ``spread``."""
        unsigned = Grant(kind, file_id, index, generation, expires_ms, evidence, _NO_MAC)
        mac = self._grant_mac(unsigned, spread)
        return Grant(kind, file_id, index, generation, expires_ms, evidence, mac)

    def check(
        self,
        grant: Grant,
        kind: GrantKind,
        file_id: FileId,
        index: int,
        generation: Generation,
        now_ms: int,
        spread: Spread = NOWHERE,
    ) -> None:
        """Raises Forbidden unless metadata of this cluster signed exactly this and it has not expired."""
        if len(grant.mac) != MAC_LENGTH or not same_mac(grant.mac, self._grant_mac(grant, spread)):
            raise Forbidden("the grant was not signed by this cluster, or for other targets")
        named = (grant.kind, grant.file_id, grant.index, grant.generation)
        if named != (kind, file_id, index, generation):
            raise Forbidden("the grant is for another operation or chunk")
        if now_ms >= grant.expires_ms:
            raise Forbidden("the grant has expired", hint="ask metadata for a new one")

    def sign_removal(self, removal: Removal) -> Removal:
        """The same with its MAC."""
        return evolve(removal, mac=self._removal_mac(removal))

    def check_removal(self, removal: Removal, file_id: FileId, index: int, generation: Generation, now_ms: int) -> None:
        """Raises Forbidden unless metadata of this cluster signed it for this replica and it has not expired."""
        if len(removal.mac) != MAC_LENGTH or not same_mac(removal.mac, self._removal_mac(removal)):
            raise Forbidden("the order to remove was not signed by this cluster")
        if (removal.file_id, removal.index, removal.generation) != (file_id, index, generation):
            raise Forbidden("the order to remove is for another replica")
        if now_ms >= removal.expires_ms:
            raise Forbidden("the order to remove has expired", hint="metadata gives a new one")

    def _removal_mac(self, removal: Removal) -> bytes:
        return _mac(self._removal_key, _REMOVAL.encode(evolve(removal, mac=_NO_MAC))[:-MAC_LENGTH])
