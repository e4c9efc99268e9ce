"""Hello: who is at the other end, and may it be here.  Pure: frames in, frames out.

::

    dialer                          listener
      | HELLO  body: Hello            |     frame version 1 for ever: any version can read it
      |------------------------------>|
      |        WELCOME  body: Hello   |
      |<------------------------------|     a stranger (a client without key) is done here
      | PROOF  body: MAC, 32 bytes    |
      |------------------------------>|     compared before any other frame is looked at
      |          PROOF  body: MAC     |
      |<------------------------------|     only now does the listener prove itself

Either side that is not content sends FAILURE with request id 0 and closes.
A dialer that proves the key learns that the listener holds it too, so
neither a wrong node nor a stranger in between can pose as one.

The table ``(side, state) -> what must come next`` is literal, below.  Rejected: the listener's
MAC in WELCOME (anyone could collect MACs of chosen Hellos), TLS (certificates for a
cluster that one command starts; it may come later, as a transport below this).

Hello body (also of WELCOME), big endian::

    offset size
       0     4   magic, "DFS1"
       4     1   lowest version spoken
       5     1   highest version spoken
       6     1   role
       7     1   purpose
       8     1   1 if the sender holds a cluster key
       9    32   nonce
      41    16   cluster id, zeros: not known yet
      57    16   incarnation of the node's folder, zeros: none
      73     8   cluster time, ms, 0: not known
      81     2+n name of the node
       -     2+n in HELLO the node that the listener is taken for, empty: any
       -    0/16 founding of the cluster, zeros or left out: not known
       -       n what later versions add; ignored, but covered by the proofs
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from attrs import evolve, frozen

from dfs.protocol.errors import BadRequest, Forbidden, VersionMismatch, WrongCluster
from dfs.protocol.failures import decode_error
from dfs.protocol.fast import Codec, Malformed
from dfs.protocol.frames import Frame, FrameType, encode_frame
from dfs.protocol.interfaces import Identity
from dfs.protocol.layout import U8, U64, Choice, Flag, Raw, Record, Text
from dfs.protocol.limits import MAX_NODE_NAME
from dfs.protocol.trust import Proofs, proofs, same_mac
from dfs.protocol.values import Purpose, Role

MAGIC = b"DFS1"
NONCE_LENGTH = 32
UNKNOWN = bytes(16)
FOUNDING_LENGTH = 16
_VERSIONS = slice(4, 6)


@frozen
class Hello:
    """What one side says of itself."""

    magic: bytes
    min_version: int
    max_version: int
    role: Role
    purpose: Purpose
    keyed: bool
    nonce: bytes
    cluster: bytes
    incarnation: bytes
    cluster_time_ms: int
    name: str
    expect: str


HELLO = Record(
    Hello,
    magic=Raw(4),
    min_version=U8,
    max_version=U8,
    role=Choice(Role),
    purpose=Choice(Purpose),
    keyed=Flag(),
    nonce=Raw(NONCE_LENGTH),
    cluster=Raw(16),
    incarnation=Raw(16),
    cluster_time_ms=U64,
    name=Text(MAX_NODE_NAME),
    expect=Text(MAX_NODE_NAME),
)
_CODEC = Codec(HELLO)


@frozen
class Established:
    """What Hello found out.  ``founding`` is the peer's, UNKNOWN where it does not know."""

    version: int
    theirs: Hello
    trusted: bool
    founding: bytes


class State(enum.Enum):
    """What is awaited."""

    HELLO = "hello"
    WELCOME = "welcome"
    PROOF = "proof"
    DONE = "done"


def check_version(mine: tuple[int, int], lowest: int, highest: int) -> int:
    """The highest version that both speak, given our range and the peer's; raises VersionMismatch (S39)."""
    version = min(highest, mine[1])
    if version < max(lowest, mine[0]):
        raise VersionMismatch(
            f"the peer speaks versions {lowest} to {highest} of the protocol, this node {mine[0]} to {mine[1]}",
            hint="upgrade the older of the two nodes",
        )
    return version


