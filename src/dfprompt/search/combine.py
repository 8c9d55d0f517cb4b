"""What is tried next: combinations of what did well, then small changes of the best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from dfprompt.search.candidates import Arm, Space

MOST_SPANS = 4
_PARENTS = 4  # arms whose combinations are looked at


def propose(space: Space, ranked: Sequence[tuple[Arm, float]]) -> list[Arm]:
    """Return new arms made of those that stand above plain, the most promising first.

    `ranked` are arms with their estimated differences to plain, best first. Two arms with no phrase in
    common are joined; their expected difference is the sum, as if effects added up. Variants of the best
    arm come behind the joins.
    """
    good = [(arm, estimate) for arm, estimate in ranked if estimate > 0][:_PARENTS]
    joined = [
        (first + second, space.make((*one.spans, *other.spans), one.origins | other.origins))
        for (one, first), (other, second) in combinations(good, 2)
        if not one.words & other.words and len(one.spans) + len(other.spans) <= MOST_SPANS
    ]
    joined.sort(key=lambda item: -item[0])
    best = space.variants(good[0][0]) if good else []
    known = {arm.prompt for arm, _ in ranked}
    fresh = {arm.prompt: arm for arm in [*(arm for _, arm in joined), *best] if arm.prompt not in known}
    return list(fresh.values())
