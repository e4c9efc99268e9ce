"""Where pip would look: its settings, read without pip, for the day when pip is not there yet.

Order, later wins: the machine's files, the user's, the file of PIP_CONFIG_FILE, the
PIP_* variables (pip's user guide, "Configuration").  Standard library only.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

DEFAULT_INDEX = "https://pypi.org/simple"


def config_files(environ: dict[str, str]) -> list[Path]:
    """The files that pip reads on a POSIX system, in its order."""
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []
    home = Path(environ.get("HOME") or "/")
    machine = [Path(folder) / "pip" / "pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [*machine, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user]
    return [*files, Path(own)] if own else files


def settings(environ: dict[str, str]) -> dict[str, str]:
    """The settings of ``[global]`` and ``[install]``, then those of the environment, by pip's option names."""
    found: dict[str, str] = {}
    for path in config_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise SystemExit(f"setup: {path} cannot be read as pip's settings: {error}") from error
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def page_addresses(found: dict[str, str]) -> list[str]:
    """The pages or folders that may list pip itself: find-links first, then each index's page of pip."""
    indexes = []
    if found.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        indexes = [found.get("index-url") or DEFAULT_INDEX, *found.get("extra-index-url", "").split()]
    return [*found.get("find-links", "").split(), *(index.rstrip("/") + "/pip/" for index in indexes)]
