"""MooseFS: a master, three chunk servers, goal 3, mounted with FUSE; files by copying into the mount.

It needs root and /dev/fuse.  It acknowledges before its disks are synced.  Its chunk servers refuse 127.0.0.1, so all
of it runs in a network namespace of its own, whose loopback interface has one more address.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from bench.peers.install import libraries, program
from bench.peers.processes import Peer, free_ports, wait

BUFFER = 1 << 20
HOST = "10.99.0.1"  # inside the namespace only


class MooseFS(Peer):
    """Use with ``with``."""

    name = "MooseFS"
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.mount = self.processes.path("mount")
        self._namespace = f"dfs-moosefs-{os.getpid()}"

    def end(self) -> None:
        if os.path.ismount(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=False)
        super().end()
        subprocess.run(["ip", "netns", "del", self._namespace], check=False, capture_output=True)

    def _inside(self, *command: str) -> list[str]:
        """The network is the namespace's; files and mounts are everybody's."""
        return ["nsenter", f"--net=/run/netns/{self._namespace}", "--", *command]

    def _listens(self, port: int) -> bool:
        found = subprocess.run(self._inside("ss", "-Hltn", f"sport = :{port}"), capture_output=True, check=False)
        return bool(found.stdout.strip())

    def _configure(self, name: str, **settings: object) -> str:
        path = os.path.join(self.processes.folder, f"{name}.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        return path

    def begin(self) -> None:
        run, environment = self.processes, libraries()
        subprocess.run(["ip", "netns", "add", self._namespace], check=True)
        subprocess.run(self._inside("ip", "link", "set", "lo", "up"), check=True)
        subprocess.run(self._inside("ip", "addr", "add", f"{HOST}/32", "dev", "lo"), check=True)
        matoml, matocs, matocl, *serving = free_ports(6)
        data = run.path("master")
        exports = os.path.join(run.folder, "exports.cfg")
        with open(exports, "w", encoding="utf-8") as file:
            file.write(f"{HOST} / rw,alldirs,admin,maproot=0:0\n")
        with open(os.path.join(data, "metadata.mfs"), "wb") as file:
            file.write(b"MFSM NEW")
        common = {"WORKING_USER": "root", "WORKING_GROUP": "root", "LOCK_MEMORY": 0, "NICE_LEVEL": 0}
        config = self._configure(
            "master", DATA_PATH=data, EXPORTS_FILENAME=exports, MATOML_LISTEN_HOST=HOST,
            MATOML_LISTEN_PORT=matoml, MATOCS_LISTEN_HOST=HOST, MATOCS_LISTEN_PORT=matocs,
            MATOCL_LISTEN_HOST=HOST, MATOCL_LISTEN_PORT=matocl, **common,
        )  # fmt: skip
        run.start("master", self._inside(program("mfsmaster"), "-c", config, "-f", "start"), environment)
        wait(lambda: self._listens(matocl), "the master of MooseFS")
        for number, port in enumerate(serving):
            disks = os.path.join(run.folder, f"disks-{number}.cfg")
            with open(disks, "w", encoding="utf-8") as file:
                file.write(run.path(f"disk-{number}") + "\n")
            config = self._configure(
                f"chunk-{number}", DATA_PATH=run.path(f"chunk-{number}"), HDD_CONF_FILENAME=disks,
                MASTER_HOST=HOST, MASTER_PORT=matocs, CSSERV_LISTEN_HOST=HOST,
                CSSERV_LISTEN_PORT=port, BIND_HOST=HOST, HDD_LEAVE_SPACE_DEFAULT="256MiB", **common,
            )  # fmt: skip
            command = self._inside(program("mfschunkserver"), "-c", config, "-f", "start")
            run.start(f"chunk-{number}", command, environment)
            wait(lambda port=port: self._listens(port), "a chunk server of MooseFS")  # type: ignore[misc]
        run.start(
            "mount",
            self._inside(program("mfsmount"), "-f", "-H", HOST, "-P", str(matocl), "-o", "mfsioretries=3", self.mount),
            environment,
        )
        wait(lambda: os.path.ismount(self.mount), "the mount of MooseFS")
        goal = self._inside(program("mfssetgoal"), "-r", "3", self.mount)
        subprocess.run(goal, env=environment, check=True, capture_output=True)
        wait(self._takes_files, "MooseFS")

    def _takes_files(self) -> bool:
        try:
            self.put_bytes("ready", b"ready")
        except OSError:
            return False
        return True

    def put_bytes(self, name: str, body: bytes) -> None:
        """A small file."""
        with open(os.path.join(self.mount, name), "wb", buffering=0) as file:
            file.write(body)

    def get_bytes(self, name: str) -> bytes:
        """Its bytes."""
        with open(os.path.join(self.mount, name), "rb", buffering=0) as file:
            return file.read()

    def up(self, source: str, number: int) -> None:
        """Copy into the mount; closing hands the last bytes over."""
        with open(source, "rb", buffering=0) as read, open(f"{self.mount}/{number}", "wb", buffering=0) as written:
            shutil.copyfileobj(read, written, BUFFER)

    def down(self, number: int, out: str) -> None:
        """Copy out of it."""
        with open(f"{self.mount}/{number}", "rb", buffering=0) as read, open(out, "wb", buffering=0) as written:
            shutil.copyfileobj(read, written, BUFFER)

    def forget(self, number: int) -> None:
        """Remove a file."""
        os.unlink(f"{self.mount}/{number}")
