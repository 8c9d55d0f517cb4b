"""How varied a method's rewrites are: a policy that has collapsed says the same to every prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfprompt.policy.bans import normalize
from dfprompt.prompt import Span


@dataclass(frozen=True)
class Diversity:
    """What a set of rewrites, one per prompt, says.

    `distinct` counts different modifiers (words alone, casing and width aside), `distinct_share` is their
    share of all; `self_similarity` the mean overlap of two prompts' modifiers (intersection over union of
    the two sets; 1: one suffix for all, None: fewer than two prompts got any); `default_share` the share
    of modifiers with full range and weight 1; `unchanged_share` the share of prompts left alone.
    """

    rewrites: int
    modifiers: int
    distinct: int
    distinct_share: float | None
    self_similarity: float | None
    default_share: float | None
    unchanged_share: float


def measure_diversity(rewrites: Sequence[Sequence[Span]]) -> Diversity:
    """Measure the modifiers of several prompts' rewrites, one list per prompt.

    >>> measure_diversity([[Span("8k")], [Span("8K"), Span("film grain", "late")]]).self_similarity
    0.5
    """
    spans = [span for rewrite in rewrites for span in rewrite]
    counts = Counter(normalize(span.text) for span in spans)
    sets = [{normalize(span.text) for span in rewrite} for rewrite in rewrites if rewrite]
    return Diversity(
        rewrites=len(rewrites),
        modifiers=len(spans),
        distinct=len(counts),
        distinct_share=len(counts) / len(spans) if spans else None,
        self_similarity=compute_self_similarity(sets),
        default_share=sum(span.is_neutral for span in spans) / len(spans) if spans else None,
        unchanged_share=sum(not rewrite for rewrite in rewrites) / len(rewrites) if rewrites else 0.0,
    )


def compute_self_similarity(sets: Sequence[set[str]]) -> float | None:
    """Return the mean Jaccard overlap of all pairs of different sets; None for fewer than two.

    >>> compute_self_similarity([{"a", "b"}, {"b"}])
    0.5
    """
    if len(sets) < 2:
        return None
    columns = {word: column for column, word in enumerate(sorted(set().union(*sets)))}
    members = np.zeros((len(sets), len(columns)), dtype=np.float64)
    for row, words in enumerate(sets):
        members[row, [columns[word] for word in words]] = 1
    shared = members @ members.T
    sizes = members.sum(axis=1)
    overlap = shared / (sizes[:, None] + sizes[None, :] - shared)
    pairs = len(sets) * (len(sets) - 1)
    return float((overlap.sum() - len(sets)) / pairs)
