"""What can be rebuilt of a file from the chunks that chunk servers hold, judged chunk by chunk.  Pure.

Problem: replicas name their file, but nothing on a chunk server says that the file was committed.  What is known:

- the name, the chunk size, the replication, and the size where it was known when the upload began;
- which chunk is the last: it says so, or is shorter than the chunk size, or the size tells.

So a file is *whole* when each chunk from the first to the last is there with its length.  Every file that was
acknowledged is whole once each of its chunks is at a server that was asked.  An upload that had stored every byte and
was not committed is whole as well: it looks just like a file whose acknowledgement was lost on its way, and is taken
for one.  An upload with a gap or without an end never is: it is listed, and no name appears.

Of a chunk with several generations the newest counts: a committed chunk is never placed again, so nothing newer than
the committed generation was ever issued.  That holds within one history.  Metadata that was lost before, and founded
anew without a rebuild, began another, which may have issued the same file ids: files of two histories are never mixed.

Rejected: a mark of the commit in every footer, written afterwards (a second sync a replica of each file, and its
absence would prove nothing: the acknowledgement goes out before it).

Names: the newest file of a name has it, whole or not; an older one of the same name was deleted before the newer was
begun, or lost the race for the name, or won it against one that never ended: nobody can tell, so it is kept under
``lost+found/``, and the report says so.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from dfs.protocol.messages import CommittedChunk, DescribedReplica
from dfs.protocol.values import (
    HISTORY_SHIFT,
    MAX_CHUNK_SIZE,
    MAX_NAME,
    MIN_CHUNK_SIZE,
    PIECE,
    Description,
    FileId,
    Label,
    file_digest,
)

LOST = "lost+found"
MOST_TOLD = 20
"""Missing chunks, and contradictions, that one finding tells of."""


class Verdict(enum.Enum):
    """What became of a file."""

    RECOVERED = "recovered"
    KNOWN = "recovered before"
    LOST_AND_FOUND = "lost+found"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"


@frozen
class Candidate:
    """A file as its chunks tell of it.  ``name`` is "" where no replica names it; ``whole``: nothing is missing;
    ``missing`` are the first indexes that are, ``open_end``: nobody knows how many follow.  ``contradictions`` are
    sentences about chunks of which there is more than one version.  ``rival``: how the file is named that has the id,
    where that is another one of another history."""

    file_id: FileId
    name: str
    whole: bool
    size: int
    chunk_size: int
    replication: int
    created_ms: int
    chunks: tuple[CommittedChunk, ...]
    missing: tuple[int, ...]
    open_end: bool
    contradictions: tuple[str, ...]
    rival: str = ""

    @property
    def digest(self) -> bytes:
        """The file's digest, where it is whole."""
        return file_digest(b"".join(chunk.sha256 for chunk in self.chunks))


