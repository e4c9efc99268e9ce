"""Directed graphs as bit masks: every one of n nodes, one of each class of isomorphic ones.

Bit ``i * (n - 1) + k`` of a mask is the link from node i to the k-th of the other nodes.  The classes are counted by
sequence A000273: 3 nodes have 16, 4 nodes 218, 5 nodes 9,608.
"""

from __future__ import annotations

from itertools import permutations


def pairs(nodes: int) -> list[tuple[int, int]]:
    """The directed links in the order of their bits."""
    return [(i, j) for i in range(nodes) for j in range(nodes) if i != j]


def links(nodes: int, mask: int) -> frozenset[tuple[int, int]]:
    """The links of one graph."""
    return frozenset(pair for bit, pair in enumerate(pairs(nodes)) if mask >> bit & 1)


def classes(nodes: int) -> list[int]:
    """The least mask of each class of isomorphic graphs, ascending.

    Masks are gone through upwards; the first of a class strikes out all its images.  An image is two look-ups: a table
    for each permutation and half of the bits.
    """
    order = pairs(nodes)
    half = (len(order) + 1) // 2
    tables = [_tables(order, half, image) for image in permutations(range(nodes))]
    low_bits = (1 << half) - 1
    struck = bytearray(1 << len(order))
    found = []
    for mask in range(1 << len(order)):
        if struck[mask]:
            continue
        found.append(mask)
        low, high = mask & low_bits, mask >> half
        for lower, upper in tables:
            struck[lower[low] | upper[high]] = 1
    return found


def _tables(order: list[tuple[int, int]], half: int, image: tuple[int, ...]) -> tuple[list[int], list[int]]:
    place = {pair: bit for bit, pair in enumerate(order)}
    moved = [1 << place[image[i], image[j]] for i, j in order]
    return _sums(moved[:half]), _sums(moved[half:])


def _sums(values: list[int]) -> list[int]:
    """The union of the values that each number's bits choose."""
    sums = [0]
    for value in values:
        sums += [former | value for former in sums]
    return sums


def able(nodes: int, mask: int) -> list[int]:
    """The nodes that can talk in both directions with a majority, themselves included."""
    there = links(nodes, mask)
    return [i for i in range(nodes) if 1 + sum((i, j) in there and (j, i) in there for j in range(nodes)) > nodes // 2]
