"""Benchmarks: this system beside what the machine can do, in the same run."""
