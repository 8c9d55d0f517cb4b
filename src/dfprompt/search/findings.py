"""What a search found, in numbers: intervals per score, best of n plain pictures, what each span adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dfprompt.prompt import DFPrompt
from dfprompt.search.budgeted_scores import shrink
from dfprompt.search.candidates import Arm, Space
from dfprompt.search.engine import Outcome
from dfprompt.statistics.comparison import Comparison
from dfprompt.statistics.paired_t import compare_seeds

Scores = Mapping[tuple[str, int], Mapping[str, float]]
"""Every picture's scores, by DF-Prompt as text and seed."""


@dataclass(frozen=True)
class ScoreLine:
    """A score of the finalist and of plain on the fresh seeds both have it for."""

    score: str
    role: str
    plain: float
    finalist: float
    evidence: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return score, role, plain and finalist (means), and the comparison's numbers."""
        means = {"plain": self.plain, "finalist": self.finalist}
        return {"score": self.score, "role": self.role, **means, **self.evidence.to_json()}


@dataclass(frozen=True)
class KeptLine:
    """A score of the plain picture that was kept, beside the finalist's mean on fresh seeds.

    `evidence` is a new picture of the finalist minus the picture kept: the interval covers the finalist's
    seeds, for the kept picture is one picture and stays what it is.
    """

    score: str
    role: str
    kept: float
    finalist: float
    evidence: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return score, role, best_plain, finalist (mean), and the comparison's numbers."""
        values = {"best_plain": self.kept, "finalist": self.finalist}
        return {"score": self.score, "role": self.role, **values, **self.evidence.to_json()}


@dataclass(frozen=True)
class BestOf:
    """The best of `n` plain pictures by the reward: the one of `seed`, beside the finalist on fresh seeds.

    `images` is what the search measured in all; `finalist_best` the best of the finalist's `finalists`
    pictures on fresh seeds; `lines` are all scores of the picture kept.
    """

    n: int
    images: int
    seed: int
    plain: float
    finalist_mean: float
    finalist_best: float
    finalists: int
    lines: tuple[KeptLine, ...]

    @property
    def equal(self) -> bool:
        """Whether best-of-n had exactly as many images as the search."""
        return self.n == self.images

    def to_json(self) -> dict[str, Any]:
        """Return n, search_images, equal_images, seed, best_plain, finalist_mean/_best/_pictures, scores."""
        return {
            "n": self.n,
            "search_images": self.images,
            "equal_images": self.equal,
            "seed": self.seed,
            "best_plain": self.plain,
            "finalist_mean": self.finalist_mean,
            "finalist_best": self.finalist_best,
            "finalist_pictures": self.finalists,
            "scores": [line.to_json() for line in self.lines],
        }


@dataclass(frozen=True)
class Tried:
    """An arm of the search with its mean difference to plain there: it was chosen from, so no proof."""

    prompt: str
    origin: str
    seeds: int
    difference: float

    def to_json(self) -> dict[str, Any]:
        """Return df_prompt, origin, seeds, difference."""
        shown = {"df_prompt": self.prompt, "origin": self.origin}
        return {**shown, "seeds": self.seeds, "difference": self.difference}


@dataclass(frozen=True)
class Share:
    """What a span adds: the finalist against itself without the span; None where that was never drawn."""

    span: str
    evidence: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """Return span, and the comparison's numbers or nulls."""
        empty = {"pairs": 0, "difference": None, "interval": None, "p": None}
        return {"span": self.span, **(self.evidence.to_json() if self.evidence else empty)}


def compare_on_fresh(outcome: Outcome, scored: Scores, roles: Mapping[str, str]) -> list[ScoreLine]:
    """Return a line per score for the finalist, from the fresh seeds alone; failed scores are left out."""
    if outcome.finalist is None:
        return []
    lines = []
    for name, role in roles.items():
        pairs = _pairs(outcome, scored, name)
        evidence = compare_seeds([own - plain for own, plain in pairs])
        if evidence is not None:
            own, plain = (fmean(column) for column in zip(*pairs, strict=True))
            lines.append(ScoreLine(name, role, plain, own, evidence))
    return lines


