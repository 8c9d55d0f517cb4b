"""Short form and modifiers: where a prompt's subject ends and its embellishment begins."""

from __future__ import annotations

import re
from collections.abc import Callable

from dfprompt.policy.bans import normalize, split_words

Split = Callable[[str], tuple[str, tuple[str, ...]]]

# Phrases that open a prompt and are not what it is about.
_PRAISE = frozenset(
    """masterpiece | best quality | high quality | highest quality | top quality | ultra quality
    absurdres | highres | high res | hires | 4k | 8k | 16k | uhd | hd | hdr | ultra hd | raw photo | raw
    highly detailed | ultra detailed | extremely detailed | intricate | intricate details | detailed
    award winning | award winning photo | professional | trending on artstation | trending | cinematic
    photorealistic | realistic | ultra realistic | hyperrealistic | sharp focus | beautiful | amazing
    epic | stunning | perfect | official art | aesthetic""".replace("\n", "|").split("|")
)
_KNOWN_PRAISE = frozenset(" ".join(phrase.split()) for phrase in _PRAISE)
_SUBJECT_WORDS = 3  # a first part with fewer, such as "portrait", is not yet a subject
_BETWEEN = re.compile(r"[,;\n]|\.\s")


def split_at_comma(text: str) -> tuple[str, tuple[str, ...]]:
    """The text before the first comma, and the phrases behind it (equation 1's short form).

    >>> split_at_comma("a red cat, golden hour, 8k")
    ('a red cat', ('golden hour', '8k'))
    """
    first, _, rest = text.partition(",")
    return first.strip(), _phrases(rest)


def split_at_subject(text: str) -> tuple[str, tuple[str, ...]]:
    """A short form that holds a subject: praise in front of it becomes modifiers, a bare first word grows.

    >>> split_at_subject("masterpiece, best quality, portrait, a woman in red, oil painting")
    ('portrait, a woman in red', ('masterpiece', 'best quality', 'oil painting'))
    """
    parts = list(_phrases(text))
    praise: list[str] = []
    while len(parts) > 1 and _is_praise(parts[0]):
        praise.append(parts.pop(0))
    subject: list[str] = []
    while parts and len(split_words(" ".join(subject))) < _SUBJECT_WORDS:
        if subject and _is_praise(parts[0]):
            break
        subject.append(parts.pop(0))
    return ", ".join(subject), (*praise, *parts)


SPLITS: dict[str, Split] = {"comma": split_at_comma, "subject": split_at_subject}


def _phrases(text: str) -> tuple[str, ...]:
    parts = (" ".join(part.split()).strip(" .") for part in _BETWEEN.split(text))
    return tuple(part for part in parts if part)


def _is_praise(phrase: str) -> bool:
    return " ".join(split_words(phrase)) in _KNOWN_PRAISE or not split_words(normalize(phrase))
