"""The log as one JSON document a line (``--log-format json``), through twistd's own ``--logger`` option."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, eventAsText
from twisted.python.logfile import LogFile

FACTORY = "dfs.chunkserver.logs.json_observer"

_target: dict[str, str] = {}


def log_json(twistd: Any) -> None:
    """Have twistd log JSON to where it logs anyway.

    :param twistd: its options, before their ``postOptions``.
    """
    _target["file"] = twistd["logfile"] or ("-" if twistd["nodaemon"] else "twistd.log")
    twistd["logger"] = FACTORY


def json_observer() -> ILogObserver:
    """What twistd calls for its observer."""
    name = _target.get("file", "-")
    out: IO[Any] = sys.stdout if name == "-" else LogFile.fromFullPath(name)
    return FileLogObserver(out, as_json)


def as_json(event: LogEvent) -> str:
    """One line: ``time`` (seconds), ``level``, ``logger``, ``message`` with its traceback, if any."""
    level = event.get("log_level")
    document = {
        "time": event.get("log_time"),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": eventAsText(event, includeTimestamp=False, includeSystem=False),
    }
    return json.dumps(document, ensure_ascii=False) + "\n"
