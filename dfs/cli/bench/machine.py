"""What this machine can do, measured on the spot: what the figures of a cluster on it are to be held against.

Everything here blocks, for about a second in all, and belongs on a thread.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable

from attrs import frozen

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk

MIB = 1 << 20
SECONDS = 0.3
"""For each figure."""

DISK = 64 * MIB
"""Bytes written at most."""


@frozen
class Machine:
    """Bytes a second: ``disk`` written and synced MiB by MiB (0 where that was not possible), through ``loopback``
    in one connection, hashed with ``sha256`` by one core; ``sync`` is one write and sync of 4 KiB, in seconds."""

    disk: float
    sync: float
    loopback: float
    sha256: float


def measure(disk: IDisk, folder: str, nonce: str) -> Machine:
    """All of it.  ``folder`` must be there; the file made in it is removed again."""
    block = os.urandom(MIB)
    try:
        rate, sync = disk_rate(disk, os.path.join(folder, f".bench-{nonce}"), block)
    except DiskError:
        rate, sync = 0.0, 0.0  # said as such: a folder that takes no file is no reason not to measure the cluster
    return Machine(rate, sync, loopback_rate(block), repeated(lambda: hashlib.sha256(block).digest(), MIB))


def repeated(work: Callable[[], object], length: int) -> float:
    """Bytes a second of ``work``, which handles ``length`` of them each time."""
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        work()
        count += 1
    return count * length / spent


def disk_rate(disk: IDisk, path: str, block: bytes) -> tuple[float, float]:
    """(bytes a second of synced MiBs, seconds of one sync of 4 KiB).  Raises DiskError."""
    file = disk.open(path, create=True, exclusive=True)
    try:
        at, began = 0, time.perf_counter()
        while at < DISK and time.perf_counter() - began < SECONDS:
            at += file.pwrite([block], at)
            file.sync()
        rate = at / (time.perf_counter() - began)
        times = []
        for number in range(20):
            began = time.perf_counter()
            file.pwrite([block[:4096]], number * 4096)
            file.sync()
            times.append(time.perf_counter() - began)
        return rate, sorted(times)[len(times) // 2]
    finally:
        file.close()
        disk.unlink(path)


def loopback_rate(block: bytes) -> float:
    """Bytes a second from one socket to another of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname(), timeout=10.0) as sender:
            receiver, _ = listener.accept()
            with receiver:
                reader = threading.Thread(target=_drain, args=(receiver, bytearray(MIB)))
                reader.start()
                rate = repeated(lambda: sender.sendall(block), MIB)
                sender.shutdown(socket.SHUT_WR)
                reader.join()
    return rate


def _drain(receiver: socket.socket, buffer: bytearray) -> None:
    while receiver.recv_into(buffer):
        pass
