"""The same words at other times: all the time, early, late, and late and gently, with no policy at all."""

from __future__ import annotations

import re
from typing import Any

from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.conditioning.generic.weights import find_weighted
from dfprompt.evaluation.side_by_side import Rewrite
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import EARLY, FULL, LATE, DFPrompt, EffectRange, Span, Weight

ALWAYS, EARLY_LABEL, LATE_LABEL, GENTLY = "all the time", "early", "late", "late and gently"
GENTLE = "0.75"  # of the weight, in the late half
_LAST_QUARTER = EffectRange("0.25", "0")


def vary(base: DFPrompt, words: str, *, weights: bool = True) -> list[Rewrite]:
    """Return the four ways to say `words` with a prompt: full, early, late, and late and gently.

    Words that the prompt holds already stay in their place; others stand behind it. Where a pipeline knows
    no `weights`, gently is the last quarter of the time instead of less weight. Raises PromptValueError for
    words that no span can have.

    >>> [str(each.prompt) for each in vary(DFPrompt(["a cat"]), "snow")]
    ['a cat, [snow:full]', 'a cat, [snow:early]', 'a cat, [snow:late]', 'a cat, [snow:late:0.75]']
    """
    words = words.strip()
    gently = Span(words, LATE, Weight(GENTLE)) if weights else Span(words, _LAST_QUARTER)
    spans = (Span(words, FULL), Span(words, EARLY), Span(words, LATE), gently)
    labels = (ALWAYS, EARLY_LABEL, LATE_LABEL, GENTLY)
    return [Rewrite(label, _place(base, span)) for label, span in zip(labels, spans, strict=True)]


def knows_weights(pipe: Any) -> bool:
    """Return whether a pipeline's words can have weights."""
    classes = [kind.__name__ for kind in type(pipe).__mro__]
    return find_capabilities(classes) is not None or find_weighted(classes) is not None


def _place(base: DFPrompt, span: Span) -> DFPrompt:
    """Put a span where its words stand in the prompt already, else behind it."""
    for number, piece in enumerate(base.spans):
        found = _find(span.text, piece) if isinstance(piece, str) else None
        if found is not None:
            inside = Span(found[0], span.effect_range, span.weight)
            parts: list[str | Span] = [found.string[: found.start()], inside, found.string[found.end() :]]
            return DFPrompt([*base.spans[:number], *parts, *base.spans[number + 1 :]])
    behind = append_modifiers(base, [Span(span.text, LATE)])
    return DFPrompt([*behind.spans[:-1], span])


def _find(words: str, text: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE)