class Assembly:
    """One file, fed with the replicas of each of its chunks in order."""

    def __init__(self, file_id: FileId) -> None:
        self._file_id = file_id
        self._chunks: list[CommittedChunk] = []
        self._label: Label | None = None
        self._last: int | None = None
        self._written: list[int] = []
        self._copies = 1
        self._contradictions: list[str] = []

    def add(self, index: int, replicas: Sequence[DescribedReplica]) -> None:
        """All replicas of one chunk, of any generation, at least one; indexes ascend."""
        newest = max(replica.held.generation for replica in replicas)
        chosen = [replica for replica in replicas if replica.held.generation == newest]
        contents = Counter((replica.held.length, replica.held.sha256) for replica in chosen)
        (length, sha256), copies = max(contents.items(), key=lambda each: (each[1], each[0]))
        if len(contents) > 1:
            self._contradict(f"chunk {index} has {len(contents)} contents of generation {newest}; most have the same")
        self._copies = max(self._copies, copies)
        self._chunks.append(CommittedChunk(index, newest, length, sha256))
        for replica in chosen:
            if replica.description is not None and (replica.held.length, replica.held.sha256) == (length, sha256):
                self._describe(index, replica.description)

    def _describe(self, index: int, said: Description) -> None:
        if self._label is None:
            self._label = said.label
        elif self._label != said.label:
            self._contradict(f"chunk {index} is said to be of {said.label.name!r}")
        if said.last:
            self._last = index
        if said.written_ms:
            self._written.append(said.written_ms)
            self._written = [min(self._written)]

    def _contradict(self, sentence: str) -> None:
        if len(self._contradictions) < MOST_TOLD:
            self._contradictions.append(sentence)

    def finish(self) -> Candidate:
        """The verdict."""
        label = self._label or self._guess()
        chunk_size = label.chunk_size
        count = self._count(label)
        good = {chunk.index for chunk in self._chunks if self._fits(chunk, label, count)}
        highest = self._chunks[-1].index + 1
        missing = _gaps(good, highest if count is None else count)
        whole = count is not None and not missing and highest == count
        if count is not None and highest > count:
            self._contradict(f"chunk {highest - 1} lies behind the last one, {count - 1}")
        return Candidate(
            self._file_id,
            "" if self._label is None else label.name,
            whole,
            sum(chunk.length for chunk in self._chunks),
            chunk_size,
            label.replication,
            self._written[0] if self._written else 0,
            tuple(self._chunks) if whole else (),
            missing,
            count is None,
            tuple(self._contradictions),
        )

    def _count(self, label: Label) -> int | None:
        """How many chunks the file has; None where nothing tells."""
        if label.size is not None:
            return -(-label.size // label.chunk_size)
        last = self._chunks[-1]
        if self._last is not None:
            return self._last + 1
        return last.index + 1 if last.length < label.chunk_size or self._label is None else None

    def _fits(self, chunk: CommittedChunk, label: Label, count: int | None) -> bool:
        """Whether its length is that of its place."""
        if count is None or chunk.index < count - 1:
            return chunk.length == label.chunk_size
        if label.size is not None:
            return chunk.length == label.size - (count - 1) * label.chunk_size
        return 0 < chunk.length <= label.chunk_size

    def _guess(self) -> Label:
        """The shape of a file that no replica describes: its first chunk is full, if others follow."""
        first = self._chunks[0].length
        full = first if len(self._chunks) > 1 else max(MIN_CHUNK_SIZE, -(-first // PIECE) * PIECE)
        return Label("", None, min(max(full, MIN_CHUNK_SIZE), MAX_CHUNK_SIZE) // PIECE * PIECE, self._copies)


class Histories:
    """Everything that is held under one file id, apart by the histories that issued it."""

    def __init__(self, file_id: FileId) -> None:
        self._file_id = file_id
        self._assemblies: dict[int, Assembly] = {}

    def add(self, index: int, replicas: Sequence[DescribedReplica]) -> None:
        """All replicas of one chunk; indexes ascend."""
        apart: dict[int, list[DescribedReplica]] = {}
        for replica in replicas:
            apart.setdefault(replica.held.generation >> HISTORY_SHIFT, []).append(replica)
        for history, some in apart.items():
            if history not in self._assemblies:
                self._assemblies[history] = Assembly(self._file_id)
            self._assemblies[history].add(index, some)

    def finish(self) -> list[Candidate]:
        """The first has the id: a whole one if there is any, and of several the one that was stored last."""
        found = [(history, assembly.finish()) for history, assembly in self._assemblies.items()]
        found.sort(key=lambda each: (each[1].whole, each[1].created_ms, each[0]), reverse=True)
        first, *others = (candidate for _, candidate in found)
        return [first, *(evolve(other, rival=first.name or lost_name(first)) for other in others)]


def _gaps(good: set[int], count: int) -> tuple[int, ...]:
    """The first indexes below ``count`` that are not good."""
    found: list[int] = []
    if len(good) < count:
        for index in range(count):
            if index not in good:
                found.append(index)
                if len(found) == MOST_TOLD:
                    break
    return tuple(found)


class Names:
    """Which file has which name: a few hundred bytes of memory a file."""

    def __init__(self) -> None:
        self._newest: dict[str, FileId] = {}

    def note(self, candidate: Candidate) -> None:
        """Every file, whole or not, before the first question."""
        if candidate.name and not candidate.rival:
            self._newest[candidate.name] = max(candidate.file_id, self._newest.get(candidate.name, FileId(0)))

    def name_of(self, candidate: Candidate) -> tuple[str, str]:
        """The name to recover it under, and why that is not its own ("" where it is)."""
        if not candidate.name:
            return lost_name(candidate), "no replica names it (stored by an older version); its end is taken on trust"
        newest = self._newest.get(candidate.name, candidate.file_id)  # it may have come since they were noted
        if newest > candidate.file_id:
            return lost_name(candidate), f"a newer file has the name {candidate.name!r}: {newest:016x}"
        return candidate.name, ""


def lost_name(candidate: Candidate) -> str:
    """Where a file goes whose name is another's or not known: apart by its id."""
    apart = f"{LOST}/{candidate.file_id:016x}"
    whole = f"{apart}/{candidate.name}"
    return whole if candidate.name and len(whole.encode()) <= MAX_NAME else apart


@frozen
class Finding:
    """What became of one file.  ``name`` is the one it is under now, or would be; ``sentence`` says why, or what is
    missing."""

    verdict: Verdict
    file_id: FileId
    name: str
    size: int
    sentence: str = ""
    contradictions: tuple[str, ...] = ()


def shortage(candidate: Candidate) -> str:
    """What an incomplete file lacks."""
    parts = []
    if candidate.missing:
        more = ", ..." if len(candidate.missing) == MOST_TOLD else ""
        plural = "s" if len(candidate.missing) > 1 else ""
        parts.append(f"chunk{plural} {ranges(candidate.missing)}{more} missing or of a wrong length")
    if candidate.open_end:
        parts.append("no chunk is the last")
    return "; ".join(parts) or "there are chunks behind the last one"


def ranges(numbers: Iterable[int]) -> str:
    """As in ``0-3, 7``; ``numbers`` ascend."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
