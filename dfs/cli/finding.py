"""Which cluster is meant, and with which settings."""

from __future__ import annotations

import argparse
import os
import tomllib
from typing import Any

from dfs.cli.errors import CommandFailed
from dfs.cli.options import flag
from dfs.runtime.options import SHARED
from dfs.runtime.settings import Setting, Settings, resolve

DEFAULT_FOLDER = "dfs-cluster"
CLUSTER_FILE = "cluster.toml"


def settings_of(options: argparse.Namespace) -> Settings:
    """Flags, then DFS_*, then ``--config``, then defaults.  Raises SettingError."""
    text = ""
    if options.config:
        try:
            with open(options.config, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise CommandFailed(f"cannot read {options.config}: {error.strerror}") from error
    flags = {setting.name: flag(options, setting) for setting in SHARED}
    return resolve(SHARED, flags, os.environ, text, options.config or "")


def cluster_folder(options: argparse.Namespace) -> str:
    """The local cluster's folder, absolute."""
    return os.path.abspath(options.dir or DEFAULT_FOLDER)


def read_cluster_file(folder: str) -> dict[str, Any] | None:
    """cluster.toml, or None where there is none."""
    path = os.path.join(folder, CLUSTER_FILE)
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CommandFailed(f"cannot read {path}: {error}", "restore it, or start anew in another --dir") from error


def meta_addresses(options: argparse.Namespace, settings: Settings, meta: Setting[Any]) -> list[str]:
    """--meta or DFS_META, else the local cluster's.  Raises CommandFailed with exit code 2."""
    named = [str(address) for address in settings[meta]]
    if named and not (options.dir and flag(options, meta) is None):
        return named
    folder = cluster_folder(options)
    document = read_cluster_file(folder)
    if document is None:
        raise CommandFailed(
            "no cluster is named",
            f"give --meta host:port[,...], set DFS_META, or start one here with `dfs cluster up` (looked in {folder})",
            2,
        )
    return [str(node["address"]) for node in document.get("node", []) if node.get("kind") == "meta"]
