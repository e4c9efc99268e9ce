"""The metadata members and where they are, as this node knows them now: the one list that everything here reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Members(Mapping[str, str]):
    """Addresses by name, in order of names.

    :param founders: as the flags name them, itself included.
    """

    def __init__(self, founders: Mapping[str, str]) -> None:
        self._addresses = dict(sorted(founders.items()))

    def __getitem__(self, name: str) -> str:
        return self._addresses[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)
