"""Record a process's system calls with strace(1): for stores that write by themselves, as Berkeley DB does.

strace names the file behind each descriptor, writes every string in hexadecimal, and so leaves nothing to be
unescaped.  A call without a result (the process was killed in it) was not carried out.  What is not understood is
refused; that nothing was overlooked is shown by comparing the calls, carried out on the model, with the real folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence

from attrs import define, frozen

from dfs.test.crash.calls import Cut, Sync, SyncFolder, Write
from dfs.test.crash.recording import Recorder

CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,read,lseek,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,"
    "sync_file_range,fallocate,ftruncate,truncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,"
    "symlink,symlinkat,mmap,copy_file_range,sendfile,splice"
)
REFUSED = ("truncate", "link", "linkat", "symlink", "symlinkat", "copy_file_range", "splice", "dup2", "dup3", "dup")
MARKS = "marks"
"""The file beside the root into which the traced process writes its marks, a line each of tab-separated values."""

NOT_HERE = "strace is not installed or may not trace here"

_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(?:<(.*?)>(?:\(deleted\))?)?(?: .*)?$")
_NAMED = re.compile(r"(AT_FDCWD|-?\d+)(?:<(.*?)>(?:\(deleted\))?)?$")


class NotUnderstood(Exception):
    """A call that the model has no word for."""


def works() -> bool:
    """Whether a process can be traced here (ptrace may be forbidden in a container)."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


FAILED = 3
"""The exit status of a traced process that gave up with a sentence."""


@frozen
class Traced:
    """How a process ended.

    :ivar status: 0, FAILED, or KILLED.
    :ivar said: what it wrote to standard error.
    :ivar injected: whether a fault was put in (for a kill: whether it came to it).
    """

    status: int
    said: str
    injected: bool


KILLED = -9


