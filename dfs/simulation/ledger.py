"""What metadata answered to each request of each client, and whether one order explains it: create, commit, abort,
delete, stat, pages of a listing.

Each name is a register: the id of the file that has it, or none, and the ids that have ended, which never come back
(S36).  A page of a listing is one look at every name between its ends.  A request whose answer never came may have
taken effect at any time after it was made, or not at all; that holds also for requests that the client made again and
again over many connections, for they take effect once (S26).

Beside the order: a file never changes, so that every answer about one id says the same.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.client.errors import DFSError, FileExists, FileNotFound
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import (
    AbortUpload,
    CommitFile,
    CreateUpload,
    DeleteFile,
    FileInfo,
    FilePage,
    GetFile,
    ListFiles,
    UploadGranted,
)
from dfs.simulation.ledger_batches import answers_of, parts_of
from dfs.simulation.linearizability import Verdict, explain

NONE = 0
"""No file has the name."""


@frozen
class NameState:
    """Which file has the name, and which ids have ended."""

    current: int = NONE
    over: frozenset[int] = frozenset()

    def without(self, file_id: int) -> NameState:
        """The state once an id has ended."""
        return NameState(NONE if self.current == file_id else self.current, self.over | {file_id})


class Rule(enum.Enum):
    """What an answer says of the name, or what a request may have done to it."""

    ABSENT = "no file has it"
    TAKEN = "some file has it"
    HAS = "this file has it"
    HAS_NOT = "this file has it not"
    COMMIT = "this file gets it"
    DELETE = "this file, which has it, ends"
    CLEAR = "whichever file has it ends"
    END = "this upload ends"


LOOKS = (Rule.ABSENT, Rule.TAKEN, Rule.HAS, Rule.HAS_NOT)


@define(eq=False)
class Step:
    """One request and what is known of it, seen from one name."""

    began: int
    ended: int | None
    rule: Rule
    file_id: int
    text: str

    @property
    def is_look(self) -> bool:
        """See Interval."""
        return self.rule in LOOKS

    def after(self, state: NameState) -> tuple[bool, NameState]:
        """See Interval."""
        rule, file_id, current = self.rule, self.file_id, state.current
        if rule is Rule.ABSENT:
            return current == NONE, state
        if rule is Rule.TAKEN:
            return current not in (NONE, file_id), state
        if rule is Rule.HAS:
            return current == file_id, state
        if rule is Rule.HAS_NOT:
            return current != file_id, state
        if rule is Rule.COMMIT:
            return current in (NONE, file_id) and file_id not in state.over, NameState(file_id, state.over)
        if rule is Rule.DELETE:
            return current == file_id, state.without(file_id)
        if rule is Rule.CLEAR:
            return current != NONE, state.without(current)
        return current != file_id, state.without(file_id)

    def __str__(self) -> str:
        return f"{self.text}: {self.rule.value}, {self.file_id:x} [{self.began}, {self.ended or ''}]"


@define(eq=False)
class Asked:
    """A request on its way, or answered."""

    client: str
    time: float
    request: Any
    began: int
    ended: int | None = None
    answer: Any = None


class Ledger:
    """All requests of all clients.

    :ivar undecided: names of which the search was given up.
    :ivar count: requests that were looked at.
    """

    def __init__(self) -> None:
        self.undecided = 0
        self.count = 0
        self._asked: list[Asked] = []
        self._names: dict[int, str] = {}
        self._position = 0

    def begin(self, client: str, request: object, time: float) -> Asked | None:
        """A request is made; None if it is none of these."""
        if not isinstance(request, CreateUpload | CommitFile | AbortUpload | DeleteFile | GetFile | ListFiles):
            return None
        self.count += 1
        self._position += 1
        asked = Asked(client, time, request, self._position)
        self._asked.append(asked)
        return asked

    def end(self, asked: Asked, answer: object) -> None:
        """It was answered, with a message or an error; what else ends it says nothing."""
        self._position += 1
        if isinstance(answer, UploadGranted | FileInfo | FilePage | FileExists | FileNotFound) or (
            isinstance(asked.request, AbortUpload | CommitFile) and not isinstance(answer, BaseException)
        ):
            asked.ended, asked.answer = self._position, answer
            if isinstance(answer, DFSError):  # as it was raised it would keep the frames that it came through
                asked.answer = type(answer)(answer.message)
        if isinstance(answer, UploadGranted) and isinstance(asked.request, CreateUpload):
            self._names[answer.file_id] = asked.request.name

    def may_commit(self, asked: Asked, granted: UploadGranted) -> None:
        """The commit of a small file's chunk, of which its client asks nobody here, commits the file: at any time
        from now on, or never."""
        commit = CommitFile(asked.request.operation, granted.file_id, granted.epoch, 0, 1, bytes(32))
        self.begin(asked.client, commit, asked.time)

    # The judgement.

    def violations(self) -> list[str]:
        """One sentence for each name that no order explains, and for each file that changed."""
        found = self._changed()
        for name, steps in self._by_name().items():
            verdict = explain(steps, NameState())
            self.undecided += verdict is Verdict.UNDECIDED
            if verdict is Verdict.WRONG:
                listing = "; ".join(str(step) for step in steps)
                found.append(f"no order of events explains what metadata answered about {name!r}: {listing}")
        return found

    def _changed(self) -> list[str]:
        known: dict[int, FileInfo] = {}
        found = []
        for asked in self._asked:
            answer = asked.answer
            infos = answer.files if isinstance(answer, FilePage) else (answer,) if isinstance(answer, FileInfo) else ()
            if isinstance(asked.request, DeleteFile) and asked.request.name is None:
                continue  # may tell of an upload, which grows
            changed = [info for info in infos if known.setdefault(info.file_id, info) != info]
            found += [f"{info} was {known[info.file_id]} before" for info in changed]
        return found

    def _by_name(self) -> dict[str, list[Step]]:
        steps: dict[str, list[Step]] = defaultdict(list)
        pages = []
        for asked in self._asked:
            if isinstance(asked.request, ListFiles):
                pages.append(asked)
                continue
            name = self._name(asked)
            step = self._step(asked)
            if name is not None and step is not None:
                steps[name].append(step)
        for name, found in steps.items():
            found += [step for page in pages if (step := seen_on(page, name)) is not None]
        return dict(steps)

    def _name(self, asked: Asked) -> str | None:
        request = asked.request
        if isinstance(request, CreateUpload | DeleteFile | GetFile) and request.name is not None:
            return request.name
        return self._names.get(request.file_id)

    def _step(self, asked: Asked) -> Step | None:
        """What one request says of its name; None if nothing."""
        request, answer = asked.request, asked.answer
        if isinstance(request, CreateUpload):
            rule = {UploadGranted: Rule.ABSENT, FileExists: Rule.TAKEN}.get(type(answer))
            return None if rule is None else step(asked, rule, NONE)
        if isinstance(request, GetFile):
            return self._look(asked)
        if isinstance(request, AbortUpload):
            return step(asked, Rule.END, request.file_id)
        if isinstance(request, CommitFile):
            rule = {FileExists: Rule.TAKEN, FileNotFound: None}.get(type(answer), Rule.COMMIT)
            return None if rule is None else step(asked, rule, request.file_id)
        return self._delete(asked)

    def _look(self, asked: Asked) -> Step | None:
        if isinstance(asked.answer, FileInfo):
            return step(asked, Rule.HAS, asked.answer.file_id)
        if isinstance(asked.answer, FileNotFound):
            by_name = asked.request.name is not None
            return step(asked, Rule.ABSENT, NONE) if by_name else step(asked, Rule.HAS_NOT, asked.request.file_id)
        return None

    def _delete(self, asked: Asked) -> Step | None:
        request, answer = asked.request, asked.answer
        if request.name is None:
            return step(asked, Rule.END, request.file_id) if answer is None else None
        if answer is None:
            return step(asked, Rule.CLEAR, NONE)
        if isinstance(answer, FileInfo):
            return step(asked, Rule.DELETE, answer.file_id)
        return step(asked, Rule.ABSENT, NONE)


def step(asked: Asked, rule: Rule, file_id: int) -> Step:
    """A request seen from its name."""
    text = f"{asked.time:.3f} {asked.client} {type(asked.request).__name__}"
    return Step(asked.began, asked.ended, rule, file_id, text)


def seen_on(page: Asked, name: str) -> Step | None:
    """What a page of a listing says of a name; None if it does not reach it."""
    request, answer = page.request, page.answer
    if not isinstance(answer, FilePage) or not name.startswith(request.prefix):
        return None
    for info in answer.files:
        if info.name == name:
            return step(page, Rule.HAS, info.file_id)
    before = bool(request.token) and name.encode() <= request.token
    behind = bool(answer.token) and name.encode() > answer.files[-1].name.encode()
    return None if before or behind else step(page, Rule.ABSENT, NONE)


class WatchedCaller:
    """A client's way to the leader, with every request in the ledger."""

    def __init__(self, caller: LeaderCaller, ledger: Ledger, client: str, world_time: Any) -> None:
        self._caller, self._ledger, self._client, self._time = caller, ledger, client, world_time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caller, name)

    def call(self, request: object, *arguments: Any, **options: Any) -> Deferred[object]:
        """See LeaderCaller.call."""
        calling = self._caller.call(request, *arguments, **options)
        now = self._time()
        parts = [self._ledger.begin(self._client, part, now) for part in parts_of(request)]
        if parts:
            return calling.addBoth(self._all_ended, request, parts)
        asked = self._ledger.begin(self._client, request, now)
        return calling if asked is None else calling.addBoth(self._ended, asked)

    def _all_ended(self, result: Any, request: object, parts: Sequence[Asked | None]) -> Any:
        answers = answers_of(request, result.value if isinstance(result, Failure) else result)
        for asked, answer in zip(parts, answers, strict=True):
            assert asked is not None
            self._ledger.end(asked, answer)
            if isinstance(answer, UploadGranted):
                self._ledger.may_commit(asked, answer)
        return result

    def _ended(self, result: Any, asked: Asked) -> Any:
        self._ledger.end(asked, result.value if isinstance(result, Failure) else result)
        return result
