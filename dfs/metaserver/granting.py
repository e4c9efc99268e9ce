"""Signs what the chunk servers will check: each placement, copy and deletion (grants)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from dfs.protocol.labels import label_evidence
from dfs.protocol.messages import (
    CreateUploads,
    GrantedUpload,
    NewUpload,
    Placement,
    Placements,
    Removal,
    UploadGranted,
    UploadOutcome,
    UploadsGranted,
)
from dfs.protocol.trust import NOWHERE, KeyRing, Spread
from dfs.protocol.values import FileId, Generation, Grant, GrantKind, Label

VALID_MS = 3_600_000


class Granter:
    """:param now_ms: cluster time, in which grants expire."""

    def __init__(self, keys: KeyRing, now_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._now_ms = now_ms

    def grant(
        self,
        kind: GrantKind,
        file_id: int,
        index: int,
        generation: int,
        evidence: int = 0,
        spread: Spread = NOWHERE,
    ) -> Grant:
        """Leave for one operation, for an hour of cluster time."""
        expires_ms = self._now_ms() + VALID_MS
        return self._keys.sign(kind, FileId(file_id), index, Generation(generation), expires_ms, evidence, spread)

    def removal(self, removal: Removal) -> Removal:
        """Leave to take a replica away, for an hour of cluster time."""
        return self._keys.sign_removal(evolve(removal, expires_ms=self._now_ms() + VALID_MS))

    def placements(self, file_id: int, label: Label, placements: tuple[Placement, ...]) -> tuple[Placement, ...]:
        """With a grant to put wherever there is something to write, for replicas of just this label."""
        evidence = label_evidence(label)
        return tuple(self._placement(file_id, evidence, placement) for placement in placements)

    def _placement(self, file_id: int, evidence: int, placement: Placement) -> Placement:
        if not placement.targets:
            return placement
        spread = Spread(placement.targets, placement.quorum)
        grant = self.grant(GrantKind.PUT, file_id, placement.index, placement.generation, evidence, spread)
        return Placement(
            placement.index, placement.generation, placement.targets, placement.quorum, grant, placement.committed
        )

    def upload(self, name: str, granted: UploadGranted) -> UploadGranted:
        """``name`` is the file's."""
        label = Label(name, granted.size, granted.chunk_size, granted.replication)
        return evolve(granted, placements=self.placements(granted.file_id, label, granted.placements))

    def placed(self, file_id: int, label: Label, placed: Placements) -> Placements:
        return Placements(self.placements(file_id, label, placed.placements))

    def uploads(self, request: CreateUploads, granted: UploadsGranted) -> UploadsGranted:
        """With a grant to put for each chunk of the batch that ``request`` asked for."""
        expires_ms = self._now_ms() + VALID_MS
        spread = Spread(granted.targets, granted.quorum)

        def signed(part: NewUpload, upload: GrantedUpload) -> GrantedUpload:
            if not upload.generation:
                return upload
            evidence = label_evidence(Label(part.name, part.size, request.chunk_size, request.replication))
            grant = self._keys.sign(
                GrantKind.PUT, upload.file_id, 0, upload.generation, expires_ms, evidence, spread
            )  # fmt: skip
            return GrantedUpload(upload.file_id, upload.generation, grant.mac)

        outcomes = tuple(
            UploadOutcome(signed(part, outcome.granted), None) if outcome.granted is not None else outcome
            for part, outcome in zip(request.uploads, granted.outcomes, strict=True)
        )
        return UploadsGranted(granted.lease_ms, granted.targets, granted.quorum, expires_ms, outcomes)
