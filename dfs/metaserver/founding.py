"""Where a history of the cluster begins: what its file ids and generations start with (S16).

The same key, and so the same cluster id, outlives metadata: where all metadata folders were lost and the cluster is
founded anew, the chunk servers still hold what the former history stored.  So chance decides, once and by the first
command, an incarnation for file ids (its upper 16 bits; drawn from 1 to 31, so that ids stay exact in the numbers of
JSON readers, below 2**53) and a number of the history for generations (the upper 24 bits).  Orders to delete reach
generations of their own history only.
"""

from __future__ import annotations

from collections.abc import Callable

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import BeginHistory
from dfs.metaserver.transaction import Transaction
from dfs.protocol.errors import BadRequest
from dfs.protocol.values import HISTORY_SHIFT

INCARNATIONS = 31
HISTORIES = (1 << 24) - 1


def draw(entropy: Callable[[int], bytes]) -> BeginHistory:
    """The proposer's choice.

    :param entropy: see Runtime.entropy.
    """
    incarnation = int.from_bytes(entropy(4), "big") % INCARNATIONS + 1
    return BeginHistory(incarnation, int.from_bytes(entropy(6), "big") % HISTORIES + 1)


def is_begun(store: IKeyValueStore) -> bool:
    """Whether ids were issued, or will be of the history that was drawn."""
    head = queries.head(store)
    return head is not None and (head.generation > 0 or head.file_counter > 0)


def begin(state: Transaction, command: BeginHistory) -> Changed:
    """Once, before anything is issued; later it changes nothing."""
    head = state.head
    if not (1 <= command.incarnation <= INCARNATIONS and 1 <= command.history <= HISTORIES):
        raise BadRequest("an incarnation or a number of a history is out of range")
    if head.generation or head.file_counter:
        return Changed(0)
    head.incarnation = command.incarnation
    head.generation = command.history << HISTORY_SHIFT
    return Changed(1)
