"""Addresses of nodes, and the client endpoints that reach them."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from dfs.runtime.errors import SettingError

CONNECT_TIMEOUT = 5.0
"""Seconds until an attempt to connect is given up."""


@frozen(order=True)
class Address:
    """Where a node listens.  ``host`` is an IP literal without brackets or a name; ``port`` 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host:port``, ``1.2.3.4:port`` or ``[::1]:port``; raises SettingError with a sentence."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not isIPv6Address(host):
            raise SettingError(f"{text!r} is not an address: what stands in brackets must be an IPv6 address")
    elif ":" in host:
        raise SettingError(f"{text!r} is not an address: write an IPv6 address in brackets, as in [::1]:7000")
    if not colon or not host or any(letter.isspace() or letter in "/[]" for letter in host):
        raise SettingError(f"{text!r} is not an address: write host:port, as in 127.0.0.1:7000")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise SettingError(f"{text!r} is not an address: the port must be a number from 1 to 65535")
    return Address(host, int(port))


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Addresses separated by commas, each once, in their order; empty text is none."""
    parts = [part for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(parse_address(part) for part in parts))


def endpoint(reactor: Any, address: Address, timeout: float = CONNECT_TIMEOUT) -> IStreamClientEndpoint:
    """The client endpoint for an address; an attempt never outlives ``timeout`` seconds."""
    if isIPAddress(address.host):
        return TCP4ClientEndpoint(reactor, address.host, address.port, timeout=timeout)
    if isIPv6Address(address.host):
        return TCP6ClientEndpoint(reactor, address.host, address.port, timeout=timeout)
    return HostnameEndpoint(reactor, address.host, address.port, timeout=timeout)
