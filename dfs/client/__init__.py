"""The client: files in, files out.

- :mod:`~dfs.client.api`, :mod:`~dfs.client.blocking`: what programs use;
- uploading: :mod:`~dfs.client.sources` cuts bytes into chunk bodies, :mod:`~dfs.client.granting` begins or resumes
  by a :mod:`~dfs.client.manifest`, :mod:`~dfs.client.placing` asks for places ahead, :mod:`~dfs.client.sending` streams
  one chunk, :mod:`~dfs.client.storing` until it is durable, :mod:`~dfs.client.upload` runs them all and commits,
  :mod:`~dfs.client.uploading` is the whole;
- downloading: :mod:`~dfs.client.chunklist` tells the chunks, :mod:`~dfs.client.opening` finds a replica that answers,
  :mod:`~dfs.client.receiving` verifies what it sends, :mod:`~dfs.client.fetching` goes on to the next one,
  :mod:`~dfs.client.download` makes files, :mod:`~dfs.client.reading` ranges, :mod:`~dfs.client.reporting` tells
  metadata of corrupt replicas;
- all of it: :mod:`~dfs.client.context`, :mod:`~dfs.client.session`, :mod:`~dfs.client.concurrency`,
  :mod:`~dfs.client.progress`, :mod:`~dfs.client.errors`.
"""

from dfs.client.api import Client, ClientOptions, connect

__all__ = ["Client", "ClientOptions", "connect"]
