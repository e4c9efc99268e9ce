"""Crash states of a volume, drawn from a seed.

The four plain ones (nothing of the unsynced, everything, names only, bytes only) come first at each position; then
names and files are drawn apart.  Of a file, each block of SECTOR or PAGE bytes, aligned, is as one of the writes
since the last sync left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from attrs import frozen

from dfs.test.crash.calls import Mark, Recording, Tree
from dfs.test.crash.volume import FOLDER, Change, File, Names, Volume, replayed, tree_of

SECTOR = 512
PAGE = 4096
PLAIN = 4


@frozen
class State:
    """What a power cut left: a tree, what may be seen in it, and how it came about.

    :ivar tear: the unit that was torn, or 0 where files are as some prefix of the calls left them.
    """

    tree: Tree
    allowed: tuple[str, ...]
    story: str
    tear: int


def states(recording: Recording, chance: Random, positions: frozenset[int] | None = None) -> Iterator[State]:
    """Crash states without end, round after round over the positions (all by default), duplicates among them.

    A position is a count of calls done; marks change nothing on disk and have none.
    """
    rounds = 0
    while True:
        volume = Volume.of(recording.start)
        for position, call in enumerate(recording.calls):
            wanted = positions is None or position in positions
            if wanted and not isinstance(call, Mark) and volume.allowed:
                yield draw(volume, chance, rounds, position)
            volume.apply(call)
        if volume.allowed and (positions is None or len(recording.calls) in positions):
            yield draw(volume, chance, rounds, len(recording.calls))
        rounds += 1


def draw(volume: Volume, chance: Random, rounds: int, position: int) -> State:
    """One state; the first rounds are the plain ones."""
    if rounds < PLAIN:
        keep_names, keep_bytes = rounds in (1, 2), rounds in (1, 3)
        names = with_changes(volume.names, volume.changes if keep_names else [])
        files = {inode: volume.files[inode] for inode in set(names.values()) - {FOLDER}}
        contents = {inode: bytes(file.now()) if keep_bytes else file.durable for inode, file in files.items()}
        story = f"{'all' if keep_names else 'no'} names and {'all' if keep_bytes else 'no'} bytes of the unsynced"
        return State(tree_of(names, contents), volume.allowed, f"call {position}: {story}", 0)
    unit = chance.choice((SECTOR, PAGE))
    names = drawn_names(volume, chance)
    contents, torn = {}, False
    for inode in sorted(set(names.values()) - {FOLDER}):
        contents[inode], ragged = drawn_content(volume.files[inode], chance, unit)
        torn = torn or ragged
    tear = unit if torn else 0
    story = f"call {position}: round {rounds}" + (f", torn at {tear} bytes" if tear else "")
    return State(tree_of(names, contents), volume.allowed, story, tear)


def with_changes(durable: Names, changes: Iterable[Change]) -> Names:
    """The durable names, and some changes in their order."""
    names = dict(durable)
    for change in changes:
        change.apply(names)
    return names


def drawn_names(volume: Volume, chance: Random) -> Names:
    """A prefix of the pending changes, as a journal leaves them, or any subset; a rename between folders may show
    as both names."""
    if chance.random() < 0.4:
        return with_changes(volume.names, volume.changes[: chance.randrange(len(volume.changes) + 1)])
    kept = [change for change in volume.changes if chance.random() < 0.5]
    halves = [Change(each.names[:1]) if len(each.names) > 1 and chance.random() < 0.3 else each for each in kept]
    return with_changes(volume.names, halves)


def drawn_content(file: File, chance: Random, unit: int) -> tuple[bytes, bool]:
    """The bytes of a file, and whether they may differ from what every prefix of the calls leaves."""
    last = len(file.pending)
    kind = chance.random()
    if not last or kind < 0.3:
        return bytes(replayed(bytearray(file.durable), file.pending[: chance.randrange(last + 1)])), False
    if kind < 0.6:  # the last call that got anywhere was torn
        begun = chance.randrange(last)
        choices = [begun, begun + 1]
    elif kind < 0.8:
        choices = [0, last]
    else:
        choices = sorted(chance.sample(range(last + 1), min(4, last + 1)))
    versions = [bytes(replayed(bytearray(file.durable), file.pending[:count])) for count in choices]
    content = bytearray(file.lengths()[chance.choice(choices)])
    bias = chance.choice((0.1, 0.5, 0.9))  # few blocks missing, many, most
    for start in range(0, len(content), unit):
        version = chance.choice(versions) if chance.random() < bias else versions[-1]
        piece = version[start : start + unit][: len(content) - start]
        content[start : start + len(piece)] = piece
    return bytes(content), True
