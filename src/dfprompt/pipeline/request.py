"""What is to be drawn: prompts and seeds read, checked and paired before anything runs."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dfprompt.conditioning.prompts import Dialect, Prompts, read_prompts, spread_negatives
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings

MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Request:
    """Pictures to be drawn, one per row: prompts, seeds, negative prompts (None: none), settings."""

    prompts: tuple[DFPrompt, ...]
    seeds: tuple[int, ...]
    negatives: tuple[DFPrompt, ...] | None
    settings: RenderSettings

    def __len__(self) -> int:
        return len(self.prompts)

    def size(self) -> str:
        """Say how much is drawn: pictures, their size in pixels, steps."""
        asked = self.settings
        return f"{len(self)} at {asked.width}x{asked.height}, {asked.num_inference_steps} steps"

    def take(self, rows: Sequence[int]) -> Request:
        """Return the request for some of the rows, in this order."""
        return replace(
            self,
            prompts=tuple(self.prompts[row] for row in rows),
            seeds=tuple(self.seeds[row] for row in rows),
            negatives=None if self.negatives is None else tuple(self.negatives[row] for row in rows),
        )


def read_request(
    prompts: Prompts,
    seeds: int | Sequence[int],
    negative_prompt: Prompts | None,
    settings: RenderSettings,
    dialect: Dialect,
) -> Request:
    """Read prompts, and pair them with seeds: a single one of either serves all of the other.

    Raises ParseError for text that is no prompt, ConfigError for numbers that do not match, for a
    seed that is none and for text that no tokenizer can read.
    """
    steps = settings.num_inference_steps
    positives = read_prompts(prompts, dialect, num_inference_steps=steps)
    if not positives:
        raise ConfigError("there is no prompt; pass at least one")
    single = not isinstance(seeds, Iterable)
    chosen = [check_seed(seed) for seed in (seeds if isinstance(seeds, Iterable) else [seeds])]
    if not chosen:
        raise ConfigError("there is no seed; pass at least one")
    if isinstance(prompts, str | DFPrompt):
        positives *= len(chosen)
    if single:
        chosen *= len(positives)
    if len(chosen) != len(positives):
        raise ConfigError(f"{len(chosen)} seeds for {len(positives)} prompts; pass one seed for each picture")
    negatives = None
    if negative_prompt is not None:
        read = read_prompts(negative_prompt, dialect, num_inference_steps=steps)
        negatives = tuple(spread_negatives(read, len(positives)))
    if settings.ignore_controls:
        positives = [DFPrompt.from_plain(prompt.plain_text) for prompt in positives]
        negatives = negatives and tuple(DFPrompt.from_plain(prompt.plain_text) for prompt in negatives)
    return Request(tuple(positives), tuple(chosen), negatives, settings)


def check_seed(seed: object) -> int:
    """Return a seed as an int; raises ConfigError for anything that is not an integer of 0 to 2^64 - 1.

    >>> check_seed(7)
    7
    """
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number <= MAX_SEED:
        raise ConfigError(f"a seed must be an integer of 0 to 2^64 - 1, not {quote(seed)}")
    return number
