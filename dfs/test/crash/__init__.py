"""Crash states of the real stores: what a power cut may leave of recorded system calls, reopened and judged (L3).

==============  =======================================================================================
module          holds
==============  =======================================================================================
``calls``       what a program asked of the file system, one value a call, and what it promised meanwhile
``recording``   a disk that records those calls, passes them on to the real one, and can end the process
``strace``      the same calls out of the output of strace(1), for code that writes by itself
``volume``      a file system as a power cut sees it: what is durable, what is not yet
``draws``       crash states of a volume: subsets of what is not durable, torn by sectors or by pages
``subjects``    what a store has to do to be tried; ``tables``, ``raftlog``, ``chunks`` are those that do
``lives``       a process's life with a store, and the judgement of what it left
``hunt``        recordings upon recordings, each begun in a crash state of the one before
``injecting``   the n-th call of a process fails, or ends it
``driver``      a process to be traced: one life of a store
==============  =======================================================================================

``python -m dfs.test.crash --count 10000`` tries ten thousand states and tells how many of each store.
"""
