"""Candidates that differ in kind: other words, not another comma or weight."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from dfprompt.policy.bans import normalize
from dfprompt.policy.rewrite import Rewrite
from dfprompt.policy.settings import SamplingSettings

# Two rewrites that share this part of all their modifiers are of one kind.
_SHARED = 0.5
# A kind may take several draws; a policy that has few things to say must not draw for ever.
_FREE, _HALF = 3, 3
_PUSHED = 2 * _HALF
_FREER, _WIDER, _WIDEST = 1.0, 0.95, 0.99  # temperature of pushed draws, and their top-p in either half
_REDRAWS = 12  # how often a word that they may not say is drawn again


def same_kind(one: Rewrite, other: Rewrite) -> bool:
    """Whether two rewrites share at least half of all their modifiers, in any order, with any controls."""
    first, second = ({normalize(span.text) for span in each.modifiers} for each in (one, other))
    if not first and not second:
        return True
    return len(first & second) >= _SHARED * len(first | second)


class KindHunt:
    """Draws of one prompt, one after the other, until there are `count` kinds or nothing new is said.

    Each kind may take a few draws with the settings given, then a few more that are pushed away from the
    kinds there are: freer, and without half, then without any of their words. What a policy says of itself
    always comes first.
    """

    def __init__(self, count: int, settings: SamplingSettings) -> None:
        self.count, self.usual = count, settings
        self.kinds: list[Rewrite] = []
        self.others: list[Rewrite] = []
        self.drawn, self._tries, self._places = 0, 0, count

    @property
    def missing(self) -> bool:
        """Whether another draw is wanted."""
        return self._places > 0

    @property
    def _last(self) -> bool:
        return self._tries >= _FREE + _HALF

    @property
    def alike(self) -> int:
        """How many draws may be made at once: as many as would be made alike if nothing new came of them."""
        left = _FREE - self._tries if self._tries < _FREE else (_FREE + _PUSHED - self._tries - 1) % _HALF + 1
        return left if self.kinds else 1

    def settings(self) -> SamplingSettings:
        """How the next draw is made."""
        if self._tries < _FREE:
            return self.usual
        words = self._pushed()
        bans = replace(self.usual.bans, words=(*self.usual.bans.words, *words))
        return replace(
            self.usual,
            temperature=max(self.usual.temperature, _FREER),
            top_p=max(self.usual.top_p, _WIDEST if self._last else _WIDER),
            bans=bans,
            redraws=max(self.usual.redraws, _REDRAWS),
            min_modifiers=max(1, self.usual.min_modifiers),
        )

    def take(self, rewrite: Rewrite) -> None:
        """Take what was drawn: a new kind, another text of a known one, or the same again."""
        pushed = self._tries >= _FREE
        if pushed:  # words left out for the sake of difference are no news to the user
            reasons = {f"banned: {word}" for word in self._pushed()}
            rewrite = replace(
                rewrite, dropped=tuple(each for each in rewrite.dropped if each[1] not in reasons)
            )
        rewrite = replace(rewrite, candidate=self.drawn)
        self.drawn, self._tries = self.drawn + 1, self._tries + 1
        is_new = not any(same_kind(rewrite, kept) for kept in self.kinds)
        is_new = is_new and (rewrite.changed or not pushed)  # all it drew was left out: nothing of its own
        (self.kinds if is_new else self.others).append(rewrite)
        if is_new or self._tries == _FREE + _PUSHED:
            self._tries, self._places = 0, self._places - 1

    def found(self) -> list[Rewrite]:
        """Return up to `count` rewrites: the kinds, then other texts in their order."""
        texts, found = {str(each.prompt) for each in self.kinds}, list(self.kinds)
        for each in self.others:
            if len(found) < self.count and str(each.prompt) not in texts:
                found.append(each)
                texts.add(str(each.prompt))
        return found

    def _pushed(self) -> list[str]:
        """The words to leave out next: of every kind half, the commonest first, then all."""
        said = Counter(normalize(span.text) for each in self.kinds for span in each.modifiers)
        if self._last:
            return list(said)
        words: dict[str, None] = {}
        for each in self.kinds:
            own = sorted(
                {normalize(span.text) for span in each.modifiers}, key=lambda word: (-said[word], word)
            )
            words |= dict.fromkeys(own[: (len(own) + 1) // 2])
        return list(words)