def check_cluster(mine: Hello, theirs: Hello) -> None:
    """Raises WrongCluster when both know their cluster and it is not the same."""
    if UNKNOWN not in (mine.cluster, theirs.cluster) and mine.cluster != theirs.cluster:
        raise WrongCluster(
            f"{theirs.name or 'the peer'} belongs to cluster {theirs.cluster.hex()}, not to {mine.cluster.hex()}",
            hint="check the addresses; each cluster has its own nodes and folders",
        )


def check_founding(mine: bytes, theirs: bytes, name: str) -> None:
    """Raises WrongCluster when one key founded two clusters and the two sides belong to different ones (S28)."""
    if UNKNOWN not in (mine, theirs) and mine != theirs:
        raise WrongCluster(
            f"{name or 'the peer'} belongs to a cluster that was founded by other members under the same key",
            hint="one key is for one cluster: give all founders one --peers, and stop the cluster that is not meant",
        )


def check_name(name: str, expect: str) -> None:
    """Raises WrongCluster when another node is there than the one expected."""
    if expect and name != expect:
        raise WrongCluster(f"this is {name}, not {expect}", hint="check the address of each node")


def check_listener(purpose: Purpose, theirs: Hello) -> None:
    """Raises WrongCluster when no node of that role is dialed for this purpose.  It comes before the dialer's proof: a
    stranger who has a chunk server dial him cannot pass the proof on to a metadata node, as the listener's role is
    part of what is proven."""
    if purpose is not Purpose.CONTROL:
        wanted = Role.CHUNK if purpose is Purpose.BULK else Role.META
        if theirs.role is not wanted:
            raise WrongCluster(
                f"{theirs.name or 'the node'} is a {theirs.role.name}, not a {wanted.name}",
                hint="check the address of each node",
            )


