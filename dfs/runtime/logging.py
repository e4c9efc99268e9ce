"""The daemons' logs as JSON: one document a line, for machines that read them.

twistd writes text; ``--log-format json`` gives it this observer instead, to the same place (the file of
``--logfile``, or standard output under ``-n``).  Fields: ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``,
and ``traceback`` where something failed.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent
from twisted.python.logfile import LogFile

DEFAULT_FILE = "twistd.log"  # twistd's own


def format_json(event: LogEvent) -> str | None:
    """One line, with its end; None for an event that says nothing."""
    failure = event.get("log_failure")
    message = formatEvent(event)
    if not message and failure is None:
        return None
    moment = datetime.datetime.fromtimestamp(event.get("log_time", 0.0), datetime.UTC)
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": message,
    }
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line, ensure_ascii=False) + "\n"


def json_observer(file: TextIO) -> ILogObserver:
    """Writes each event to ``file``."""
    observer: ILogObserver = FileLogObserver(file, format_json)
    return observer


def twistd_observer(logfile: str | None, foreground: bool) -> Callable[[], ILogObserver]:
    """For twistd's ``logger`` option: opens the same file that its text log would go to."""
    return partial(_open, logfile, foreground)


def _open(logfile: str | None, foreground: bool) -> ILogObserver:
    if logfile == "-" or (foreground and not logfile):
        return json_observer(sys.stdout)
    return json_observer(LogFile.fromFullPath(logfile or DEFAULT_FILE))
