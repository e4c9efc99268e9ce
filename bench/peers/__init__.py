"""Other systems, through the same work on the same machine in the same run: SeaweedFS, MooseFS, etcd, PySyncObj.

    python -m bench.peers.install            # fetches their packages into .build/peers; installs nothing on the system
    python -m bench.peers.run [--rounds 5]

Each is set up as its documentation says, with three copies, bound to the loopback interface, and stopped afterwards.
What they do not do is said beside the figures: SeaweedFS and MooseFS acknowledge a write before it is
synced, PySyncObj syncs nothing at all.
"""