def trace(recorder: Recorder, command: Sequence[str], *options: str, timeout: float = 120.0) -> Traced:
    """Run a command to its end and record it.  Raises AssertionError where it ends in any other way than it may.

    :param options: more for strace, such as ``-e inject=...``.
    """
    with tempfile.NamedTemporaryFile(prefix="dfs-strace-", suffix=".txt") as output:
        fast = [] if options else ["--seccomp-bpf"]  # with it, signals are not injected
        front = ["strace", *fast, "-f", "-y", "-xx", "-s", "16777216", "-o", output.name, "-e", f"trace={CALLS}"]
        done = subprocess.run(
            [*front, *options, *command], capture_output=True, text=True, timeout=timeout, check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        with open(output.name, encoding="ascii") as file:
            lines = file.readlines()
    Parser(recorder).feed(lines)
    status = KILLED if done.returncode in (KILLED, 128 - KILLED) else done.returncode
    if status not in (0, FAILED, KILLED) or "Traceback" in done.stderr:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Traced(status, done.stderr, status == KILLED or any("(INJECTED)" in line for line in lines))


@define
class _Descriptor:
    """An open file or folder below the root."""

    path: str
    inode: int | None
    offset: int = 0
    appends: bool = False


class Parser:
    """Feeds a recorder from strace's lines."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._marks = f"{recorder.root}.{MARKS}"
        self._open: dict[int, _Descriptor] = {}

    def feed(self, lines: Iterable[str]) -> None:
        """Take every line that has a result."""
        for line in lines:
            match = _LINE.match(line)
            if match is None or match[3].startswith("-"):
                continue
            result = int(match[3], 0)
            self._take(match[1], match[2].split(", "), result)

    def _take(self, name: str, arguments: list[str], result: int) -> None:
        take = getattr(self, f"_take_{name}", None)
        if take is not None:
            take(arguments, result)
        elif name in REFUSED and any(self._mentions(argument) for argument in arguments):
            raise NotUnderstood(f"{name}({', '.join(arguments)[:200]})")

    def _mentions(self, argument: str) -> bool:
        named = _NAMED.match(argument)
        path = decoded(named[2] or "") if named else decoded(argument.strip('"')) if argument.startswith('"') else ""
        return self._recorder.inside(path) is not None

    def _path(self, folder: str, argument: str) -> str | None:
        """The path of an *at call inside the root, or None."""
        path = decoded(argument.strip('"'))
        named = _NAMED.match(folder)
        if not path.startswith("/"):
            path = os.path.join(decoded(named[2] or "") if named else "", path)
        return self._recorder.inside(os.path.normpath(path))

    def _descriptor(self, argument: str) -> _Descriptor | None:
        named = _NAMED.match(argument)
        return self._open.get(int(named[1])) if named and named[1] != "AT_FDCWD" else None

    # ---- names ----------------------------------------------------------------------------------

    def _take_open(self, arguments: list[str], result: int) -> None:
        self._take_openat(["AT_FDCWD", *arguments], result)

    def _take_openat(self, arguments: list[str], result: int) -> None:
        self._open.pop(result, None)
        path = self._path(arguments[0], arguments[1])
        if path is None:
            return
        flags = arguments[2].split("|")
        if path in self._recorder.folders:
            self._open[result] = _Descriptor(path, None)
            return
        inode = self._recorder.opened(path)
        if "O_TRUNC" in flags:
            self._recorder.note(Cut(inode, 0))
        self._open[result] = _Descriptor(path, inode, appends="O_APPEND" in flags)

    def _take_close(self, arguments: list[str], result: int) -> None:
        named = _NAMED.match(arguments[0])
        if named and named[1] != "AT_FDCWD":
            self._open.pop(int(named[1]), None)

    def _take_fcntl(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if arguments[1].startswith("F_DUPFD") and found is not None:
            if found.inode is not None:
                raise NotUnderstood(f"a second descriptor of {found.path}, which shares its offset")
            self._open[result] = found

    def _take_rename(self, arguments: list[str], result: int) -> None:
        self._take_renameat(["AT_FDCWD", arguments[0], "AT_FDCWD", arguments[1]], result)

    def _take_renameat(self, arguments: list[str], result: int) -> None:
        source, target = self._path(arguments[0], arguments[1]), self._path(arguments[2], arguments[3])
        if (source is None) != (target is None):
            raise NotUnderstood(f"a rename across the root: {source} to {target}")
        if source is not None and target is not None:
            self._recorder.renamed(source, target)

    _take_renameat2 = _take_renameat

    def _take_unlink(self, arguments: list[str], result: int) -> None:
        self._take_unlinkat(["AT_FDCWD", arguments[0]], result)

    def _take_unlinkat(self, arguments: list[str], result: int) -> None:
        path = self._path(arguments[0], arguments[1])
        if path is not None:
            self._recorder.removed(path)

    _take_rmdir = _take_unlink

    def _take_mkdir(self, arguments: list[str], result: int) -> None:
        self._take_mkdirat(["AT_FDCWD", arguments[0]], result)

    def _take_mkdirat(self, arguments: list[str], result: int) -> None:
        path = self._path(arguments[0], arguments[1])
        if path is not None:
            self._recorder.folder_made(path)

    # ---- bytes ----------------------------------------------------------------------------------

    def _take_read(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if found is not None:
            found.offset += result

    def _take_lseek(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if found is not None:
            found.offset = result

    def _take_write(self, arguments: list[str], result: int) -> None:
        named = _NAMED.match(arguments[0])
        if named and decoded(named[2] or "") == self._marks:
            for line in content_of(arguments[1]).decode().splitlines():
                self._recorder.mark(*line.split("\t"))
            return
        found = self._descriptor(arguments[0])
        if found is None or found.inode is None:
            return
        if found.appends:
            raise NotUnderstood(f"an append to {found.path}")
        self._wrote(found.inode, found.offset, content_of(arguments[1])[:result])
        found.offset += result

    def _wrote(self, inode: int, offset: int, content: bytes) -> None:
        self._recorder.note(Write(inode, offset, content))

    def _take_pwrite64(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if found is not None and found.inode is not None:
            self._wrote(found.inode, int(arguments[3]), content_of(arguments[1])[:result])

    def _take_pwritev(self, arguments: list[str], result: int) -> None:
        """``[{iov_base="...", iov_len=n}, ...], count, offset``: the list was split with the rest."""
        found = self._descriptor(arguments[0])
        if found is None or found.inode is None:
            return
        joined = ", ".join(arguments[1:])
        pieces, rest = joined.rsplit("], ", 1)
        content = b"".join(content_of(piece) for piece in re.findall(r'iov_base=("[^"]*")', pieces))
        self._wrote(found.inode, int(rest.split(", ")[1]), content[:result])

    _take_pwritev2 = _take_pwritev

    def _take_writev(self, arguments: list[str], result: int) -> None:
        if self._descriptor(arguments[0]) is not None:
            raise NotUnderstood("writev")

    _take_sendfile = _take_writev

    def _take_ftruncate(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if found is not None and found.inode is not None:
            self._recorder.note(Cut(found.inode, int(arguments[1])))

    def _take_fsync(self, arguments: list[str], result: int) -> None:
        found = self._descriptor(arguments[0])
        if found is not None:
            self._recorder.note(SyncFolder(found.path) if found.inode is None else Sync(found.inode))

    _take_fdatasync = _take_fsync

    def _take_mmap(self, arguments: list[str], result: int) -> None:
        """A store that writes through memory leaves no calls to record."""
        if "PROT_WRITE" in arguments[2] and "MAP_SHARED" in arguments[3] and self._descriptor(arguments[4]) is not None:
            raise NotUnderstood(f"a shared writable map: {', '.join(arguments)}")


def content_of(argument: str) -> bytes:
    """The bytes of a quoted string, every one of them in hexadecimal."""
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def decoded(text: str) -> str:
    """A path that strace wrote."""
    return os.fsdecode(content_of(text)) if text.startswith("\\x") else text
