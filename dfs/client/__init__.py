"""The client: files in, files out.

- :mod:`~dfs.client.api`, :mod:`~dfs.client.blocking`: what programs use;
- uploading: :mod:`~dfs.client.sources` cuts bytes into chunk bodies, :mod:`~dfs.client.granting` begins or resumes
  by a :mod:`~dfs.client.manifest`, :mod:`~dfs.client.placing` asks for places ahead, :mod:`~dfs.client.sending` streams
  one chunk, :mod:`~dfs.client.upload` runs them all and commits;
- downloading: :mod:`~dfs.client.fetching` gets one chunk from whichever replica gives it soundly through
  :mod:`~dfs.client.receiving`, :mod:`~dfs.client.download` makes files, :mod:`~dfs.client.reading` ranges.
"""

from dfs.client.api import Client, ClientOptions, connect

__all__ = ["Client", "ClientOptions", "connect"]
