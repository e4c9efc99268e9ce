"""What both twistd plugins do before the process goes to the background.

A start that must be refused is refused here, while standard error is still the user's: one sentence, exit code 1,
with and without ``-n``.  What can only be found later ends the process through :mod:`dfs.runtime.exiting`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.python import usage

from dfs.runtime.errors import SettingError
from dfs.runtime.logging import log_json
from dfs.runtime.options import LOG_FORMAT, SHARED
from dfs.runtime.settings import Setting, Settings, resolve

MAX_NODE_NAME = 255

_TCP = re.compile(r"tcp6?:(?:port=)?([0-9]{1,5})(?::(?:interface|host)=([^:]+))?(?::|\Z)")


class DaemonOptions(usage.Options):
    """Options of a plugin: a mistake is one sentence on standard error and exit code 1 (twistd's own way is a page of
    usage and exit code 0).  Subclasses say ``program`` and give :meth:`check`."""

    program = ""

    def parseOptions(self, options: Any = None) -> None:
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except (usage.UsageError, SettingError) as error:
            raise SystemExit(f"{self.program}: {error}") from None

    def postOptions(self) -> None:
        """See twisted.python.usage: the values are there."""
        settings = self.read_settings(os.environ)
        self["settings"] = settings
        if settings[LOG_FORMAT] == "json" and self.parent is not None:
            log_json(self.parent)
        self.check(settings)

    def check(self, settings: Settings) -> None:
        """Raise SettingError with a sentence for what cannot work."""

    def read_settings(self, environment: Mapping[str, str]) -> Settings:
        """Flags, then the environment, then the file of ``--config``, then defaults.  Raises SettingError."""
        path = self["config"]
        text = ""
        if path:
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingError(f"--config {path} cannot be read: {error}") from None
        return resolve(SHARED, self, environment, text, path or "")

    def required(self, *names: str) -> tuple[str, ...]:
        """The values of options that must be given."""
        for name in names:
            if not self[name]:
                raise SettingError(f"--{name} is needed; twistd {self.program} --help lists the options")
        return tuple(self[name] for name in names)


def setting_flags(settings: Iterable[Setting[Any]]) -> list[list[Any]]:
    """optParameters for settings; a flag that is not given leaves the word to the environment and the file."""
    return [[setting.flag.removeprefix("--"), None, None, setting.help] for setting in settings]


def check_node_name(name: str) -> str:
    """A node's name; raises SettingError."""
    if not 1 <= len(name.encode()) <= MAX_NODE_NAME or any(letter.isspace() or letter in "=,/\0" for letter in name):
        raise SettingError(f"{name!r} is no node name: 1 to {MAX_NODE_NAME} bytes without spaces, '=', ',' and '/'")
    return name


def check_port_free(description: str) -> None:
    """Raise SettingError where an endpoint description is none, or its TCP port is in use or not ours to take."""
    try:
        serverFromString(None, description)
    except Exception as error:  # noqa: BLE001 - each kind of endpoint has errors of its own
        raise SettingError(f"--listen {description}: {error}; write it as in tcp:7000:interface=127.0.0.1") from None
    found = _TCP.match(description)
    if found is None:
        return
    host = (found[2] or "").replace("\\:", ":")
    family = socket.AF_INET6 if description.startswith("tcp6") or ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted does: TIME_WAIT is no obstacle
        probe.bind((host, int(found[1])))
        probe.listen(1)
    except (OSError, OverflowError) as error:
        raise SettingError(
            f"cannot listen at {description}: {getattr(error, 'strerror', None) or error}; "
            "stop what uses the port, or choose another --listen"
        ) from None
    finally:
        probe.close()
