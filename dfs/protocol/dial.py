"""Opens a connection and finishes Hello."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from dfs.protocol.connection import Connection
from dfs.protocol.errors import BadRequest, Cancelled, DeadlinePassed, DFSError, Disconnected
from dfs.protocol.hello import NONCE_LENGTH, Handshake
from dfs.protocol.interfaces import IConnection, Identity, IService
from dfs.protocol.values import Purpose
from dfs.runtime.dial import endpoint, parse_address
from dfs.runtime.errors import SettingError
from dfs.runtime.interfaces import Runtime


def no_time() -> int:
    """The cluster time of a node that does not know it."""
    return 0


class _Dial:
    """One attempt: from the socket to the end of Hello.  Whatever ends it first decides; the rest is undone."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connecting: Deferred[object] | None = None
        self._connection: Connection | None = None
        self._over = False
        self.result: Deferred[IConnection] = Deferred(lambda _: self._fail(Cancelled("the caller gave up")))

    def start(self, runtime: Runtime, make: Callable[[_Dial], Connection], timeout: float) -> None:
        """Begin.  Raises SettingError for what is no address."""
        target = endpoint(runtime.reactor, parse_address(self._address), timeout)
        self._timer = runtime.reactor.callLater(timeout, self._expired, timeout)
        factory = Factory.forProtocol(lambda: self._keep(make(self)))
        factory.noisy = False  # a line in the log for each connection tells nobody anything
        connecting = target.connect(factory)
        self._connecting = connecting.addErrback(self._not_connected)

    def _keep(self, connection: Connection) -> Connection:
        connection.factory = None
        self._connection = connection
        return connection

    def established(self) -> None:
        """Hello is finished."""
        if not self._over and self._connection is not None:
            self._finish()
            self.result.callback(self._connection)

    def ended(self, reason: DFSError) -> None:
        """The connection ended; after Hello that is nobody's business here."""
        self._fail(reason)

    def _not_connected(self, failure: Failure) -> None:
        if failure.check(ConnectTimeout):
            self._fail(Disconnected(f"{self._address} did not answer", nodes=(self._address,)))
        elif failure.check(ConnectionRefusedError):
            self._fail(Disconnected(f"{self._address} refuses connections: no node runs there", nodes=(self._address,)))
        elif failure.check(ConnectError):
            self._fail(Disconnected(f"{self._address} cannot be reached: {failure.value}", nodes=(self._address,)))
        else:
            self._fail(Disconnected(f"{self._address} cannot be reached: {failure.getErrorMessage()}"))

    def _expired(self, timeout: float) -> None:
        self._fail(DeadlinePassed(f"{self._address} did not answer within {timeout:g} s", nodes=(self._address,)))

    def _fail(self, error: DFSError) -> None:
        if self._over:
            return
        self._finish()
        if self._connection is not None and self._connection.transport is not None:
            self._connection.abort()
        elif self._connecting is not None:
            self._connecting.cancel()
        self.result.errback(error)

    def _finish(self) -> None:
        self._over = True
        if self._timer.active():
            self._timer.cancel()


def connect(
    runtime: Runtime,
    address: str,
    identity: Identity,
    purpose: Purpose,
    service: IService | None = None,
    expect: str = "",
    timeout: float = 5.0,
    cluster_time: Callable[[], int] = no_time,
) -> Deferred[IConnection]:
    """Connect to ``address`` and say Hello as ``identity``.

    ``expect`` is the name of the node that must be there ("" any); ``cluster_time`` gives ours in ms.  Fails with
    DFSError: Disconnected and DeadlinePassed when nobody answers within ``timeout`` seconds, WrongCluster, Forbidden
    or VersionMismatch when the wrong one does, BadRequest when ``address`` is none.
    """

    def make(dial: _Dial) -> Connection:
        nonce = runtime.entropy(NONCE_LENGTH)
        handshake = Handshake(identity, purpose, nonce, cluster_time(), expect, dialer=True)
        return Connection(runtime.reactor, handshake, True, service, dial.established, dial.ended)

    dial = _Dial(address)
    try:
        dial.start(runtime, make, timeout)
    except SettingError as error:
        return fail(BadRequest(str(error)))
    return dial.result
