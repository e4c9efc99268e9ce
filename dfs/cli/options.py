"""The words of the command line, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dfs import __version__
from dfs.cli.errors import UsageError
from dfs.protocol.values import MAX_NAME
from dfs.runtime.settings import Setting
from dfs.runtime.units import parse_size

EPILOGUE = """exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 already exists, 5 cluster unavailable, 6 corrupt,
130 interrupted"""

ALIASES = {"put": "upload", "get": "download", "ls": "list", "rm": "delete"}


class Parser(argparse.ArgumentParser):
    """A mistake is a UsageError; no option may be abbreviated, so that a new one never changes what a script means."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **keywords})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def size(text: str) -> int:
    """A size for argparse, which shows only its own sentence on a ValueError."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)


def not_negative(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 on")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return number


def file_id(text: str) -> int:
    """The number of a file: 64 bits."""
    number = not_negative(text)
    if number >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no file id: it has more than 64 bits")
    return number


def names(text: str) -> list[str]:
    """Names separated by commas, at least one."""
    found = [name for name in text.split(",") if name]
    if not found:
        raise argparse.ArgumentTypeError("name at least one node")
    return found


def prefix(text: str) -> str:
    """The beginning of a name: UTF-8, no longer than a name."""
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("a name is UTF-8, and so is its beginning") from None
    if length > MAX_NAME:
        raise argparse.ArgumentTypeError(f"names have at most {MAX_NAME} bytes, not {length}")
    return text


def common(default: object = argparse.SUPPRESS) -> Parser:
    """Options that stand before or after the subcommand: the inner ones leave no default behind."""
    parser = Parser(add_help=False)
    parser.add_argument("--meta", metavar="HOST:PORT[,...]", default=default, help="metadata nodes (DFS_META)")
    parser.add_argument(
        "--dir", metavar="DIR", default=default, help="folder of a local cluster (default ./dfs-cluster)"
    )
    parser.add_argument("--config", metavar="FILE", default=default, help="settings as TOML")
    parser.add_argument(
        "--json",
        action="store_true",
        default=default if default is argparse.SUPPRESS else False,
        help="one JSON document on stdout, or one a line for lists",
    )
    return parser


def build_parser() -> Parser:
    """The whole command."""
    parser = Parser(
        prog="dfs", description="A fault-tolerant distributed file system.", parents=[common(None)], epilog=EPILOGUE
    )
    parser.add_argument("--version", action="version", version=f"dfs {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = common()

    def add(name: str, text: str) -> argparse.ArgumentParser:
        aliases = [alias for alias, command in ALIASES.items() if command == name]
        return commands.add_parser(name, help=text, description=text, parents=[shared], aliases=aliases)

    _add_files(add)
    _add_checks(add)
    from dfs.cli.bench.words import add_bench  # they use words of this module

    add_bench(add, size, at_least_one, positive)
    add("status", "Leader, nodes and their state, space, redundancy debt.")
    init = add("init", "Make the key of a new cluster, for nodes on machines of your own.")
    init.add_argument("--key-file", required=True, metavar="PATH", help="where to write it, readable by its owner only")
    from dfs.cli.node_options import add_moves, add_node  # they are words of this command

    add_node(commands.add_parser("node", help="the chunk servers, and what is wished of them", parents=[shared]))
    add_moves(add)
    _add_meta(commands.add_parser("meta", help="who belongs to the metadata cluster", parents=[shared]))
    _add_cluster(commands.add_parser("cluster", help="a local cluster of real processes", parents=[shared]))
    _add_store(commands.add_parser("store", help="tools for a node's data folder", parents=[shared]))
    _add_sim(add("sim", "Live through failures: a whole simulated cluster on virtual time, decided by a seed."))
    return parser


def _add_files(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    upload = add("upload", "Store a local file.")
    upload.add_argument("--file", required=True, metavar="PATH", help="the file to store; - is stdin")
    upload.add_argument("--name", help="its name in the cluster (default: the file's own)")
    upload.add_argument("--replication", type=at_least_one, help="copies of each chunk (DFS_REPLICATION)")
    upload.add_argument("--chunk-size", type=size, metavar="SIZE", help="such as 4MiB (DFS_CHUNK_SIZE)")
    upload.add_argument("--parallel", type=at_least_one, metavar="N", help="chunks, or small files, in flight")
    _add_tree(upload, "store every file below the folder --file, under names that begin with --name")
    upload.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on where a former try stopped"
    )
    download = add("download", "Fetch a file, verified.")
    download.add_argument("--name", required=True)
    download.add_argument("--out", metavar="PATH", help="where to (default: the name's last part here); - is stdout")
    download.add_argument("--parallel", type=at_least_one, metavar="N", help="chunks, or small files, in flight")
    _add_tree(download, "fetch every file whose name lies below --name into the folder --out")
    download.add_argument("--force", action="store_true", help="overwrite an existing file")
    listing = add("list", "List files by prefix.")
    for reading in (download, listing):
        reading.add_argument("--read-from", choices=("leader", "any"), help="metadata nodes asked (DFS_READ_FROM)")
    listing.add_argument("--prefix", default="", metavar="P", type=prefix)
    listing.add_argument("--long", action="store_true", help="with id, size and time")
    listing.add_argument("--limit", type=not_negative, metavar="N", help="at most so many")
    delete = add("delete", "Remove a file.")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("--name")
    which.add_argument("--id", metavar="FILE_ID", type=file_id)
    stat = add("stat", "A file's size, digest, chunks, and where each replica is.")
    stat.add_argument("--name", required=True)
    stat.add_argument("--read-from", choices=("leader", "any"), help="metadata nodes asked (DFS_READ_FROM)")


def _add_tree(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--recursive", action="store_true", help=text)
    parser.add_argument(
        "--skip-same", action="store_true", help="with --recursive: pass over what is there with the same bytes"
    )


def _add_checks(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    check = add("fsck", "Which files are affected by what is missing or bad, and what to do next.")
    check.add_argument("--prefix", default="", metavar="P", type=prefix, help="only files whose name begins so")
    check.add_argument("--deep", action="store_true", help="read and verify every replica")
    check.add_argument("--repair", action="store_true", help="as --deep; have bad replicas set aside and replaced")
    check.add_argument("--parallel", type=at_least_one, metavar="N", help="replicas read at once (default 4)")
    anew = add("rebuild", "With every metadata node lost: a new namespace from what chunk servers hold.")
    anew.add_argument("--chunk-servers", metavar="HOST:PORT[,...]", help="all of them (default: the local cluster's)")
    anew.add_argument("--key-file", metavar="PATH", help="the cluster's key (default: the local cluster's)")
    anew.add_argument("--dry-run", action="store_true", help="say what would be recovered; nothing is changed")
    anew.add_argument("--allow-missing", action="store_true", help="go on without chunk servers that do not answer")
    why = add("explain", "Why chunks lie where they lie, what they lack, and what happens next.")
    which = why.add_mutually_exclusive_group(required=True)
    which.add_argument("--name", help="every chunk of a file")
    which.add_argument("--chunk", metavar="ID", help="one chunk: FILE_ID/INDEX, or its id, which is looked for")
    why.add_argument("--index", type=not_negative, metavar="N", help="with --name: one chunk only")
    why.add_argument("--all-nodes", action="store_true", help="a verdict on each node, also where nothing is lacking")
    loss = add("whatif", "What the loss of nodes would cost; nothing is touched.")
    what = loss.add_mutually_exclusive_group(required=True)
    what.add_argument("--lose", metavar="NODE[,NODE...]", type=names, help="their disks never come back")
    what.add_argument("--lose-rack", metavar="RACK", help="a rack and all below it")
    what.add_argument("--drain", metavar="NODE[,NODE...]", type=names, help="what emptying them would move")
    what.add_argument("--survey", action="store_true", help="each single node and each pair")
    loss.add_argument("--rate", type=size, metavar="SIZE", help="bytes a second that healing moves, for the time")


def _add_meta(meta: argparse.ArgumentParser) -> None:
    actions = meta.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = common()

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[shared])

    add("list", "The members, and how far each has come.")
    new = add("add", "Let a member in that was started with --join: it catches up first, then it votes.")
    new.add_argument("--name", required=True, help="its --node-id; a name is used once")
    new.add_argument("--address", required=True, metavar="HOST:PORT", help="where the others reach it")
    new.add_argument("--learner", action="store_true", help="stop there: it follows and does not vote")
    for name, text in (
        ("promote", "Let a learner vote, once it has caught up."),
        ("remove", "Take a member out for ever; it stops by itself."),
    ):
        add(name, text).add_argument("--name", required=True)
    transfer = add("transfer-leader", "Hand leadership over, without the pause of an election.")
    transfer.add_argument("--to", metavar="NAME", help="to whom (default: who has caught up furthest)")


def _add_cluster(cluster: argparse.ArgumentParser) -> None:
    actions = cluster.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = common()

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[shared])

    up = add("up", "Start a local cluster, or what is not running of it.")
    up.add_argument("-m", "--meta-nodes", type=int, choices=(1, 3, 5), default=None, help="metadata nodes (default 3)")
    up.add_argument("-s", "--chunk-servers", type=at_least_one, default=None, help="chunk servers (default 5)")
    up.add_argument("--racks", type=not_negative, default=0, help="they lie in so many racks (default none)")
    add("down", "Stop all its nodes.")
    add("status", "Its processes, and the cluster's own status.")
    grow = add("add", "Start one node more; a metadata node is let in and votes once it has caught up.")
    grow.add_argument("kind", choices=("meta", "chunk"))
    add("remove", "Take a metadata node out, running or dead; its folder stays.").add_argument("node")
    logs = add("logs", "Show the nodes' logs.")
    logs.add_argument("node", nargs="?", help="one node only")
    logs.add_argument("-n", "--lines", type=not_negative, default=20, help="last lines of each (default 20)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as they grow")
    for name, text in (("kill", "SIGKILL one node."), ("restart", "Stop one node if it runs, and start it again.")):
        add(name, text).add_argument("node")


def _add_store(store: argparse.ArgumentParser) -> None:
    actions = store.add_subparsers(dest="action", metavar="ACTION", required=True)
    convert = actions.add_parser("convert", help="change the engine of a node's tables", parents=[common()])
    convert.add_argument("--data", required=True, metavar="DIR", help="the stopped metadata node's folder")
    convert.add_argument("--to", required=True, choices=("berkeleydb", "semidbm"))
    replicas = actions.add_parser("replicas", help="what lies where in a chunk server's folder", parents=[common()])
    replicas.add_argument("--data", required=True, metavar="DIR", help="the chunk server's folder; nothing is changed")
    replicas.add_argument("--chunk", default="", metavar="ID", help="only chunks whose id begins so (see dfs stat)")
    replicas.add_argument("--verify", action="store_true", help="read every byte, and compare it with the checksums")


def _add_sim(sim: argparse.ArgumentParser) -> None:
    which = sim.add_mutually_exclusive_group()
    which.add_argument("--seed", dest="seeds", metavar="N", default="0", help="one life (default 0)")
    which.add_argument("--seeds", dest="seeds", metavar="A..B", help="many, told in their order")
    sim.add_argument("--scenario", metavar="S24", help="a scripted story instead of drawn faults")
    sim.add_argument("--jobs", type=at_least_one, default=1, metavar="N", help="processes that run seeds (default 1)")
    sim.add_argument("--hours", type=positive, metavar="H", help="seeds from the first on, until so much was lived")
    sim.add_argument("--trace", metavar="FILE", help="write every event, so that two runs can be compared")
    sim.add_argument("--shrink", action="store_true", help="make the first run that fails as small as can be")
    cut = sim.add_argument_group("a smaller run, as --shrink prints it")
    cut.add_argument("--keep", metavar="N,N,...", help="only these of the seed's faults, by number, or none")
    cut.add_argument("--clients", type=not_negative, metavar="N", help="so many clients")
    cut.add_argument("--phase", type=positive, metavar="SECONDS", help="how long faults come")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError with a sentence; SystemExit(0) after --help and --version."""
    options = build_parser().parse_args(arguments)
    options.command = ALIASES.get(options.command, options.command)
    return options


def flag(options: argparse.Namespace, setting: Setting[Any]) -> str | None:
    """The text of a setting's flag, if it was given."""
    value = getattr(options, setting.key, None)
    return None if value is None else str(value)
