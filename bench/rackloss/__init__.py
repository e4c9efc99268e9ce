"""What the leader does when a rack dies: planner and state machine real, chunk servers modelled, time virtual.

    python -m bench.rackloss [--chunks 1000000] [--folder DIR] [--svg FILE] [--json FILE]

1,000 chunk servers in 40 racks; every tenth file has two copies, the others three; one rack of 25 servers dies.  Ten
million chunks take 10 GB of disk, half of it for the copy that is worked on.  Shown are the leader's CPU (of the
reactor thread and of the lane that reads and writes the tables), its memory, and how the chunks with one, and with two,
live copies become fewer.
"""
