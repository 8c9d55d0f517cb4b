"""Who sees which pair, in which order, with which picture on which side."""

from __future__ import annotations

import numpy as np

from dfprompt.errors import StudyError

Seen = tuple[int, int]
"""A participant's place and a pair's."""


def share_out(pairs: int, participants: int, each: int, seed: int) -> list[list[int]]:
    """Return for each participant `each` different pairs; every pair is seen equally often within one.

    Pairs are dealt in shuffled rounds. A participant whose hand ends one round and begins the next gets no
    pair twice. Raises StudyError where there are fewer pairs than each is to see.

    >>> hands = share_out(5, 3, 3, seed=0)
    >>> [len(set(hand)) for hand in hands], sorted(sum(hands, [])).count(0) in (1, 2)
    ([3, 3, 3], True)
    """
    if each > pairs:
        raise StudyError(f"nobody can see {each} different pairs of {pairs}; plan more pairs or show fewer")
    random = np.random.default_rng(seed)
    deck: list[int] = []
    hands = []
    for _ in range(participants):
        hand, deck = deck[:each], deck[each:]
        if missing := each - len(hand):
            new = [int(pair) for pair in random.permutation(pairs)]
            added = [pair for pair in new if pair not in hand][:missing]
            deck = [pair for pair in new if pair not in added]
            hand += added
        hands.append([hand[place] for place in random.permutation(each)])
    return hands


def balance_sides(hands: list[list[int]], pairs: int) -> dict[Seen, bool]:
    """Return whether the first picture stands left, for every participant and pair they see.

    Left and right differ by at most one within every participant and within every pair: the edges of the
    graph of who sees what are walked in closed trails and put left and right in turn; an odd vertex is given
    one edge to a vertex that stands for nobody. (Every trail of such a graph is even, so each vertex is left
    as often as it is entered.)

    >>> sides = balance_sides([[0, 1], [0, 1]], 2)
    >>> sides[0, 0] != sides[0, 1] and sides[0, 0] != sides[1, 0]
    True
    """
    count = len(hands)
    edges = [(person, count + pair) for person, hand in enumerate(hands) for pair in hand]
    seen, degree = len(edges), np.zeros(count + pairs + 2, dtype=int)
    for one, other in edges:
        degree[one] += 1
        degree[other] += 1
    nobody, nothing = count + pairs, count + pairs + 1
    for vertex in np.flatnonzero(degree[: count + pairs] % 2).tolist():
        edges.append((vertex, nothing) if vertex < count else (nobody, vertex))
    if (len(edges) - seen) and sum(edge[0] == nobody for edge in edges) % 2:
        edges.append((nobody, nothing))
    return {
        (edges[edge][0], edges[edge][1] - count): first
        for edge, first in _walk(edges, count + pairs + 2).items()
        if edge < seen
    }


def _walk(edges: list[tuple[int, int]], vertices: int) -> dict[int, bool]:
    """Return for every edge whether its closed trail passes it from its first end to its second."""
    at: list[list[int]] = [[] for _ in range(vertices)]
    for place, (one, other) in enumerate(edges):
        at[one].append(place)
        at[other].append(place)
    passed: dict[int, bool] = {}
    for start in range(vertices):
        vertex = start
        while True:
            while at[vertex] and at[vertex][-1] in passed:
                at[vertex].pop()
            if not at[vertex]:
                break  # only where the trail began: there it closes, and no edge is left
            edge = at[vertex].pop()
            one, other = edges[edge]
            passed[edge] = vertex == one
            vertex = other if vertex == one else one
    return passed


def order_trials(
    hand: list[int], practice: list[int], repeats: int, gold: list[int], random: np.random.Generator
) -> list[tuple[str, int]]:
    """Return one participant's trials as (kind, pair): practice, then the rest with repeats and controls.

    A repeat comes at least half of the hand after its first showing; controls stand anywhere but first.

    >>> [kind for kind, _ in order_trials([3, 4, 5, 6], [9], 1, [], np.random.default_rng(0))]
    ['practice', 'main', 'main', 'main', 'main', 'repeat']
    """
    shown = [("main", pair) for pair in hand]
    early = random.permutation(max(1, len(hand) // 2))[:repeats].tolist()
    late = [("repeat", hand[place]) for place in sorted(early)]
    for each in late:
        first = shown.index(("main", each[1]))
        shown.insert(
            int(random.integers(min(first + 1 + (len(hand) + 1) // 2, len(shown)), len(shown) + 1)), each
        )
    for pair in gold:
        shown.insert(int(random.integers(1, len(shown) + 1)), ("gold", pair))
    return [*(("practice", pair) for pair in practice), *shown]
