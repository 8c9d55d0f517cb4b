"""Ablations on a tiny pipeline and on made-up rows: paired differences, resuming, what pruning keeps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny_pipelines
from dfprompt.api.ablations import ablate_ranges, ablate_weights
from dfprompt.errors import DFPromptWarning, InputError
from dfprompt.evaluation.ablation_plots import plot_attribution, plot_ranges, plot_weights
from dfprompt.evaluation.ablation_tables import format_ablation, format_attribution, format_effects_csv
from dfprompt.evaluation.ablations import (
    RANGES,
    WEIGHTS,
    Ablation,
    Design,
    ablate,
    check_modifiers,
    method_name,
    read_ablation,
)
from dfprompt.evaluation.attribution import Attribution, attribute, changes_of, keep_spans, plain_words
from dfprompt.evaluation.effects import EVERY, Effect, ScoreTable, adjusted
from dfprompt.evaluation.rewrites import Rewrites
from dfprompt.evaluation.run import Outcome, Plan
from dfprompt.images.tensors import to_pil, to_tensor
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.prompts import PlainPrompt, noise_seed
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt, Span, make_plan, parse_prompt
from dfprompt.table import format_number
from tiny_evaluation import PROMPTS, SETTINGS, brightness, redness

WORDS = ["anime style", "old film"]
WRITTEN = parse_prompt("a red cat, [anime style:late:1.5], [old film:early], [snow::0.5]")
BOARD = Scoreboard({"brightness": brightness}, {"redness": redness})
PAIRS = [PlainPrompt("a cat", "a"), PlainPrompt("a dog", "b")]


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


def _plan(prompts: Sequence[PlainPrompt] = PROMPTS, seeds: Sequence[int] = (0, 1), **changes: Any) -> Plan:
    return replace(Plan(prompts, (), seeds, BOARD, SETTINGS), **changes)


def _find(effects: Sequence[Effect], **wanted: Any) -> Effect:
    (found,) = (e for e in effects if all(getattr(e, name) == value for name, value in wanted.items()))
    return found


def _difference(effects: Sequence[Effect], **wanted: Any) -> float:
    comparison = _find(effects, **wanted).comparison
    assert comparison is not None
    return comparison.difference


# ---- made-up rows: the arithmetic ------------------------------------------------------------------------


def _made_up(values: Callable[[str, str, int], float | None], design: Design = WEIGHTS) -> Ablation:
    """An ablation read off rows whose score is `values(method, prompt, seed)`; None fails the row."""
    methods = ["plain", *(method_name(arm, word) for word in WORDS for arm in design.arms)]
    rows = []
    for prompt in PAIRS:
        for seed in (0, 1):
            for method in methods:
                value = values(method, prompt.id, seed)
                kept = (
                    {"scores": {"brightness": value}} if value is not None else {"failed": {"picture": "x"}}
                )
                rows.append(Row(method, prompt.id, prompt.text, seed, **kept))  # type: ignore[arg-type]
    plan = _plan(PAIRS, scoreboard=Scoreboard({"brightness": brightness}))
    named = [_Named(method) for method in methods]
    outcome = Outcome(
        replace(plan, methods=named), Path("nowhere"), tuple(rows), dict.fromkeys(methods, Rewrites())
    )
    return read_ablation(design, WORDS, outcome)


class _Named:
    """A method of which only the name is looked at."""

    definition, pictures = "", 1

    def __init__(self, name: str) -> None:
        self.name = name

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
        raise AssertionError("asked")


def test_paired_differences_are_those_worked_by_hand() -> None:
    plain = {("a", 0): 10.0, ("a", 1): 20.0, ("b", 0): 0.0, ("b", 1): 4.0}
    gains = {"anime style": {"a": 1.0, "b": 3.0}, "old film": {"a": 5.0, "b": -1.0}}

    def values(method: str, prompt: str, seed: int) -> float:
        arm, _, word = method.partition(":")
        if not word:
            return plain[prompt, seed]
        # Weight 0.5 brings the gain, weight 1.5 twice as much; the second seed one more.
        return plain[prompt, seed] + gains[word][prompt] * (2 if arm == "weight-1.5" else 1) + seed

    found = _made_up(values)
    # Prompt a: the mean of 1 and 5, and half a point for its second seed; b: of 3 and -1.
    low = _find(found.pooled, arm="weight 0.5", baseline="plain").comparison
    assert low is not None
    assert low.difference == pytest.approx(((3 + 0.5) + (1 + 0.5)) / 2)
    # t interval of two prompts: 12.706 (one degree of freedom) times the standard deviation over root 2.
    half = 12.7062 * (2**0.5) / 2**0.5
    assert low.interval == pytest.approx((2.5 - half, 2.5 + half), rel=1e-4)
    assert (low.prompts, low.pairs, low.units) == (2, 4, "prompts")
    assert low.win_rate == 1  # the mean over both modifiers is above plain in every pair
    high = _difference(found.pooled, arm="weight 1.5", baseline="plain")
    assert high == pytest.approx((6.5 + 2.5) / 2)
    assert _difference(found.pooled, arm="weight 1.5", baseline="weight 1") == pytest.approx(2.0)
    assert _difference(found.single, arm="weight 0.5", modifier="old film") == pytest.approx(2.5)
    assert found.plain == {"brightness": (15 + 2) / 2}


def test_the_modifiers_of_one_picture_pair_are_one_observation() -> None:
    """A single prompt is resampled by seeds; two modifiers must not double them."""
    table = ScoreTable(
        Row(method, "a", "a cat", seed, scores={"s": float(seed * (method != "plain"))})
        for method in ("plain", "x", "y")
        for seed in range(8)
    )
    both, one = table.compare(["x", "y"], ["plain", "plain"], "s"), table.compare(["x"], ["plain"], "s")
    assert both == one
    assert both is not None
    assert (both.units, both.pairs) == ("seeds", 8)


def test_what_failed_is_left_out_of_its_pairs_alone() -> None:
    def values(method: str, prompt: str, seed: int) -> float | None:
        if method == "weight-0.5:old film" and prompt == "a":
            return None
        return {"plain": 0.0}.get(method, 4.0 if "old" in method else 2.0)

    found = _made_up(values)
    # Prompt a has anime style alone (2), prompt b both (3).
    assert _difference(found.pooled, arm="weight 0.5", baseline="plain") == pytest.approx(2.5)
    assert _difference(found.pooled, arm="weight 0.75", baseline="plain") == pytest.approx(3.0)
    # Against weight 1 only what both have is compared, so the gap opens no difference.
    assert _difference(found.pooled, arm="weight 0.5", baseline="weight 1") == 0
    assert [(each.method, each.rows) for each in found.failures] == [("weight-0.5:old film", 2)]
    nothing = _made_up(lambda method, *_: None if method.startswith("weight-0.5") else 1.0)
    gone = _find(nothing.pooled, arm="weight 0.5", baseline="plain")
    assert (gone.comparison, gone.adjusted_p) == (None, None)
    assert "not measured" in format_ablation(nothing, title="t")


def test_p_values_are_adjusted_over_all_that_were_compared() -> None:
    table = ScoreTable(
        Row(method, prompt, prompt, 0, scores={"s": value})
        for method, value in (("plain", 0.0), ("x", 1.0))
        for prompt in "abcdef"
    )
    compared = table.compare(["x"], ["plain"], "s")
    effects = [Effect(EVERY, str(n), "plain", "s", "reward", compared) for n in range(3)]
    effects.insert(1, Effect(EVERY, "gone", "plain", "s", "reward", None))
    assert [e.adjusted_p for e in adjusted(effects)] == [
        pytest.approx(3 / 32),
        None,
        pytest.approx(3 / 32),
        pytest.approx(3 / 32),
    ]


# ---- drawn -----------------------------------------------------------------------------------------------


def _alone(sd: ImagePipeline, prompt: DFPrompt | str, words: PlainPrompt, seeds: Sequence[int]) -> Tensor:
    noise = [noise_seed(words.id, seed) for seed in seeds]
    images = sd.draw([prompt] * len(seeds), noise, SETTINGS).images
    return to_tensor(to_pil(images))  # as files hold them


def test_range_arms_are_their_pictures_drawn_alone(sd: ImagePipeline, tmp_path: Path) -> None:
    plan = _plan(PROMPTS[:1], [3, 4])
    with pytest.warns(DFPromptWarning, match="acts at none of the 2 steps"):
        found = ablate(sd, RANGES, WORDS[:1], plan, tmp_path)
    assert found.rows == len(read_rows(tmp_path / ROWS)) == 6 * 2
    words = PROMPTS[0]
    plain = brightness(_alone(sd, words.text, words, [3, 4]), [])
    texts = {"first half": "early", "last half": "late", "first 15 %": "1->0.85", "all": "full"}
    for arm, control in texts.items():
        own = brightness(_alone(sd, f"{words.text}, [anime style:{control}]", words, [3, 4]), [])
        wanted = (own - plain).mean().item()
        given = _difference(found.pooled, arm=arm, baseline="plain", score="brightness")
        assert given == pytest.approx(wanted, abs=2e-5)
        assert given != 0
        assert _find(found.pooled, arm=arm, baseline="plain", score="redness").role == "judge"


def test_an_arm_that_equals_plain_differs_by_exactly_nothing(sd: ImagePipeline, tmp_path: Path) -> None:
    """The last 15 % of two steps hold no step, so the words are never there."""
    with pytest.warns(DFPromptWarning, match="acts at none"):
        found = ablate(sd, RANGES, WORDS, _plan(), tmp_path)
    for effect in found.effects:
        comparison = effect.comparison
        assert comparison is not None
        silent = effect.arm == "last 15 %" and effect.baseline == "plain"
        assert (comparison.difference == 0) is silent
        if silent:
            assert comparison.interval == (0, 0)
            assert comparison.win_rate == 0.5
            assert comparison.p == 1


def test_the_arms_act_at_the_steps_they_name() -> None:
    steps = {
        arm.name: [
            step.step
            for step in make_plan(DFPrompt(["a ", arm.span("x")]), 20).steps
            if "x" in str(step.text)
        ]
        for arm in RANGES.arms
    }
    assert steps == {
        "first half": list(range(10)),
        "last half": list(range(10, 20)),
        "first 15 %": [0, 1, 2],
        "last 15 %": [17, 18, 19],
        "all": list(range(20)),
    }
    assert [str(arm.span("x")) for arm in WEIGHTS.arms] == [
        "[x::0.5]",
        "[x::0.75]",
        "[x:full]",
        "[x::1.25]",
        "[x::1.5]",
    ]


class Counting(ImagePipeline):
    """Notes every picture it is asked for."""

    drawn: list[tuple[str, int]]

    def draw_request(self, request: Any, **options: Any) -> Any:
        self.drawn += [
            (str(prompt), seed) for prompt, seed in zip(request.prompts, request.seeds, strict=True)
        ]
        return super().draw_request(request, **options)


class Killed(Exception):
    """The process ends here."""


def _kill_after(batches: int) -> Callable[[int, int], None]:
    left = iter(range(batches - 1, -1, -1))

    def report(done: int, total: int) -> None:
        if next(left) == 0:
            raise Killed

    return report


@pytest.mark.parametrize("kind", ["weight", "attribution"])
def test_killed_and_resumed_nothing_is_drawn_twice(kind: str, sd: ImagePipeline, tmp_path: Path) -> None:
    pipeline = Counting(sd.pipe)

    def run(folder: Path, **options: Any) -> Ablation | Attribution:
        if kind == "weight":
            return ablate(pipeline, WEIGHTS, WORDS, _plan(), folder, pictures_at_once=11, **options)
        return attribute(pipeline, WRITTEN, _plan((), range(4)), folder, pictures_at_once=8, **options)

    pipeline.drawn = []
    whole = run(tmp_path / "whole")
    uninterrupted = sorted(pipeline.drawn)
    assert len(uninterrupted) == whole.rows
    pipeline.drawn = []
    for batches in (1, 2):
        with pytest.raises(Killed):
            run(tmp_path / "killed", progress=_kill_after(batches))
    assert 0 < len(pipeline.drawn) < len(uninterrupted)
    resumed = run(tmp_path / "killed")
    assert sorted(pipeline.drawn) == uninterrupted
    assert resumed == whole
    run(tmp_path / "killed")
    assert sorted(pipeline.drawn) == uninterrupted


def test_another_prompt_may_not_be_mixed_in(sd: ImagePipeline, tmp_path: Path) -> None:
    attribute(sd, WRITTEN, _plan((), [0]), tmp_path)
    rows = (tmp_path / ROWS).read_bytes()
    with pytest.raises(InputError, match=r"method written.*differ"):
        attribute(sd, WRITTEN.with_weight(0, "1.25"), _plan((), [0]), tmp_path)
    assert (tmp_path / ROWS).read_bytes() == rows


# ---- attribution -----------------------------------------------------------------------------------------


def test_each_change_takes_one_thing_back() -> None:
    assert [(change.method, str(change.prompt)) for change in changes_of(WRITTEN)] == [
        ("without:1", "a red cat, [old film:early], [snow::0.5]"),
        ("full-range:1", "a red cat, [anime style::1.5], [old film:early], [snow::0.5]"),
        ("weight-1:1", "a red cat, [anime style:late], [old film:early], [snow::0.5]"),
        ("without:2", "a red cat, [anime style:late:1.5], [snow::0.5]"),
        ("full-range:2", "a red cat, [anime style:late:1.5], [old film:full], [snow::0.5]"),
        ("without:3", "a red cat, [anime style:late:1.5], [old film:early]"),
        ("weight-1:3", "a red cat, [anime style:late:1.5], [old film:early], [snow:full]"),
    ]
    assert str(keep_spans(WRITTEN, [2])) == "a red cat, [snow::0.5]"
    assert plain_words(WRITTEN) == "a red cat"


def _blueness(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
    return -redness(images, prompts)


def test_the_pruned_prompt_keeps_what_the_reward_likes(sd: ImagePipeline, tmp_path: Path) -> None:
    """A reward and its opposite like opposite modifiers; what is right is drawn here, one by one."""
    plan, words = _plan((), [0, 1, 2]), PlainPrompt("a red cat")
    strong = parse_prompt("a red cat, [anime style::2.5], [old film:early:2], [snow::3]")
    written = redness(_alone(sd, strong, words, [0, 1, 2]), [])
    effects = [
        (written - redness(_alone(sd, strong.without(index), words, [0, 1, 2]), [])).mean().item()
        for index in range(3)
    ]
    assert all(abs(effect) > 1e-4 for effect in effects)
    liked = tuple(index for index, effect in enumerate(effects) if effect > 0)
    assert 0 < len(liked) < 3
    boards = {"red": Scoreboard({"redness": redness}), "blue": Scoreboard({"blueness": _blueness})}
    red, blue = (
        attribute(sd, strong, replace(plan, scoreboard=board), tmp_path / name)
        for name, board in boards.items()
    )
    for number, span in enumerate(strong.controls):
        given = _difference(red.effects, modifier=span.text, arm="modifier", score="redness")
        assert given == pytest.approx(effects[number], abs=2e-5)
    assert red.kept == liked
    assert blue.kept == tuple(index for index in range(3) if index not in liked)
    assert red.pruned == keep_spans(strong, liked)
    assert set(red.dropped) == {strong.controls[index] for index in blue.kept}


def test_what_is_left_is_measured_on_seeds_that_chose_nothing(sd: ImagePipeline, tmp_path: Path) -> None:
    found = attribute(sd, WRITTEN, _plan((), [4, 5]), tmp_path)
    assert found.fresh_seeds == (6, 7)
    words = PlainPrompt("a red cat")
    pruned = brightness(_alone(sd, found.pruned, words, [6, 7]), [])
    written = brightness(_alone(sd, WRITTEN, words, [6, 7]), [])
    given = _difference(found.remeasured, arm="pruned", baseline="written", score="brightness")
    assert given == pytest.approx((pruned - written).mean().item(), abs=2e-5)
    assert all(effect.fresh for effect in found.remeasured)
    rows = read_rows(tmp_path / ROWS)
    assert {row.seed for row in rows if row.method.startswith("without")} == {4, 5}
    assert found.rows == len(rows) == (2 + 7) * 2 + 3 * 2


def test_a_modifier_that_does_nothing_stays_and_nothing_is_measured_again(
    sd: ImagePipeline, tmp_path: Path
) -> None:
    written = parse_prompt("a dog, [snow::0], [snow::0]")
    found = attribute(sd, written, _plan((), [0, 1]), tmp_path)
    assert found.kept == (0, 1)
    assert found.pruned == written
    assert (found.remeasured, found.fresh_seeds) == ((), ())
    assert _difference(found.effects, modifier="snow (2)", arm="modifier", score="brightness") == 0
    assert "nothing was dropped" in format_attribution(found, title="t")


def test_a_modifier_nobody_could_score_stays(sd: ImagePipeline, tmp_path: Path) -> None:
    def broken(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        raise RuntimeError("no score today")

    board = Scoreboard({"broken": broken}, {"redness": redness})
    found = attribute(sd, WRITTEN, _plan((), [0, 1], scoreboard=board), tmp_path)
    assert found.kept == (0, 1, 2)
    assert {each.what for each in found.failures} == {"broken"}
    assert _difference(found.effects, modifier="snow", arm="modifier", score="redness") != 0


def test_everything_may_go(sd: ImagePipeline, tmp_path: Path) -> None:
    """A single modifier is pruned by one of the two opposite rewards; what is left are the plain words."""
    written = parse_prompt("a dog, [anime style:late:1.5]")
    board = Scoreboard({"redness": redness, "blueness": _blueness})
    other = Scoreboard({"blueness": _blueness, "redness": redness})
    runs = [
        attribute(sd, written, _plan((), [0, 1], scoreboard=scores), tmp_path / str(number))
        for number, scores in enumerate((board, other))
    ]
    assert sorted(run.kept for run in runs) == [(), (0,)]
    for run, first in zip(runs, ("redness", "blueness"), strict=True):
        liked = _difference(run.effects, modifier="anime style", arm="modifier", score=first) > 0
        assert bool(run.kept) is liked  # the first reward decides, the second would say the opposite
    emptied = next(run for run in runs if not run.kept)
    assert str(emptied.pruned) == "a dog"
    assert _difference(emptied.remeasured, arm="pruned", baseline="plain", score="redness") == 0


@pytest.mark.parametrize(("text", "said"), [("a cat, 8k", "no spans"), ("[snow:late]", "no words outside")])
def test_a_prompt_without_anything_to_attribute_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plain_words(parse_prompt(text))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([" ", ""], "at least one modifier"),
        (["snow", "Snow"], "stands there twice"),
        (["[snow:late]"], "has brackets"),
        (["snow " * 40], "too long"),
    ],
)
def test_modifiers_that_cannot_be_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_modifiers(words)


# ---- files -----------------------------------------------------------------------------------------------


def test_pages_files_and_json_hold_the_same_numbers(sd: ImagePipeline, tmp_path: Path) -> None:
    options = {"seeds": [0, 1], "pipeline": sd, "rewards": [brightness], "judges": [redness]}
    run = ablate_weights(["a dog", "a red house"], tmp_path, WORDS, settings=SETTINGS, **options)
    page = (tmp_path / "table.md").read_text()
    answer = json.loads((tmp_path / "result.json").read_text())
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert answer == {"dfprompt": 1, **run.to_json()}
    assert len(lines) == len(answer["effects"]) == 2 * (5 + 4) + 2 * 2 * 5
    for line, effect in zip(lines, answer["effects"], strict=True):
        assert line["arm"] == effect["arm"]
        assert float(line["difference"]) == effect["compared"]["difference"]
        assert format_number(effect["compared"]["difference"], sign=True) in page
    assert [path.name for path in run.files] == ["table.md", "table.csv", "weight.png", "result.json"]
    with Image.open(tmp_path / "weight.png") as picture:
        assert picture.width > 1000
        assert len(picture.resize((200, 100)).getcolors(20_000) or []) > 10


def test_a_failing_reward_is_named_and_the_rest_completes(sd: ImagePipeline, tmp_path: Path) -> None:
    calls: list[int] = []

    def moody(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        calls.append(len(images))
        if any("dog" in prompt for prompt in prompts):
            raise RuntimeError("a dog")
        return images.mean((1, 2, 3))

    options = {"seeds": [0], "pipeline": sd, "rewards": [brightness, moody], "settings": SETTINGS}
    run = ablate_weights(["a dog", "a red house"], tmp_path, WORDS[:1], **options)
    assert {(each.what, each.rows) for each in run.failures} == {("moody", 1)}
    assert isinstance(run.result, Ablation)
    shared = _find(run.result.pooled, score="moody", arm="weight 0.5", baseline="plain").comparison
    assert shared is not None
    assert shared.prompts == 1
    assert "RuntimeError: a dog" in run.page
    again = ablate_weights(["a dog", "a red house"], tmp_path, WORDS[:1], **options)
    assert len(again.failures) == 6
    before = len(calls)
    ablate_weights(["a dog", "a red house"], tmp_path, WORDS[:1], **options, retry_failed=True)
    assert len(calls) > before


def test_twenty_steps_unless_said_otherwise(sd: ImagePipeline, tmp_path: Path) -> None:
    small = SETTINGS.model_copy(update={"num_inference_steps": None})
    asked = {"seeds": [0], "pipeline": sd, "rewards": [brightness], "settings": small}
    ablate_ranges(["a dog"], tmp_path, ["snow"], **asked)
    manifest = json.loads((tmp_path / ROWS).read_text().splitlines()[0])["asked"]
    assert manifest["settings"]["num_inference_steps"] == 20


def test_words_that_mean_something_to_plots_and_tables_stay_words(tmp_path: Path) -> None:
    words = ["$\\frac$", "=1|2`"]  # no formula: drawing it as one would raise
    named = {"anime style": words[0], "old film": words[1]}
    made = _made_up(lambda method, prompt, seed: float(len(method) + seed))
    odd = replace(
        made,
        modifiers=tuple(words),
        single=tuple(replace(effect, modifier=named[effect.modifier]) for effect in made.single),
    )
    for plot in (plot_ranges, plot_weights):
        plot(odd, tmp_path / f"{plot.__name__}.png")
        with Image.open(tmp_path / f"{plot.__name__}.png") as picture:
            assert picture.format == "PNG"
    assert "=1\\|2\\`" in format_ablation(odd, title="t")
    lines = list(csv.DictReader(io.StringIO(format_effects_csv(odd.effects))))
    assert lines[-1]["modifier"] == "'=1|2`"


def test_a_prompt_on_the_page_can_be_copied(sd: ImagePipeline, tmp_path: Path) -> None:
    written = DFPrompt(["a dog ` and ``, ", Span("snow", "late")])
    found = attribute(sd, written, _plan((), [0]), tmp_path)
    page = format_attribution(found, title="t")
    assert "Written: ``` a dog ` and ``, [snow:late] ```" in page
    plot_attribution(found, tmp_path / "one-seed.png")  # no interval of a single seed
    with Image.open(tmp_path / "one-seed.png") as picture:
        assert picture.format == "PNG"
    assert "too few for an interval" in page
    assert torch.isfinite(torch.tensor(_difference(found.effects, arm="written", score="brightness")))
