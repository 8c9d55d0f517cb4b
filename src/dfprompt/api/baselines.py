"""The strongest fixed baselines: a suffix, its controls, and one control for all words of a method.

Each is found on validation prompts, none of which is tested, with a number of pictures that is stated in
the method's definition. Arms are compared with plain on the same prompts and noise, and halved: the same
number of pictures for every round, the better third goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from dfprompt.errors import ConfigError
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.methods import Method, rewrite_checked
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.prompts import PlainPrompt, noise_seed
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import Elsewhere, HowToDraw, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import FULL, DFPrompt, Span, make_plan, parse_prompt
from dfprompt.prompt.effect import UNIT
from dfprompt.requests.render import RenderSettings
from dfprompt.search.budgeted_scores import BudgetedScores, Pair
from dfprompt.search.candidates import RANGES, WEIGHTS, Arm
from dfprompt.search.halving import plan_rounds
from dfprompt.storage import read_json, undamaged

RECORD = "validation.json"
_MOST_WORDS = 3
_EXTENDED_BY = 8  # the best words alone, each tried behind the best so far
_ANY = DFPrompt.from_plain("...")  # stands for every prompt
Write = Callable[[Sequence[Span], PlainPrompt], DFPrompt]
"""Puts an arm's spans to a prompt; no spans are plain."""


@dataclass(frozen=True)
class Found:
    """What a search found, as `--suffix` or `--constant` takes it.

    `difference` is its mean reward above plain on the pictures it was chosen by, `images` all drawn.
    """

    text: str
    images: int
    prompts: int
    difference: float

    @property
    def how(self) -> str:
        """How it was found, in words."""
        return f"found on {self.prompts} validation prompts with {self.images} images"


