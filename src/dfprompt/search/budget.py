"""What a search may spend, and what is too little to find anything with."""

from __future__ import annotations

from dataclasses import dataclass

from dfprompt.errors import ConfigError

FEWEST_IMAGES = 16


@dataclass(frozen=True)
class Budget:
    """What a search may spend: images, every one counted, and perhaps minutes of drawing and scoring.

    `best_of_n` says whether plain is drawn, after the search, until there are as many plain pictures as the
    search measured: True keeps images for it from the start, None does so if enough are left, False never.
    """

    images: int = 48
    minutes: float | None = None
    best_of_n: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.images, bool) or not isinstance(self.images, int) or self.images < FEWEST_IMAGES:
            raise ConfigError(
                f"a search needs at least {FEWEST_IMAGES} images, half to make sure; got {self.images}"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes must be above 0, not {self.minutes}")
        if self.for_search < FEWEST_IMAGES:
            fewest = next(n for n in range(FEWEST_IMAGES, 99) if fit_search(n) >= FEWEST_IMAGES)
            raise ConfigError(
                f"a search with best-of-n at equal images needs at least {fewest} images; got {self.images}"
            )

    @property
    def for_search(self) -> int:
        """The images of the search itself, fresh seeds included; the rest is for best-of-n."""
        return fit_search(self.images) if self.best_of_n else self.images

    @property
    def seconds_for_search(self) -> float | None:
        """The seconds of the search itself, in proportion; None without a limit."""
        return None if self.minutes is None else 60 * self.minutes * self.for_search / self.images


def fit_search(images: int) -> int:
    """Return the most images a search may have so that as many plain pictures can be drawn in the rest.

    Those plain pictures that the search draws itself count: one per fresh pair and at least one more.

    >>> fit_search(48), fit_search(27)
    (28, 16)
    """
    search = images
    while search and 2 * search - search // 4 - 1 > images:
        search -= 1
    return search
