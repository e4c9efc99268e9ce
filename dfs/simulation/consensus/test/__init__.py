"""Tests of the consensus laboratory."""