class BaselineSearch:
    """Searches with at most `images` pictures each; what was found is kept in the file `record`.

    The first reward decides. Raises ConfigError where the images are too few, RewardError where nothing
    can be scored, and what drawing raises.
    """

    def __init__(
        self,
        pipeline: ImagePipeline,
        board: Scoreboard,
        prompts: Sequence[PlainPrompt],
        images: int,
        record: Path,
        settings: RenderSettings | None = None,
        negative_prompt: str | None = None,
        *,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.elsewhere = elsewhere
        self.pipeline, self.board, self.prompts, self.images = pipeline, board, list(prompts), images
        self.record, self.settings, self.negative = record, settings, negative_prompt

    def find_suffix(self, words: Sequence[str]) -> Found:
        """Return the best few words without controls: the best one, then what helps behind it."""
        listed = tuple(dict.fromkeys(words))
        return self._find("suffix", {"words": _digest(listed)}, lambda: self._search_words(listed))

    def find_controls(self, suffix: str) -> Found:
        """Return a suffix with the best range and weight of each of its modifiers."""
        spans = tuple(Span(span.text) for span in find_modifiers("", parse_prompt(suffix)))
        if not spans:
            raise ConfigError("a fixed suffix needs words")
        return self._find("suffix-controls", {"words": suffix}, lambda: self._search_controls(spans))

    def find_constant(self, base: Method) -> Found | None:
        """Return the best range and weight for all words of a method; None if it has none for the prompts."""
        texts = rewrite_checked(base, self.prompts, 0)
        words = {
            prompt.id: spans
            for prompt, rewrite in zip(self.prompts, texts, strict=True)
            if isinstance(rewrite, DFPrompt) and (spans := find_modifiers(prompt.text, rewrite))
        }
        if not words:
            return None

        def search() -> Found:
            spoken = [prompt for prompt in self.prompts if prompt.id in words]
            run = _Run(self, self.images, _recontrol(words), spoken)
            best = run.choose([_arm([span]) for span in self._controls("x")], self.images)
            (control,) = best.spans
            return run.found(f"{control.effect_range}:{control.weight}", best)

        return self._find(f"constant:{base.name}", {"words": base.definition}, search)

    def _search_words(self, words: Sequence[str]) -> Found:
        run = _Run(self, self.images, _append, self.prompts)
        alone = [_arm([Span(word)]) for word in words]
        best = run.choose(alone, self.images // 2)
        leaders = [arm for arm, _ in run.ledger.rank(alone)][:_EXTENDED_BY]
        for _ in range(_MOST_WORDS - 1):
            longer = [_arm([*best.spans, *arm.spans]) for arm in leaders if not arm.words & best.words]
            if not longer:
                break
            before, best = best, run.choose([best, *longer], self.images // 4)
            if best is before:
                break
        return run.found(_text(best.spans), best)

    def _search_controls(self, spans: Sequence[Span]) -> Found:
        run = _Run(self, self.images, _append, self.prompts)
        together = [
            _arm([Span(span.text, each.effect_range, each.weight) for span in spans])
            for each in self._controls("x")
        ]
        best = run.choose(together, self.images // 2)
        changed = [
            _arm([*best.spans[:at], other, *best.spans[at + 1 :]])
            for at, span in enumerate(best.spans)
            for other in self._controls(span.text)
            if (other.effect_range == span.effect_range) != (other.weight == span.weight)
        ]
        best = run.choose([best, *changed], self.images // 2) if len(spans) > 1 else best
        return run.found(_text(best.spans), best)

    def _controls(self, text: str) -> list[Span]:
        """Return the words with every range that acts in so many steps and every weight, default first."""
        steps = self.pipeline.resolve(self.settings).num_inference_steps
        acting = [
            each
            for each in RANGES
            if steps is None or not make_plan(DFPrompt([Span("x", each)]), steps).never_active
        ]
        spans = [Span(text, each, weight) for each in acting for weight in WEIGHTS]
        return sorted(spans, key=lambda span: (span.effect_range, span.weight) != (FULL, UNIT))

    def _find(self, name: str, asked: Mapping[str, str], search: Callable[[], Found]) -> Found:
        """Return what the record has of the same search, else search and record it."""
        settings = self.pipeline.resolve(self.settings).model_dump(mode="json", exclude={"batch_size"})
        wanted = {
            **asked,
            "model": self.pipeline.mark.model_dump(mode="json"),
            "settings": settings,
            "negative": self.negative,
            "reward": self.board.chooser,
            "prompts": _digest(f"{prompt.id} {prompt.text}" for prompt in self.prompts),
            "images": self.images,
        }
        known = _read(self.record)
        if known.get(name, {}).get("asked") == wanted:
            return Found(**known[name]["found"])
        found = search()
        known[name] = {"asked": wanted, "found": asdict(found)}
        write_text(self.record, json.dumps({"dfprompt": 1, "searches": known}, indent=1) + "\n")
        return found


class _Run:
    """One search: arms against plain, cell by cell; a cell is a validation prompt with noise of its own."""

    def __init__(
        self, search: BaselineSearch, images: int, write: Write, prompts: Sequence[PlainPrompt]
    ) -> None:
        self.search, self.write, self.prompts = search, write, prompts
        self.ledger = BudgetedScores(_ANY, self._measure, images)
        reward, how = search.board.chooser, HowToDraw(search.settings, search.negative)
        self.measurement = Measurement(
            search.pipeline,
            search.board,
            None,
            how,
            isolated=False,
            needed=reward,
            only=[reward],
            elsewhere=search.elsewhere,
        )
        self._spans: dict[DFPrompt, tuple[Span, ...]] = {_ANY: ()}
        self._cells = count()

    def choose(self, arms: Sequence[Arm], images: int) -> Arm:
        """Return the best of the arms, the images divided evenly over the rounds of halving."""
        rounds = plan_rounds(len(arms))
        fewest = len(rounds) * (len(arms) + 1)
        if images < fewest:
            raise ConfigError(
                f"choosing among {len(arms)} on validation prompts takes {fewest} images at least, and "
                f"{images} of the {self.search.images} are for it; raise --validation-images"
            )
        self._spans |= {arm.prompt: arm.spans for arm in arms}
        alive = list(arms)
        for number, kept in enumerate(rounds):
            alive = alive[:kept]
            cells = list(islice(self._cells, images // len(rounds) // (len(alive) + 1)))
            prompts = (_ANY, *(arm.prompt for arm in alive))
            stage = f"validation, round {number + 1}"
            self.ledger.measure(stage, [(prompt, cell) for cell in cells for prompt in prompts])
            alive = [arm for arm, _ in self.ledger.rank(alive)]
        return alive[0]

    def found(self, text: str, best: Arm) -> Found:
        """Return the answer with what it cost."""
        differences = self.ledger.differences(best.prompt, _ANY)
        mean = sum(differences) / max(1, len(differences))
        return Found(text, self.ledger.spent, len(self.prompts), round(mean, 6))

    def _measure(self, pairs: Sequence[Pair]) -> list[float | None]:
        rows = self.measurement.measure([self._shot(key, cell) for key, cell in pairs])
        return [row.scores.get(self.search.board.chooser) for row in rows]

    def _shot(self, key: DFPrompt, cell: int) -> Shot:
        """Return what is drawn of an arm in a cell: a prompt, and which noise of it."""
        number, at = divmod(cell, len(self.prompts))
        prompt = self.prompts[at]
        method = PLAIN if key == _ANY else str(key)
        noises = (noise_seed(prompt.id, number),)
        return Shot(method, prompt, self.write(self._spans[key], prompt), cell, noises)


def _arm(spans: Sequence[Span]) -> Arm:
    return Arm(append_modifiers(_ANY, spans), tuple(spans))


def _append(spans: Sequence[Span], prompt: PlainPrompt) -> DFPrompt:
    return append_modifiers(DFPrompt.from_plain(prompt.text), spans)


def _recontrol(words: Mapping[str, Sequence[Span]]) -> Write:
    def write(spans: Sequence[Span], prompt: PlainPrompt) -> DFPrompt:
        base = DFPrompt.from_plain(prompt.text)
        if not spans:
            return base
        control = spans[0].effect_range, spans[0].weight
        return append_modifiers(base, [Span(word.text, *control) for word in words[prompt.id]])

    return write


def _text(spans: Sequence[Span]) -> str:
    return str(append_modifiers(DFPrompt([]), spans))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with undamaged(path, "remove it to search again"):
        searches = read_json(path)["searches"]
        for each in searches.values():
            Found(**each["found"])
        return dict(searches)
