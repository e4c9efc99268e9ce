"""SeaweedFS: a master, three volume servers, a filer, three copies; files by HTTP to the filer.

It acknowledges before its disks are synced, and the volume servers' replicas are written by the first one.
"""

from __future__ import annotations

import http.client
import os

from bench.peers.install import program
from bench.peers.processes import Peer, free_ports, listens, wait

BUFFER = 1 << 20


class SeaweedFS(Peer):
    """Use with ``with``."""

    name = "SeaweedFS"
    durable = False

    def begin(self) -> None:
        weed, run = program("weed"), self.processes
        # gRPC ports are given: by default they lie 10,000 above, which may be out of range
        ports = free_ports(10)
        master, self._filer = ports[0], ports[2]
        common = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        run.start(
            "master",
            [weed, "master", *common, f"-port={master}", f"-port.grpc={ports[1]}", f"-mdir={run.path('master')}",
             "-defaultReplication=002", "-volumeSizeLimitMB=4096"],
        )  # fmt: skip
        wait(lambda: listens(master), "the master of SeaweedFS")
        address = f"127.0.0.1:{master}.{ports[1]}"
        for number in range(3):
            port, grpc = ports[4 + 2 * number : 6 + 2 * number]
            run.start(
                f"volume-{number}",
                [weed, "volume", *common, f"-port={port}", f"-port.grpc={grpc}", f"-dir={run.path(f'v{number}')}",
                 f"-mserver={address}", "-max=20", "-dataCenter=dc", "-rack=r"],
            )  # fmt: skip
            wait(lambda port=port: listens(port), "a volume server of SeaweedFS")  # type: ignore[misc]
        run.start(
            "filer",
            [weed, "filer", *common, f"-port={self._filer}", f"-port.grpc={ports[3]}", f"-master={address}",
             f"-defaultStoreDir={run.path('filer')}", "-maxMB=4"],
        )  # fmt: skip
        wait(lambda: listens(self._filer), "the filer of SeaweedFS")
        wait(self._takes_files, "SeaweedFS")

    def _takes_files(self) -> bool:
        try:
            self.put_bytes("/ready", b"ready")
        except OSError:
            return False
        return True

    def connect(self) -> http.client.HTTPConnection:
        """One kept-alive connection to the filer."""
        return http.client.HTTPConnection("127.0.0.1", self._filer, timeout=120)

    def put_bytes(self, path: str, body: bytes, connection: http.client.HTTPConnection | None = None) -> None:
        """Raises OSError."""
        used = connection or self.connect()
        used.request("PUT", path, body, {"Content-Length": str(len(body))})
        answer = used.getresponse()
        answer.read()
        if answer.status >= 300:
            raise OSError(f"SeaweedFS answered {answer.status}")

    def get_bytes(self, path: str, connection: http.client.HTTPConnection) -> bytes:
        """Raises OSError."""
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise OSError(f"SeaweedFS answered {answer.status}")
        return body

    def up(self, source: str, number: int) -> None:
        """A file, streamed."""
        connection = self.connect()
        with open(source, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            connection.blocksize = BUFFER
            connection.request("PUT", f"/bench/{number}", file, {"Content-Length": str(size)})
            answer = connection.getresponse()
            answer.read()
        if answer.status >= 300:
            raise OSError(f"SeaweedFS answered {answer.status}")

    def down(self, number: int, out: str) -> None:
        """The file into ``out``."""
        connection = self.connect()
        connection.request("GET", f"/bench/{number}")
        answer = connection.getresponse()
        buffer = bytearray(BUFFER)
        with open(out, "wb", buffering=0) as file:
            while count := answer.readinto(buffer):
                file.write(memoryview(buffer)[:count])

    def forget(self, number: int) -> None:
        """Remove a file."""
        connection = self.connect()
        connection.request("DELETE", f"/bench/{number}")
        connection.getresponse().read()
