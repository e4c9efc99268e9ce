"""Set up .venv for this clone: `make setup`.  Needs Python 3.11 or newer and nothing else, asks nothing.

Neither pip, ensurepip nor python3-venv need be there: the environment is made without pip, and pip's
own wheel is fetched from the configured index.  Berkeley DB is optional: its headers are installed where
that works without a question, otherwise semidbm serves.  DFS_SETUP_APT=no leaves the system's packages alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an older one may well be what runs this
    raise SystemExit("setup: Python 3.11 or newer is needed; name it with: make PYTHON=python3.11 setup")

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.stamp"
LOG = ROOT / ".build" / "setup.log"
APT_TIMEOUT = 300  # seconds
PIP_TIMEOUT = 1200  # seconds


def say(sentence: str) -> None:
    print(f"setup: {sentence}", flush=True)


def run(arguments: list[str], timeout: float, **environ: str) -> bool:
    """Whether a command succeeded; what it says goes to the log, and it has no one to ask."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(arguments)}\n")
        log.flush()
        try:
            done = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=timeout, check=False,
                cwd=ROOT, env={**os.environ, **environ},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            log.write(f"{error}\n")
            return False
    return done.returncode == 0


def give_up(sentence: str) -> SystemExit:
    tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if LOG.exists() else []
    quoted = "\n".join(f"    {line}" for line in tail)
    return SystemExit(f"{quoted}\nsetup: {sentence} The whole log is in {LOG.relative_to(ROOT)}.")


def fingerprint() -> str:
    """What the environment was made from: when it changes, setup runs again."""
    parts = [str(ROOT).encode(), (ROOT / "pyproject.toml").read_bytes(), Path(__file__).read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def make_environment() -> None:
    if run([str(PYTHON), "-c", f"import sys; sys.exit(sys.prefix != {str(VENV)!r})"], 60):
        return
    if VENV.exists():
        say("the old .venv does not run here and is replaced")
        shutil.rmtree(VENV)
    say(f"making .venv with Python {sys.version.split()[0]}")
    if not run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], 120):
        raise give_up("the environment cannot be made; on Debian and Ubuntu install the package python3 in full.")


def make_pip() -> None:
    """pip in the environment: there already, from ensurepip, or from its own wheel."""
    if run([str(PYTHON), "-m", "pip", "--version"], 60):
        return
    if run([str(PYTHON), "-m", "ensurepip"], 120):
        return
    say("fetching pip from the package index")
    import pipwheel

    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = pipwheel.download(Path(folder), dict(os.environ))
        except (OSError, ValueError) as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error) or not apt_install("ca-certificates"):
                raise give_up(
                    f"pip could not be fetched ({error}). Check the network, or name an index with PIP_INDEX_URL, "
                    "then run it again."
                ) from error
            wheel = pipwheel.download(Path(folder), dict(os.environ))
        if not run([str(PYTHON), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)], PIP_TIMEOUT):
            raise give_up("pip was fetched but does not install.")


def pip_install(target: str) -> bool:
    return run([str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
                "--editable", target], PIP_TIMEOUT)  # fmt: skip


def apt_install(*packages: str) -> bool:
    """Install system packages as root, or with a sudo that needs no password; False where that cannot be done."""
    if shutil.which("apt-get") is None or os.environ.get("DFS_SETUP_APT") == "no":
        return False
    root: list[str] = []
    if os.geteuid() != 0:
        root = ["sudo", "-n"]
        if shutil.which("sudo") is None or not run([*root, "true"], 10):
            return False
    command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=60"]
    install = [*command, "install", "-y", "--no-install-recommends", *packages]
    return run(install, APT_TIMEOUT) or (run([*command, "update"], APT_TIMEOUT) and run(install, APT_TIMEOUT))


def make_berkeleydb() -> None:
    if run([str(PYTHON), "-c", "import berkeleydb.db"], 60):
        say("Berkeley DB is there")
        return
    headers = Path("/usr/include/db.h").exists()
    compiler = shutil.which("cc") is not None or shutil.which("gcc") is not None
    python_headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    if not (headers and compiler and python_headers):
        say("installing Berkeley DB's headers and a compiler")
        tools = [] if compiler else ["gcc", "libc6-dev"]
        tools += [] if python_headers else [f"python{sys.version_info.major}.{sys.version_info.minor}-dev"]
        if not apt_install("libdb5.3-dev", *tools) and not apt_install("libdb-dev", *tools):
            say("Berkeley DB's headers cannot be installed without asking; semidbm serves as the store")
            return
    if pip_install(".[test,berkeleydb]"):
        say("Berkeley DB is there")
    else:
        say(f"Berkeley DB does not build here ({LOG.relative_to(ROOT)} tells why); semidbm serves as the store")


def main() -> None:
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == fingerprint() and os.access(PYTHON, os.X_OK):
        return
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text("", encoding="utf-8")
    make_environment()
    make_pip()
    say("installing the project and the tools of its tests")
    if not pip_install(".[test]"):
        raise give_up(
            "the packages could not be installed. Check the network, or name an index with PIP_INDEX_URL, "
            "then run it again."
        )
    make_berkeleydb()
    STAMP.write_text(fingerprint(), encoding="utf-8")
    say("done")


if __name__ == "__main__":
    main()
