"""An ordered key-value store under the metadata tables: three engines, one contract.

::

    open.open_store --> folder.StoreFolder --> berkeley | semidbm_store | memory      (IKeyValueStore)
    convert, folder       (marker file,          |              \\       /
        |                  switch)               |            batchfile               (records, torn tails)
      stream                                     |               |
    (snapshot bytes)                        witness (IDisk)    IDisk

Beside them: :mod:`~dfs.kv.snapshot` (a consistent view while writes go on), :mod:`~dfs.kv.sortedkeys`
(the order of keys in RAM) and :mod:`~dfs.kv.guard` (limits, closing, the first error is final).
"""
