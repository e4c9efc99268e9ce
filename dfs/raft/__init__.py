"""Consensus: a replicated log after the Raft thesis.

::

    interfaces.py   what the room asks of the world and gives to it (IRaft, IStateMachine, IRaftTransport)
    messages.py     messages and entries as values
    codec.py        their bytes; layout.py declares the same layouts with construct
    membership.py   who belongs: configuration entries and the changes that make the next one
    core/           the algorithm: pure, deterministic, copyable; tick and step in, Ready out
    errors.py       what a proposal or a read can end with

The shell and the storage of the log stand beside them.  Nothing is re-exported here: the pure modules are
imported without Twisted.
"""
