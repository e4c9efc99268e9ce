"""What an operator must know now: sentences in `dfs status`, and once each in the log."""

from __future__ import annotations

from twisted.logger import Logger

from dfs.protocol.limits import MAX_ALARMS

_log = Logger()


class Alarms:
    """By key, so that one trouble is one sentence; beyond the limit the newest is only logged."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def set(self, key: str, sentence: str, critical: bool = False) -> None:
        """It holds now.  ``critical``: the log says so."""
        if self._sentences.get(key) != sentence:
            tell = _log.critical if critical else _log.error
            tell("alarm: {sentence}", sentence=sentence)
        if key in self._sentences or len(self._sentences) < MAX_ALARMS:
            self._sentences[key] = sentence

    def clear(self, key: str) -> None:
        """It holds no more; idempotent."""
        sentence = self._sentences.pop(key, None)
        if sentence is not None:
            _log.info("over: {sentence}", sentence=sentence)

    def sentences(self) -> tuple[str, ...]:
        """All that hold, in the order in which they came."""
        return tuple(self._sentences.values())
