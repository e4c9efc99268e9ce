"""Reads that any metadata member serves.  See :mod:`dfs.protocol.messages`.

``at_least`` is the highest applied index that the client has seen, and ``applied`` that of the member that answers, at
which the answer holds: it is never below ``at_least`` (R49).
"""

from __future__ import annotations

from attrs import frozen

from dfs.protocol.messages_metadata import ChunkPage, FileInfo, FilePage, GetFile, ListChunks, ListFiles


@frozen
class GetFileAt:
    at_least: int
    request: GetFile


@frozen
class FileAt:
    applied: int
    answer: FileInfo


@frozen
class ListChunksAt:
    at_least: int
    request: ListChunks


@frozen
class ChunkPageAt:
    applied: int
    answer: ChunkPage


@frozen
class ListFilesAt:
    at_least: int
    request: ListFiles


@frozen
class FilePageAt:
    applied: int
    answer: FilePage
