"""Arms that ask what the controls bring: another method's words with other ranges and weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np

from dfprompt.evaluation.methods import Method, is_free
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import FULL, DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.effect import UNIT

Control = tuple[EffectRange, Weight]


class _Recontrolled(ABC):
    """Rewrites as the base method does, then gives every modifier another control."""

    whole_set = False  # whether a control depends on the other prompts asked for

    def __init__(self, base: Method, name: str, definition: str) -> None:
        self.base, self.name, self.pictures = base, name, base.pictures
        self.free = is_free(base)
        self.definition = f"the words of {base.name} ({base.definition}), {definition}"

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """The base method's words; what it has no rewrite for stays without."""
        rewrites = self.base.rewrite(prompts, seed)
        found = [
            [] if rewrite is None else find_modifiers(prompt.text, rewrite)
            for prompt, rewrite in zip(prompts, rewrites, strict=True)
        ]
        controls = iter(self.choose([_control(span) for spans in found for span in spans], seed))
        return [
            None
            if rewrite is None
            else append_modifiers(
                DFPrompt.from_plain(prompt.text), [Span(span.text, *next(controls)) for span in spans]
            )
            for prompt, rewrite, spans in zip(prompts, rewrites, found, strict=True)
        ]

    @abstractmethod
    def choose(self, controls: Sequence[Control], seed: int) -> Sequence[Control]:
        """Return a control for every modifier of the test set, given those it had."""


class Stripped(_Recontrolled):
    """The same words with the default control: what words alone bring."""

    def __init__(self, base: Method, name: str = "stripped") -> None:
        super().__init__(base, name, "without ranges and weights")

    def choose(self, controls: Sequence[Control], seed: int) -> Sequence[Control]:
        """Full range, weight 1."""
        return [(FULL, UNIT)] * len(controls)


class Shuffled(_Recontrolled):
    """The same words, (range, weight) pairs permuted over all modifiers of the test set.

    As many of each control as before, but chosen without knowing the word: what remains of a gain is
    not owed to matching controls to words.
    """

    whole_set = True

    def __init__(self, base: Method, name: str = "shuffled") -> None:
        super().__init__(base, name, "with ranges and weights permuted over all modifiers")

    def choose(self, controls: Sequence[Control], seed: int) -> Sequence[Control]:
        """Permute."""
        order = np.random.default_rng([seed, len(controls)]).permutation(len(controls))
        return [controls[index] for index in order]


class Constant(_Recontrolled):
    """The same words, one control for all: the best pair of a validation set, to be given as `control`.

    `how` says how it was found. Without one it is the base method's own most frequent pair that differs
    from the default.
    """

    def __init__(
        self, base: Method, control: Control | None = None, name: str = "constant", how: str = ""
    ) -> None:
        said = f"{control[0]}, x{control[1]}" if control else "its own commonest pair"
        said += f", {how}" if how else ""
        super().__init__(base, name, f"all with one range and weight ({said})")
        self._control = control
        self.whole_set = control is None

    def choose(self, controls: Sequence[Control], seed: int) -> Sequence[Control]:
        """Repeat one control."""
        return [self._control or _commonest(controls)] * len(controls)


def _commonest(controls: Sequence[Control]) -> Control:
    counts = Counter(control for control in controls if control != (FULL, UNIT))
    return min(counts, key=lambda control: (-counts[control], str(control))) if counts else (FULL, UNIT)


def _control(span: Span) -> Control:
    return span.effect_range, span.weight
