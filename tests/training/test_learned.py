"""A policy from searches: where the truth is known it finds words and controls for prompts it never saw."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dfprompt.errors import ConfigError, DFPromptWarning, LoadError
from dfprompt.policy import Bans, SamplingSettings
from dfprompt.policy.tables import RANGES, WEIGHTS, make_tables
from dfprompt.prompt import Span
from dfprompt.training.learned import LearnedPolicy, is_learned, load_learned
from dfprompt.training.searches import Answer

TABLES = make_tables(RANGES, WEIGHTS)
WORDS = ("golden hour", "film grain", "blurry", "8k")
SUBJECTS, COLOURS = ("cat", "dog", "ball", "house", "star"), ("red", "blue", "green", "pink")


def truth(prompt: str, span: Span) -> float:
    """Golden hour pleases late, and at night alone; film grain pleases in the snow at half weight."""
    if span.text == "golden hour":
        return 2.0 if "night" in prompt and span.effect_range == TABLES.ranges[2] else -1.0
    if span.text == "film grain":
        return 1.0 if "snow" in prompt and float(span.weight.first) <= 0.75 else -1.0
    return -1.0 if span.text == "blurry" else 0.0


def searched(count: int, seed: int = 0) -> list[Answer]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        prompt = f"a {rng.choice(COLOURS)} {rng.choice(SUBJECTS)} {rng.choice(('at night', 'in the snow'))}"
        spans = tuple(
            Span(word, rng.choice(TABLES.ranges), rng.choice(TABLES.weights))
            for word in rng.sample(WORDS, rng.choice((1, 1, 2)))
        )
        found.append(Answer(prompt, spans, sum(truth(prompt, each) for each in spans) + rng.gauss(0, 0.3)))
    return found


@pytest.fixture(scope="module")
def policy() -> LearnedPolicy:
    return LearnedPolicy.fit(searched(400), name="night and snow")


def test_words_and_controls_are_found_for_prompts_never_seen(policy: LearnedPolicy) -> None:
    at_night, in_snow = policy.rewrite(["a yellow moon at night", "one old boat in the snow"], [0, 1])
    assert at_night.modifiers[0].text == "golden hour"
    assert at_night.modifiers[0].effect_range == TABLES.ranges[2]
    assert in_snow.modifiers[0].text == "film grain"
    assert float(in_snow.modifiers[0].weight.first) <= 0.75
    said = {span.text for each in (at_night, in_snow) for span in each.modifiers}
    assert "blurry" not in said
    assert truth("night", at_night.modifiers[0]) > 0 < truth("snow", in_snow.modifiers[0])


def test_what_is_expected_follows_the_prompt_and_stays_below_the_truth(policy: LearnedPolicy) -> None:
    at_night, in_snow = (
        policy.expect(f"a red cat {place}", [["golden hour"], ["blurry"]])[0].tolist()
        for place in ("at night", "in the snow")
    )
    assert 0.8 < at_night[0] < 2.0
    assert in_snow[0] < at_night[0] - 0.8
    assert max(at_night[1], in_snow[1]) < 0


def test_where_nothing_helps_the_prompt_is_left_alone() -> None:
    bad = [Answer(each.prompt, each.modifiers, -abs(each.gain) - 0.5) for each in searched(200)]
    (row,) = LearnedPolicy.fit(bad).rewrite(["a red cat at night"], [0])
    assert (str(row.prompt), row.changed) == ("a red cat at night", False)


def test_bans_limits_and_steps_hold(policy: LearnedPolicy) -> None:
    banned = SamplingSettings(bans=Bans(words=["golden hour"]))
    (row,) = policy.rewrite(["a red cat at night"], [0], banned)
    assert "golden hour" not in {span.text for span in row.modifiers}
    (row,) = policy.rewrite(["a red cat at night"], [0], SamplingSettings(max_modifiers=1))
    assert len(row.modifiers) == 1
    (row,) = policy.rewrite(["a red cat at night"], [0], acting=(True, True, False))
    assert TABLES.ranges[2] not in {span.effect_range for span in row.modifiers}
    (row,) = policy.rewrite(["a red cat at night, Golden Hour"], [0])
    assert "golden hour" not in {span.text for span in row.modifiers}
    with pytest.raises(ConfigError, match="no restraint curve"):
        policy.rewrite(["a cat"], [0], SamplingSettings(restraint=0.5))


def test_candidates_begin_with_other_words_and_the_first_is_the_rewrite(policy: LearnedPolicy) -> None:
    with pytest.warns(DFPromptWarning, match="expects something of"):
        (found,) = policy.candidates(["a red cat at night"], 9, 0)
    leading = [each.modifiers[0].text for each in found if each.changed]
    assert len(set(leading)) == len(leading) >= 1
    assert found[0].prompt == policy.rewrite(["a red cat at night"], [0])[0].prompt
    assert [each.candidate for each in found] == list(range(len(found)))


def test_the_best_words_are_those_that_help_on_average(policy: LearnedPolicy) -> None:
    words = policy.best_words(["a red cat at night", "a blue dog at night"])
    assert words[0][0].text == "golden hour"
    assert words[0][1] == max(gain for _, gain in words)


def test_it_is_saved_and_loaded_to_the_same_answers(policy: LearnedPolicy, tmp_path: Path) -> None:
    folder = policy.save(tmp_path / "policy")
    assert is_learned(folder)
    again = load_learned(folder)
    prompts = ["a yellow moon at night", "one old boat in the snow", "a fish"]
    assert [each.prompt for each in again.rewrite(prompts, [0] * 3)] == [
        each.prompt for each in policy.rewrite(prompts, [0] * 3)
    ]
    assert (again.name, len(again.critic)) == ("night and snow", len(policy.critic))
    assert again.expect("a fish", [["8k"]])[0].equal(policy.expect("a fish", [["8k"]])[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"phrases": None}, "needs phrases, words and name"),
        ({"phrases": ["8k", 3]}, "needs phrases, words and name"),
        ({"words": {"cat": float("inf")}}, "finite"),
        ({"words": {}}, "damaged"),
    ],
)
def test_a_damaged_folder_is_named(
    policy: LearnedPolicy, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = policy.save(tmp_path / "policy")
    card = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(LoadError, match=said):
        load_learned(folder)


def test_damaged_answers_are_named(policy: LearnedPolicy, tmp_path: Path) -> None:
    folder = policy.save(tmp_path / "policy")
    tensors = load_file(folder / "critic.safetensors")
    save_file(
        {**tensors, "000000/rewards": tensors["000000/rewards"] * float("nan")}, folder / "critic.safetensors"
    )
    with pytest.raises(LoadError, match="not finite"):
        load_learned(folder)
    del tensors["000000/rows"]
    save_file(tensors, folder / "critic.safetensors")
    with pytest.raises(LoadError, match="damaged"):
        load_learned(folder)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few to learn from"):
        LearnedPolicy.fit(searched(19))
