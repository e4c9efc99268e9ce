"""The machine's limit: a bare pipeline that moves, hashes and syncs the same bytes, and nothing else.

Three server processes and a client, blocking sockets, one thread a connection, 1 MiB
buffers that are reused: the interpreter only chains system calls and hashlib, both
of which release its lock, so this runs at C speed.  No placement, no metadata, no
checksums but the SHA-256 that each of the four computes, no recovery.

Up: the client reads, hashes and sends each chunk to a primary, which forwards to the
two others while it receives; each of the three writes a file, fdatasync, rename, fsync
of the folder, and answers.  Down: a server reads and sends, the client hashes and writes.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

CHUNK = 4 << 20
BUFFER = 1 << 20
HEADER = struct.Struct(">BQII")  # kind, chunk index, length, peers to forward to
PUT, GET = 1, 2


def receive_exactly(sock: socket.socket, view: memoryview) -> None:
    """Fill the view.  Raises EOFError."""
    while len(view):
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]


def dial(port: int) -> socket.socket:
    """A connection to a server of ours."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Server:
    """One of the three."""

    def __init__(self, folder: str, peers: list[int]) -> None:
        self._folder = folder
        self._peers = peers

    def path(self, index: int) -> str:
        return os.path.join(self._folder, f"{index:08x}")

    def serve(self, sock: socket.socket) -> None:
        """One connection, to its end."""
        buffer = bytearray(BUFFER)
        header = bytearray(HEADER.size)
        links: list[socket.socket] = []
        try:
            while True:
                receive_exactly(sock, memoryview(header))
                kind, index, length, forward = HEADER.unpack(header)
                if kind == PUT:
                    if forward and not links:
                        links = [dial(port) for port in self._peers[:forward]]
                    self.put(sock, links if forward else [], buffer, index, length)
                else:
                    self.get(sock, buffer, index, length)
        except (EOFError, ConnectionError):
            return
        finally:
            for link in links:
                link.close()
            sock.close()

    def put(self, sock: socket.socket, links: list[socket.socket], buffer: bytearray, index: int, length: int) -> None:
        for link in links:
            link.sendall(HEADER.pack(PUT, index, length, 0))
        digest = hashlib.sha256()
        file = os.open(self.path(index) + ".tmp", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        left = length
        while left:
            view = memoryview(buffer)[: min(left, BUFFER)]
            receive_exactly(sock, view)
            for link in links:
                link.sendall(view)
            digest.update(view)
            os.write(file, view)
            left -= len(view)
        os.fdatasync(file)
        os.close(file)
        os.rename(self.path(index) + ".tmp", self.path(index))
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        for link in links:
            receive_exactly(link, memoryview(bytearray(32)))
        sock.sendall(digest.digest())

    def get(self, sock: socket.socket, buffer: bytearray, index: int, length: int) -> None:
        file = os.open(self.path(index), os.O_RDONLY)
        left = length
        while left:
            view = memoryview(buffer)[: min(left, BUFFER)]
            left -= os.preadv(file, [view], length - left)
            sock.sendall(view)
        os.close(file)


def run_server(folder: str) -> None:
    """A process: prints its port, reads its peers' ports, serves until stdin ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    server = Server(folder, [int(port) for port in sys.stdin.readline().split()])

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=server.serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


class Pipeline:
    """The client's side, and the three processes."""

    def __init__(self, folder: str, copies: int = 3) -> None:
        self._copies = copies
        self._processes: list[subprocess.Popen[str]] = []
        for number in range(copies):
            place = os.path.join(folder, f"server-{number}")
            os.makedirs(place)
            command = [sys.executable, os.path.abspath(__file__), place]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        self._ports = [int(process.stdout.readline()) for process in self._processes if process.stdout]
        for number, process in enumerate(self._processes):
            peers = [port for other, port in enumerate(self._ports) if other != number]
            assert process.stdin is not None
            process.stdin.write(" ".join(map(str, peers)) + "\n")
            process.stdin.flush()

    def pids(self) -> list[int]:
        """Of the three servers."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        for process in self._processes:
            process.communicate()

    def _in_parallel(
        self, count: int, parallel: int, work: Callable[[int, list[socket.socket], bytearray], None]
    ) -> float:
        """Seconds for all chunks, ``parallel`` threads taking them in turn."""
        chunks = iter(range(count))
        lock = threading.Lock()
        failures: list[BaseException] = []

        def run() -> None:
            links = [dial(port) for port in self._ports]
            buffer = bytearray(BUFFER)
            try:
                while True:
                    with lock:
                        index = next(chunks, None)
                    if index is None:
                        return
                    work(index, links, buffer)
            except BaseException as failure:  # noqa: BLE001 - raised again by the thread that waits
                failures.append(failure)
            finally:
                for link in links:
                    link.close()

        threads = [threading.Thread(target=run) for _ in range(parallel)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return time.perf_counter() - began

    def up(self, path: str, parallel: int = 4) -> float:
        """Seconds to store the file at ``path`` in all copies, durable."""
        size = os.path.getsize(path)
        source = os.open(path, os.O_RDONLY)

        def send(index: int, links: list[socket.socket], buffer: bytearray) -> None:
            length = min(CHUNK, size - index * CHUNK)
            link = links[index % self._copies]
            link.sendall(HEADER.pack(PUT, index, length, self._copies - 1))
            digest = hashlib.sha256()
            sent = 0
            while sent < length:
                view = memoryview(buffer)[: min(BUFFER, length - sent)]
                count = os.preadv(source, [view], index * CHUNK + sent)
                digest.update(view[:count])
                link.sendall(view[:count])
                sent += count
            answer = bytearray(32)
            receive_exactly(link, memoryview(answer))
            if answer != digest.digest():
                raise AssertionError("the bare pipeline lost bytes")

        try:
            return self._in_parallel(-(-size // CHUNK), parallel, send)
        finally:
            os.close(source)

    def down(self, path: str, size: int, parallel: int = 4) -> float:
        """Seconds to fetch it back into ``path``, hashed and synced."""
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        began = time.perf_counter()

        def fetch(index: int, links: list[socket.socket], buffer: bytearray) -> None:
            length = min(CHUNK, size - index * CHUNK)
            link = links[index % self._copies]
            link.sendall(HEADER.pack(GET, index, length, 0))
            digest = hashlib.sha256()
            got = 0
            while got < length:
                view = memoryview(buffer)[: min(BUFFER, length - got)]
                receive_exactly(link, view)
                digest.update(view)
                os.pwritev(target, [view], index * CHUNK + got)
                got += len(view)

        try:
            self._in_parallel(-(-size // CHUNK), parallel, fetch)
            os.fdatasync(target)
            return time.perf_counter() - began
        finally:
            os.close(target)


if __name__ == "__main__":
    run_server(sys.argv[1])
