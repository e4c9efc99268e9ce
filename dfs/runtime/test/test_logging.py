"""The daemons' logs as JSON."""

from __future__ import annotations

import json
from io import StringIO

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.logging import json_observer, log_json


class LogTests(SynchronousTestCase):
    def test_one_document_a_line(self) -> None:
        """An event becomes one JSON line with its formatted text, and its traceback where something failed."""
        out = StringIO()
        log = Logger(namespace="there", observer=json_observer(out))
        log.info("{who}\nspoke", who="somebody")
        try:
            raise ValueError("of no use")
        except ValueError:
            log.failure("it failed")
        first, second = [json.loads(line) for line in out.getvalue().splitlines()]
        self.assertEqual((first["level"], first["logger"], first["message"]), ("info", "there", "somebody\nspoke"))
        self.assertIn("of no use", second["traceback"])

    def test_observer_is_importable(self) -> None:
        """twistd finds the observer by the name that it is told."""
        options: dict[str, object] = {"nodaemon": True}
        log_json(options)
        module, _, name = str(options["logger"]).rpartition(".")
        self.assertTrue(callable(getattr(__import__(module, fromlist=[name]), name)()))
