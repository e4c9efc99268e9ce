"""The metadata members and where they are, as this node knows them now: the one list that everything here reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Members(Mapping[str, str]):
    """Addresses by name, in order of names.

    :param known: as the flags name them; Raft says more as soon as it has started.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)
        self._addresses = dict(sorted(known.items()))

    def changed(self, contacts: Mapping[str, str]) -> None:
        """Who belongs now; where a contact is "" the flags' counts, and one that nobody knows is left out."""
        found = {name: contact or self._known.get(name, "") for name, contact in sorted(contacts.items())}
        self._addresses = {name: address for name, address in found.items() if address}

    def __getitem__(self, name: str) -> str:
        return self._addresses[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)
