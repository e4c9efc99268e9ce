"""The daemons' logs as JSON: one document a line, for machines that read them.

twistd writes text; ``--log-format json`` gives it this observer instead, to the same place (the file of
``--logfile``, or standard output under ``-n``).  Fields: ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``,
and ``traceback`` where something failed.
"""

from __future__ import annotations

import datetime
import json
import sys
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


_destination: list[TextIO | str] = []
"""Where twistd logs in this process: twistd imports its logger by name and calls it without arguments."""


def log_json(twistd: Any) -> None:
    """Have twistd log JSON to where it logs anyway.

    :param twistd: its options, before their own ``postOptions``.
    """
    name = twistd.get("logfile")
    stdout = name == "-" or (bool(twistd.get("nodaemon")) and not name)
    _destination[:] = [sys.stdout if stdout else name or DEFAULT_FILE]
    twistd["logger"] = f"{__name__}.twistd_observer"


def twistd_observer() -> ILogObserver:
    """What twistd calls, once the process is where it stays."""
    (place,) = _destination
    return json_observer(LogFile.fromFullPath(place) if isinstance(place, str) else place)
