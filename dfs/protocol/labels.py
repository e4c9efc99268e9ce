"""The label of a file under the MAC of a grant: no client writes the name of another file into a replica.

A grant to put carries in ``evidence`` the first 8 bytes of the SHA-256 of the encoded label, as metadata knows the
file.  The label itself travels with the put and is compared with them.  0 stands for none: metadata of before labels
signs that, and a client that sees it puts without a label.  A put without a label is taken whatever the grant says: so
writes a client of before labels, and what it writes cannot be named by a rebuild.
"""

from __future__ import annotations

import hashlib

from dfs.protocol.errors import Forbidden
from dfs.protocol.fast import Codec
from dfs.protocol.values import Grant, Label
from dfs.protocol.wire_chunks import LABEL

_CODEC = Codec(LABEL)


def label_evidence(label: Label) -> int:
    """What a grant to put carries for this label: a u64 above 0."""
    return int.from_bytes(hashlib.sha256(_CODEC.encode(label)).digest()[:8], "big") or 1


def check_label(grant: Grant, label: Label) -> None:
    """Raises Forbidden unless the grant, whose MAC was checked, is for a file of just this label."""
    if grant.evidence != label_evidence(label):
        raise Forbidden("the label is not that of the file that the grant is for")
