"""From rows to numbers: every method against plain in every score, its diversity and its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dfprompt.evaluation.diversity import Diversity, measure_diversity
from dfprompt.evaluation.judge_check import JudgeCheck
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.evaluation.run import Outcome
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.measurement.scoreboard import Role
from dfprompt.statistics.comparison import Comparison, Key, compare_scores, mean_of_prompts
from dfprompt.statistics.significance import adjust_holm


@dataclass(frozen=True)
class ScoreLine:
    """A method in one score: its mean over prompts (of the mean over seeds), and how it differs from plain.

    Mean and plain's mean (`comparison.baseline_mean`) are over the pairs that both have.
    `adjusted_p` is the comparison's p after Holm's correction over all comparisons of the summary.
    """

    method: str
    score: str
    role: Role
    mean: float | None
    comparison: Comparison | None
    adjusted_p: float | None
    rows: int
    failed: int


@dataclass(frozen=True)
class MethodLine:
    """A method's cost and variety: pictures drawn, seconds of drawing and of rewriting, its modifiers.

    `cmmd` is its pictures' distance to a reference set, where one was given.
    """

    method: str
    definition: str
    rows: int
    failed: int
    pictures: int
    drawing_seconds: float
    rewriting_seconds: float
    diversity: Diversity
    cmmd: float | None = None


@dataclass(frozen=True)
class Failure:
    """One kind of failure: how many rows of a method lack what, and the first message."""

    method: str
    what: str
    rows: int
    message: str


@dataclass(frozen=True)
class Summary:
    """All numbers of an evaluation; `comparisons` is how many tests Holm's correction covers.

    `measures` says of scores what they measure (fidelity, artefacts), `checks` how often they agree with the
    choices they were checked on.
    """

    prompts: int
    seeds: int
    scores: tuple[ScoreLine, ...]
    methods: tuple[MethodLine, ...]
    failures: tuple[Failure, ...]
    comparisons: int
    measures: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, JudgeCheck] = field(default_factory=dict)

    def of(self, method: str, score: str) -> ScoreLine:
        """Return one line."""
        return next(line for line in self.scores if (line.method, line.score) == (method, score))


def summarize(
    outcome: Outcome,
    *,
    distances: Mapping[str, float] | None = None,
    checks: Mapping[str, JudgeCheck] | None = None,
    bootstrap_seed: int = 0,
) -> Summary:
    """Compute every number of an evaluation's tables from its rows."""
    plan = outcome.plan
    rows = {
        method.name: [row for row in outcome.rows if row.method == method.name] for method in plan.methods
    }
    lines = score_lines(rows, plan.scoreboard.columns(), bootstrap_seed)
    tested = [index for index, line in enumerate(lines) if line.comparison is not None]
    adjusted = adjust_holm([comparison.p for line in lines if (comparison := line.comparison) is not None])
    for index, p in zip(tested, adjusted, strict=True):
        lines[index] = replace(lines[index], adjusted_p=p)
    methods = [
        _method_line(outcome, method.name, method.definition, rows[method.name], distances or {})
        for method in plan.methods
    ]
    return Summary(
        prompts=len(plan.prompts),
        seeds=len(plan.seeds),
        scores=tuple(lines),
        methods=tuple(methods),
        failures=tuple(_failures(outcome.rows)),
        comparisons=len(tested),
        measures=plan.scoreboard.measures(),
        checks=dict(checks or {}),
    )


def score_lines(
    rows: Mapping[str, Sequence[Row]], columns: Mapping[str, Role], bootstrap_seed: int = 0
) -> list[ScoreLine]:
    """Return every method in every score; `rows` holds plain's among them. Nothing is adjusted yet."""
    return [
        _score_line(rows, method, score, role, bootstrap_seed)
        for score, role in columns.items()
        for method in rows
    ]


def _score_line(
    rows: Mapping[str, Sequence[Row]], method: str, score: str, role: Role, bootstrap_seed: int
) -> ScoreLine:
    values = _values(rows[method], score)
    comparison = None
    if method != PLAIN:
        comparison = compare_scores(values, _values(rows[PLAIN], score), seed=bootstrap_seed)
    mean = mean_of_prompts(values) if values else None
    if comparison is not None:
        mean = comparison.mean  # over the pairs that plain has too: of other prompts nothing is said
    count = len(rows[method])
    return ScoreLine(method, score, role, mean, comparison, None, count, count - len(values))


def _values(rows: Sequence[Row], score: str) -> dict[Key, float]:
    return {(row.prompt_id, row.seed): row.scores[score] for row in rows if score in row.scores}


def _method_line(
    outcome: Outcome, method: str, definition: str, rows: Sequence[Row], distances: Mapping[str, float]
) -> MethodLine:
    rewrites = outcome.rewrites[method]
    spans = [
        find_modifiers(prompt.text, rewrites.prompts[prompt.id])
        for prompt in outcome.plan.prompts
        if prompt.id in rewrites.prompts
    ]
    return MethodLine(
        method=method,
        definition=definition,
        rows=len(rows),
        failed=sum(bool(row.failed) for row in rows),
        pictures=sum(row.pictures for row in rows),
        drawing_seconds=sum(row.seconds for row in rows),
        rewriting_seconds=rewrites.seconds,
        diversity=measure_diversity(spans),
        cmmd=distances.get(method),
    )


def _failures(rows: Sequence[Row]) -> list[Failure]:
    counts = Counter((row.method, what) for row in rows for what in row.failed)
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        for what, message in row.failed.items():
            first.setdefault((row.method, what), message)
    return [Failure(method, what, count, first[method, what]) for (method, what), count in counts.items()]
