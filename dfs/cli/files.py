"""upload, download, list, delete, stat."""

from __future__ import annotations

import argparse
import os
import stat as modes
import sys
from typing import Any, BinaryIO

from attrs import asdict
from twisted.internet.defer import Deferred

from dfs.cli.errors import UsageError
from dfs.cli.output import Bar, print_json, printable, show_time, table
from dfs.client.api import Client
from dfs.client.errors import LocalFileError
from dfs.client.upload import show_digest
from dfs.protocol.messages import FileInfo
from dfs.runtime.interfaces import IThreads
from dfs.runtime.options import CHUNK_SIZE, PARALLEL, REPLICATION
from dfs.runtime.settings import Settings
from dfs.runtime.units import format_size


def check_single(options: argparse.Namespace) -> None:
    """Nothing that was asked is passed over in silence.  Raises UsageError."""
    if options.skip_same:
        raise UsageError("--skip-same is for whole folders", "add --recursive, or leave it out")


def open_source(path: str) -> str | BinaryIO:
    """The path of a regular file, which can be read again; a stream where that is not so.  Blocks."""
    if path == "-":
        return sys.stdin.buffer
    try:
        mode = os.stat(path).st_mode
        if modes.S_ISREG(mode) or modes.S_ISDIR(mode):
            return path
        return open(path, "rb")
    except OSError as error:
        raise LocalFileError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


async def upload(client: Client, options: argparse.Namespace, settings: Settings, bar: Bar, threads: IThreads) -> int:
    """`dfs upload`."""
    check_single(options)
    if options.file == "-" and options.name is None:
        raise UsageError("--file - needs --name")
    name = options.name if options.name is not None else os.path.basename(options.file)
    result = await client.upload(
        await threads.run(open_source, options.file),
        name,
        replication=settings[REPLICATION],
        chunk_size=settings[CHUNK_SIZE],
        parallel=settings[PARALLEL],
        resume=options.resume,
        progress=bar,
    )
    bar.end()
    if options.json:
        print_json(asdict(result))
        return 0
    rate = format_size(int(result.sent / result.seconds)) if result.seconds > 0 else "?"
    print(f"{printable(name)}: {format_size(result.size)} in {result.chunks} chunks, {rate}/s, {result.digest}")
    if result.resumed:
        print(f"  {format_size(result.resumed)} of it were durable already and not sent again")
    if result.degraded:
        print("  degraded: fewer copies than asked for; the rest follows when chunk servers are there")
    return 0


async def download(client: Client, options: argparse.Namespace, settings: Settings, bar: Bar, threads: IThreads) -> int:
    """`dfs download`."""
    check_single(options)
    out = options.out if options.out is not None else os.path.basename(options.name.rstrip("/"))
    if not out:
        raise UsageError("say where to with --out")

    def to_stdout(data: bytearray) -> Deferred[Any]:
        return threads.run(write_out, data)

    result = await client.download(
        options.name,
        to_stdout if out == "-" else out,
        parallel=settings[PARALLEL],
        force=options.force,
        progress=bar,
    )
    bar.end()
    if out == "-":
        return 0
    await threads.run(give_usual_mode, result.path)
    if options.json:
        print_json({key: getattr(result, key) for key in ("name", "size", "digest", "seconds")})
    else:
        rate = format_size(int(result.size / result.seconds)) if result.seconds > 0 else "?"
        print(f"{printable(result.path)}: {format_size(result.size)}, {rate}/s, verified {result.digest}")
    return 0


def give_usual_mode(path: str) -> None:
    """The permissions that a new file gets here; while it was not whole only its owner could read it."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def write_out(data: bytearray) -> None:
    """All of it to stdout.  Blocks: runs on a thread."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def list_files(client: Client, options: argparse.Namespace) -> int:
    """`dfs list`: one line a file, as it comes."""
    async for info in client.list(options.prefix, options.limit):
        if options.json:
            print_json(
                {"name": info.name, "file_id": info.file_id, "size": info.size, "created": show_time(info.created_ms)}
            )
        elif options.long:
            line = f"{info.file_id:>20}  {info.size:>14}  {info.replication}  {show_time(info.created_ms)}"
            print(f"{line}  {printable(info.name)}")
        else:
            print(printable(info.name))
    return 0


async def delete(client: Client, options: argparse.Namespace) -> int:
    """`dfs delete`."""
    info = await client.delete(options.name, file_id=options.id)
    if options.json:
        print_json({"name": info.name, "file_id": info.file_id})
    else:
        print(f"deleted {printable(info.name)} (file id {info.file_id})")
    return 0


async def stat(client: Client, options: argparse.Namespace) -> int:
    """`dfs stat`."""
    info = await client.stat(options.name)
    chunks = [
        {
            "index": chunk.index,
            "id": chunk.chunk_id.hex(),
            "length": chunk.length,
            "sha256": chunk.sha256.hex(),
            "replicas": [{"node": r.node, "state": r.state.name.lower()} for r in chunk.replicas],
        }
        async for chunk in client.chunks(info)
    ]
    if options.json:
        print_json(
            {
                "name": info.name,
                "file_id": info.file_id,
                "size": info.size,
                "digest": show_digest(info.digest),
                "replication": info.replication,
                "chunk_size": info.chunk_size,
                "created": show_time(info.created_ms),
                "chunks": chunks,
            }
        )
        return 0
    _print_stat(info, chunks)
    return 0


def _print_stat(info: FileInfo, chunks: list[dict[str, Any]]) -> None:
    print(f"name         {printable(info.name)}")
    print(f"file id      {info.file_id}")
    print(f"size         {info.size} ({format_size(info.size)})")
    print(f"digest       {show_digest(info.digest)}")
    print(f"replication  {info.replication}")
    print(f"created      {show_time(info.created_ms)}")
    if not chunks:
        return
    rows: list[tuple[str, ...]] = [("chunk", "length", "id", "replicas")]
    for chunk in chunks:
        where = " ".join(
            r["node"] if r["state"] == "alive" else f"{r['node']}({r['state']})" for r in chunk["replicas"]
        )
        rows.append((str(chunk["index"]), str(chunk["length"]), chunk["id"][:16], where or "none"))
    print(table(rows))
