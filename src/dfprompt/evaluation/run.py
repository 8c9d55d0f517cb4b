"""Running an evaluation: every method on the same prompts and noise, one row per picture, resumable.

rows.jsonl         what is evaluated, then one row per picture kept
rewrites/          every method's rewrites
pictures/          the pictures, by method
tables/            the tables, written anew by every run
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dfprompt.errors import ConfigError
from dfprompt.evaluation.methods import Method, Plain, check_complete, is_free
from dfprompt.evaluation.rewrites import Rewrites, RewriteStore
from dfprompt.measurement.log import ROWS, MeasurementLog
from dfprompt.measurement.measure import Measurement, fingerprint
from dfprompt.measurement.places import picture_place
from dfprompt.measurement.prompts import PlainPrompt, check_prompts, noise_seed
from dfprompt.measurement.rescoring import check_scores
from dfprompt.measurement.rows import PLAIN, Row, RowKey
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shards import Shard, note_shard
from dfprompt.measurement.shots import AT_ONCE, Elsewhere, HowToDraw, Progress, Shot, batch_names
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.render import RenderSettings

REWRITES, PICTURES, TABLES = "rewrites", "pictures", "tables"


@dataclass(frozen=True)
class Plan:
    """What is evaluated: prompts, methods (plain is always among them), seeds, scores, how to draw."""

    prompts: Sequence[PlainPrompt]
    methods: Sequence[Method]
    seeds: Sequence[int]
    scoreboard: Scoreboard
    settings: RenderSettings = field(default_factory=RenderSettings)
    negative_prompt: str | None = None
    rewrite_seed: int = 0

    def checked(self) -> Plan:
        """Return the plan with plain first; raises ConfigError for nothing to do or a name used twice."""
        for name, values in (("prompt", self.prompts), ("seed", self.seeds)):
            if not values:
                raise ConfigError(f"an evaluation needs at least one {name}")
        _ = self.scoreboard.chooser  # an evaluation without a reward would only draw
        plain = [method for method in self.methods if method.name == PLAIN] or [Plain()]
        methods = [*plain, *(method for method in self.methods if method.name != PLAIN)]
        names = [method.name for method in methods]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two methods are called {', '.join(twice)}; give them different names")
        seeds = list(dict.fromkeys(self.seeds))
        return replace(self, prompts=check_prompts(self.prompts), methods=methods, seeds=seeds)

    def keys(self) -> Iterator[RowKey]:
        """Yield what is asked for, in the order of the rows: prompt, seed, method."""
        for prompt in self.prompts:
            for seed in self.seeds:
                for method in self.methods:
                    yield method.name, prompt.id, seed


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave: the rows asked for in order (prompt, seed, method), and the rewrites."""

    plan: Plan
    folder: Path
    rows: tuple[Row, ...]
    rewrites: Mapping[str, Rewrites]


def run_evaluation(
    pipeline: ImagePipeline,
    plan: Plan,
    folder: Path,
    *,
    pictures_at_once: int = AT_ONCE,
    retry_failed: bool = False,
    progress: Progress | None = None,
    elsewhere: Elsewhere | None = None,
    shard: Shard | None = None,
) -> Outcome:
    """Run what is missing of an evaluation in its folder; a killed run goes on where it was.

    What fails (a method, a picture, a score) fails its own rows, by name; `retry_failed` makes those rows
    again. A rewrite that a file brings now, or brings otherwise than before, is drawn anew. With `elsewhere`
    other processes draw and score; with `shard` only its part is drawn, and only its rows come back. Raises
    InputError for a folder that holds another evaluation, and for files that lack prompts; EvaluationError
    where the folder cannot be written.
    """
    plan = plan.checked()
    definitions = {method.name: method.definition for method in plan.methods}
    free = [method.name for method in plan.methods if is_free(method)]
    for method in plan.methods:
        check_complete(method, plan.prompts, plan.rewrite_seed)
    how = HowToDraw(plan.settings, plan.negative_prompt)
    asked = {**fingerprint(pipeline, plan.scoreboard, how), "rewrite_seed": plan.rewrite_seed}
    with MeasurementLog(folder / ROWS, asked, kind="evaluation", methods=definitions, free=free) as log:
        store = RewriteStore(folder / REWRITES)
        rewrites = {
            method.name: store.get(method, plan.prompts, plan.rewrite_seed) for method in plan.methods
        }
        check_scores(folder, log.rows, plan.prompts, plan.scoreboard)
        log.append(_without_rewrite(plan, rewrites, log))
        shots = list(_shots(plan, rewrites))
        if shard is not None:
            note_shard(folder, log.kind, shard, batch_names(shots, pictures_at_once))
        Measurement(pipeline, plan.scoreboard, log, how, elsewhere=elsewhere).measure(
            shots,
            at_once=pictures_at_once,
            retry_failed=retry_failed,
            progress=progress,
            shard=shard,
        )
        rows = (log.rows[key] for key in plan.keys() if shard is None or key in log.rows)
        return Outcome(plan, folder, tuple(rows), rewrites)


def _without_rewrite(plan: Plan, rewrites: Mapping[str, Rewrites], log: MeasurementLog) -> list[Row]:
    """Return rows that say which method has no rewrite for a prompt, those that stand left out."""
    prompts = {prompt.id: prompt for prompt in plan.prompts}
    return [
        Row(method, prompt, prompts[prompt].text, seed, failed={"method": rewrites[method].failed[prompt]})
        for method, prompt, seed in plan.keys()
        if prompt not in rewrites[method].prompts and log.find((method, prompt, seed), None) is None
    ]


def _shots(plan: Plan, rewrites: Mapping[str, Rewrites]) -> Iterator[Shot]:
    """Yield what is drawn; the shots of one prompt and seed stand together, plain first."""
    prompts = {prompt.id: prompt for prompt in plan.prompts}
    methods = {method.name: method for method in plan.methods}
    for method, prompt, seed in plan.keys():
        words = rewrites[method].prompts.get(prompt)
        if words is not None:
            noises = tuple(noise_seed(prompt, seed, each) for each in range(methods[method].pictures))
            place = picture_place(PICTURES, method, prompt, seed)
            yield Shot(method, prompts[prompt], words, seed, noises, place)