class Handshake:
    """One side of Hello.

    Feed frames to :meth:`receive` until ``established`` is not None; send what ``start`` and ``receive`` return.
    Both raise DFSError when the connection must end: tell the peer (FAILURE, request 0) and close.
    """

    def __init__(
        self, identity: Identity, purpose: Purpose, nonce: bytes, cluster_time_ms: int, expect: str, dialer: bool
    ) -> None:
        self._key = identity.key
        self._dialer = dialer
        self._my_founding = identity.founding or UNKNOWN
        self._their_founding = UNKNOWN
        self._mine = Hello(
            MAGIC,
            *identity.versions,
            identity.role,
            purpose,
            bool(identity.key),
            nonce,
            identity.cluster or UNKNOWN,
            identity.incarnation or UNKNOWN,
            cluster_time_ms,
            identity.name,
            expect,
        )
        self._theirs = self._mine
        self._version = 0
        self._proofs = Proofs(b"", b"")
        self._sent = b""
        self.state = State.WELCOME if dialer else State.HELLO
        self.established: Established | None = None

    def start(self) -> bytes:
        """The dialer's first frame."""
        self._sent = _CODEC.encode(self._mine) + self._my_founding
        return encode_frame(FrameType.HELLO, 0, 0, self._sent)

    def receive(self, frame: Frame) -> bytes:
        """Take the peer's next frame; return what to send."""
        if frame.type is FrameType.FAILURE:
            raise decode_error(frame.code, frame.body)
        expected, step = _STEPS[self._dialer, self.state]
        if frame.type is not expected:
            raise BadRequest(f"{frame.type.name} where Hello wants {expected.name}")
        return step(self, frame.body)

    def _hello_came(self, body: bytes) -> bytes:
        self._read(body)
        check_name(self._mine.name, self._theirs.expect)
        if self._theirs.role is not Role.CLIENT and not self._theirs.keyed:
            raise Forbidden(
                f"{self._theirs.name} did not prove that it belongs to this cluster",
                hint="give it the cluster's key file",
            )
        self._check_purpose()
        # The purpose is the dialer's choice: the answer repeats it.
        welcome = _CODEC.encode(evolve(self._mine, purpose=self._theirs.purpose, expect="")) + self._my_founding
        if self._theirs.keyed:
            self._need_key()
            self._proofs = proofs(self._key, self._theirs.nonce + self._mine.nonce, body, welcome)
            self.state = State.PROOF
        else:
            self._finish(trusted=False)
        return encode_frame(FrameType.WELCOME, 0, 0, welcome)

    def _welcome_came(self, body: bytes) -> bytes:
        self._read(body)
        check_name(self._theirs.name, self._mine.expect)
        check_listener(self._mine.purpose, self._theirs)
        if not self._mine.keyed:
            self._finish(trusted=False)
            return b""
        if not self._theirs.keyed:
            raise Forbidden(f"{self._theirs.name} cannot prove that it belongs to this cluster")
        self._proofs = proofs(self._key, self._mine.nonce + self._theirs.nonce, self._sent, body)
        self.state = State.PROOF
        return encode_frame(FrameType.PROOF, 0, 0, self._proofs.dialer)

    def _dialer_proof_came(self, body: bytes) -> bytes:
        self._compare(body, self._proofs.dialer)
        self._finish(trusted=True)
        return encode_frame(FrameType.PROOF, 0, 0, self._proofs.listener)

    def _listener_proof_came(self, body: bytes) -> bytes:
        self._compare(body, self._proofs.listener)
        self._finish(trusted=True)
        return b""

    def _read(self, body: bytes) -> None:
        if body[:4] != MAGIC:
            raise BadRequest("this is no node of a dfs cluster, or of a version that cannot be understood")
        if len(body) < _VERSIONS.stop:
            raise BadRequest("malformed Hello: it is cut")
        mine = self._mine.min_version, self._mine.max_version
        self._version = check_version(mine, *body[_VERSIONS])  # first: what follows may be of a later version
        try:
            self._theirs, length = _CODEC.decode_first(body)
        except Malformed as error:
            raise BadRequest(f"malformed Hello: {error}") from None
        check_cluster(self._mine, self._theirs)
        if length < len(body) < length + FOUNDING_LENGTH:
            raise BadRequest("malformed Hello: its founding is cut")
        self._their_founding = body[length : length + FOUNDING_LENGTH] or UNKNOWN
        check_founding(self._my_founding, self._their_founding, self._theirs.name)

    def _check_purpose(self) -> None:
        if self._theirs.purpose in (Purpose.RAFT, Purpose.SNAPSHOT) and self._theirs.role is not Role.META:
            raise Forbidden(f"only metadata servers open {self._theirs.purpose.name} connections")

    def _need_key(self) -> None:
        if not self._key:
            raise Forbidden(f"{self._mine.name} holds no cluster key, so nothing can be proven to it")

    def _compare(self, shown: bytes, expected: bytes) -> None:
        if not same_mac(shown, expected):
            raise Forbidden(
                f"{self._theirs.name or 'the peer'} holds another cluster key",
                hint="every node of a cluster needs the same key file",
            )

    def _finish(self, trusted: bool) -> None:
        self.state = State.DONE
        self.established = Established(self._version, self._theirs, trusted, self._their_founding)


_STEPS: dict[tuple[bool, State], tuple[FrameType, Callable[[Handshake, bytes], bytes]]] = {
    # (we dialed, state): what must come, what it does
    (False, State.HELLO): (FrameType.HELLO, Handshake._hello_came),
    (False, State.PROOF): (FrameType.PROOF, Handshake._dialer_proof_came),
    (True, State.WELCOME): (FrameType.WELCOME, Handshake._welcome_came),
    (True, State.PROOF): (FrameType.PROOF, Handshake._listener_proof_came),
}
