"""Tests of the whole: the simulated cluster and real processes."""
