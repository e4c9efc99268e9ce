"""Chaos on real processes: a cluster of twistd daemons under faults, clients beside it, and a judge at the end.

===========  ======================================================================================
module       holds
===========  ======================================================================================
``places``   where a node lives: a network namespace of its own, or this machine's loopback
``cluster``  the daemons: started, killed, stopped, restarted, counted
``disks``    small file systems for nodes, ballast that fills them, bits that flip at rest
``faults``   what is done to the cluster, drawn from a seed
``client``   a process that uploads, downloads and deletes, and writes down what it was told
``judge``    the history of all clients, merged and judged
===========  ======================================================================================

``python -m bench.chaos [--minutes 10] [--seed N] [--json]``; it ends by itself, and leaves no process, mount or
namespace behind, however it ends.
"""
