"""Which words a rewrite added to the plain prompt: its modifiers, each with its control."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from dfprompt.policy.bans import normalize
from dfprompt.prompt import DFPrompt, Span

# A dot parts phrases only before a space or the end: "f/1.8" is one.
_BORDERS = re.compile(r"[,;\n]|\.(?=\s|$)")


def split_phrases(text: str) -> list[str]:
    """Return the comma phrases of a text, without spaces around them.

    >>> split_phrases("a cat at f/1.8, film grain. 8k.")
    ['a cat at f/1.8', 'film grain', '8k']
    """
    return [phrase for part in _BORDERS.split(text) if (phrase := part.strip())]


def find_modifiers(plain: str, prompt: DFPrompt) -> list[Span]:
    """Return what `prompt` adds to `plain`: bracketed spans as they are, plain phrases with the default.

    The plain prompt's own phrases are left out, once for each time it says them; a rewrite that
    rephrases them counts as modifiers throughout.

    >>> print(*find_modifiers("a cat", DFPrompt(["a cat, 8k, ", Span("film grain", "late")])))
    [8k:full] [film grain:late]
    """
    own = Counter(normalize(phrase) for phrase in split_phrases(plain))
    found = []
    for span in _pieces(prompt):
        key = normalize(span.text)
        if own[key]:
            own[key] -= 1
        else:
            found.append(span)
    return found


def _pieces(prompt: DFPrompt) -> Iterable[Span]:
    for piece in prompt.spans:
        if isinstance(piece, Span):
            yield piece
        else:
            yield from map(Span, split_phrases(piece))
