"""Candidates that differ in kind: other words, not another comma or weight."""

from __future__ import annotations

from collections.abc import Sequence

from dfprompt.policy.bans import normalize
from dfprompt.policy.rewrite import Rewrite

# Two rewrites that share this part of all their modifiers are of one kind.
_SHARED = 0.5


def same_kind(one: Rewrite, other: Rewrite) -> bool:
    """Whether two rewrites share at least half of all their modifiers, in any order, with any controls."""
    first, second = ({normalize(span.text) for span in each.modifiers} for each in (one, other))
    if not first and not second:
        return True
    return len(first & second) >= _SHARED * len(first | second)


def choose_kinds(drawn: Sequence[Rewrite], count: int) -> list[Rewrite]:
    """Up to `count` rewrites of those `drawn`, in their order: the first of each kind, then other texts.

    A rewrite is kept if it is of no kind kept before it. Where there are fewer kinds than `count`, rewrites
    of kinds that are there but with other texts follow.
    """
    kinds: list[Rewrite] = []
    for each in drawn:
        if len(kinds) < count and not any(same_kind(each, kept) for kept in kinds):
            kinds.append(each)
    texts = {str(each.prompt) for each in kinds}
    for each in drawn:
        if len(kinds) < count and str(each.prompt) not in texts:
            kinds.append(each)
            texts.add(str(each.prompt))
    return kinds
