"""What a policy may not append: words in any casing, cut or width; parts of words; patterns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.policy.wordlists import read_wordlist

_WORD = re.compile(r"[^\W_]+")

# "by Jane Roe", "in the style of Jane Roe", "art by ...": a name in that place is taken for an artist's.
ARTIST_PATTERN = r"\b(?:by|in the style of|inspired by)\s+(?!the\b|an?\b|night\b|day\b)\w+"


def normalize(text: str) -> str:
    """Text as bans compare it: NFKC, casefolded, without invisible characters, single spaces.

    >>> normalize("ＧＯＲＥ\\u200b  Straße")
    'gore strasse'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = "".join(
        " " if character.isspace() else character
        for character in folded
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join(visible.split())


def split_words(text: str) -> list[str]:
    """The words of a text, normalized; everything but letters and digits parts them.

    >>> split_words("Close-up, 8K!")
    ['close', 'up', '8k']
    """
    return _WORD.findall(normalize(text))


@dataclass(frozen=True)
class Bans:
    """Words, parts of words and patterns that no appended modifier may hold.

    `words` match whole words wherever a text parts them ("oil painting" bans "Oil-Painting" and not
    "oils"); `substrings` match anywhere; `patterns` are regular expressions searched in the
    normalized text. Raises ConfigError for an entry that is empty or no regular expression.

    >>> Bans(words=["Gore"]).find("extreme GORE"), Bans(words=["gore"]).find("gorgeous")
    ('gore', None)
    """

    words: Sequence[str] = ()
    substrings: Sequence[str] = ()
    patterns: Sequence[str] = ()
    artists: bool = False
    _words: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)
    _substrings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = [*self.words, *(read_wordlist("artists") if self.artists else ())]
        patterns = [*self.patterns, *([ARTIST_PATTERN] if self.artists else ())]
        object.__setattr__(self, "_words", tuple(_word_sequence(word) for word in words))
        object.__setattr__(self, "_substrings", tuple(_substring(text) for text in self.substrings))
        object.__setattr__(self, "_patterns", tuple(_compiled(pattern) for pattern in patterns))

    def __bool__(self) -> bool:
        return bool(self._words or self._substrings or self._patterns)

    def find(self, text: str) -> str | None:
        """The first ban a text breaks, as it would be named to a user; None if it breaks none."""
        return next(iter(self.find_all([text])), None)

    def find_all(self, texts: Iterable[str]) -> list[str]:
        """Every ban the texts break, once each, in the order they are found."""
        found: dict[str, None] = {}
        for text in texts:
            plain = normalize(text)
            said = f" {' '.join(_WORD.findall(plain))} "
            found |= dict.fromkeys(" ".join(words) for words in self._words if f" {' '.join(words)} " in said)
            found |= dict.fromkeys(part for part in self._substrings if part in plain)
            found |= dict.fromkeys(pattern.pattern for pattern in self._patterns if pattern.search(plain))
        return list(found)


def _word_sequence(word: str) -> tuple[str, ...]:
    found = tuple(split_words(word)) if isinstance(word, str) else ()
    if not found:
        raise ConfigError(f"{quote(word)} is no word to ban; for other characters ban a substring")
    return found


def _substring(text: str) -> str:
    found = normalize(text) if isinstance(text, str) else ""
    if not found:
        raise ConfigError(f"{quote(text)} is no text to ban; it is empty once normalized")
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, TypeError) as error:
        raise ConfigError(f"{quote(pattern)} is no regular expression: {error}") from error