def _pairs(outcome: Outcome, scored: Scores, name: str) -> list[tuple[float, float]]:
    assert outcome.finalist is not None
    prompts = (str(outcome.finalist.prompt), str(outcome.ledger.plain))
    found = []
    for seed in outcome.fresh_seeds:
        own, plain = (scored.get((prompt, seed), {}).get(name) for prompt in prompts)
        if own is not None and plain is not None:
            found.append((own, plain))
    return found


def best_of_plain(outcome: Outcome, scored: Scores, roles: Mapping[str, str]) -> BestOf | None:
    """Return how drawing plain several times and keeping the best compares with the finalist.

    Every plain picture drawn counts; the finalist's are those of the fresh seeds, for on the others it was
    chosen. None without a finalist, or where either has no score.
    """
    if outcome.finalist is None:
        return None
    ledger, fresh = outcome.ledger, outcome.fresh_seeds
    plain = {seed: score for (prompt, seed), score in ledger.scores.items() if prompt == ledger.plain}
    known = {seed: score for seed, score in plain.items() if score is not None}
    found = (ledger.scores.get((outcome.finalist.prompt, seed)) for seed in fresh)
    own = [score for score in found if score is not None]
    if not known or not own:
        return None
    seed = max(known, key=lambda each: (known[each], -each))
    lines = tuple(_against_kept(outcome, scored, roles, seed))
    return BestOf(len(plain), outcome.searched, seed, known[seed], fmean(own), max(own), len(own), lines)


def _against_kept(
    outcome: Outcome, scored: Scores, roles: Mapping[str, str], seed: int
) -> Iterator[KeptLine]:
    assert outcome.finalist is not None
    kept = scored.get((str(outcome.ledger.plain), seed), {})
    for name, role in roles.items():
        columns = (scored.get((str(outcome.finalist.prompt), each), {}) for each in outcome.fresh_seeds)
        own = [column[name] for column in columns if name in column]
        evidence = compare_seeds([value - kept[name] for value in own]) if name in kept else None
        if evidence is not None:
            yield KeptLine(name, role, kept[name], fmean(own), evidence)


def list_tried(outcome: Outcome) -> list[Tried]:
    """Return every arm with a score beside plain's on seeds of the search, in the order of the search's rank.

    The fresh seeds are left out: their numbers stand in `compare_on_fresh`.
    """
    ledger, fresh = outcome.ledger, set(outcome.fresh_seeds)
    seeds = {seed for _, seed in ledger.scores} - fresh
    found = []
    for arm in outcome.arms:
        differences = ledger.differences(arm.prompt, ledger.plain, seeds)
        if differences:
            tried = Tried(str(arm.prompt), arm.origin, len(differences), fmean(differences))
            found.append((shrink(differences), tried))
    return [tried for _, tried in sorted(found, key=lambda item: -item[0])]


def attribute(outcome: Outcome, space: Space) -> list[Share]:
    """Return what each span of the finalist adds, from the pictures of the whole search.

    Of a single span the fresh seeds say it without bias. Within a combination the seeds are those of the
    search, on which the finalist was chosen: a hint, not proof.
    """
    arm = outcome.finalist
    if arm is None:
        return []
    if len(arm.spans) == 1:
        return [Share(str(arm.spans[0]), outcome.evidence)]
    return [Share(str(span), _without(outcome, space, arm, at)) for at, span in enumerate(arm.spans)]


def _without(outcome: Outcome, space: Space, arm: Arm, at: int) -> Comparison | None:
    rest: Sequence[Any] = (*arm.spans[:at], *arm.spans[at + 1 :])
    base: DFPrompt = space.make(rest).prompt
    return compare_seeds(outcome.ledger.differences(arm.prompt, base))
