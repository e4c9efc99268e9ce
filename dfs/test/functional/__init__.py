"""Tests on real twistd processes, sockets and disks."""
