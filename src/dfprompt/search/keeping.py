"""A space without what would drop, move or weight the words a user wants kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt import DFPrompt, Span
from dfprompt.prompt.keeping import find_kept, is_kept
from dfprompt.search.candidates import Arm, Space


@dataclass(frozen=True)
class KeptSpace:
    """The arms of a space that leave the kept words alone; `kept` are those of `find_kept`."""

    inner: Space
    kept: tuple[str, ...]

    @property
    def plain(self) -> DFPrompt:
        """What every arm is compared with."""
        return self.inner.plain

    def first(self, room: int) -> list[Arm]:
        """Return the first arms, as many as there is room for, that leave the words alone."""
        found: list[Arm] = []
        asked = room
        while len(found) < room:
            arms = self.inner.first(asked)
            found = self._allowed(arms)
            if len(arms) < asked:
                break
            asked *= 2
        return found[:room]

    def make(self, spans: Iterable[Span], origins: frozenset[str] = frozenset()) -> Arm:
        """As the space does: what arms are combined of was allowed before."""
        return self.inner.make(spans, origins)

    def variants(self, arm: Arm) -> list[Arm]:
        """Return the variants that leave the words alone."""
        return self._allowed(self.inner.variants(arm))

    def _allowed(self, arms: Sequence[Arm]) -> list[Arm]:
        return [arm for arm in arms if is_kept(arm.prompt, self.kept)]


def keep_in(space: Space, keep: Sequence[str]) -> Space:
    """Return the space without arms that touch these words; the space itself where none is given.

    Raises InputError for words that the prompt does not have, that its own spans control, or that leave
    nothing to try.
    """
    if not keep:
        return space
    text = space.plain.plain_text
    if missing := [word for word in keep if not find_kept(text, [word])]:
        raise InputError(f"--keep {quote(missing[0])}: the prompt has no such words")
    kept = tuple(find_kept(text, keep))
    if not is_kept(space.plain, kept):
        raise InputError(f"--keep {quote(kept[0])}: a span of the prompt controls it already")
    chosen = KeptSpace(space, kept)
    if not chosen.first(1):
        raise InputError(f"--keep {quote(kept[0])} leaves nothing to try; give other modifiers")
    return chosen
