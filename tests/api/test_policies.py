"""Policies by name, and rewriting through the public function: user's words, bans, budget, seeds, worlds."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dfprompt
from dfprompt.api.companions import companions_of
from dfprompt.api.policies import load_policy, optimize_prompt, read_base, tokenizers_of
from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import read_schedule
from dfprompt.domain import Domain
from dfprompt.errors import ConfigError, DFPromptWarning, InputError, LoadError
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.policy import Bans, SamplingSettings, TokenBudget, save_policy_folder
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.plan import make_plan
from property_profiles import examples
from tiny_policies import storable_policy, tiny_policy, tiny_tokenizer, tiny_trunk

HOSTILE = st.text(
    st.one_of(st.sampled_from("[]():\\,.;|<>{}'\"-> \n"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=24,
).filter(lambda text: text.strip() != "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy_folder(storable_policy(favour=("gore",)), tmp_path_factory.mktemp("p") / "tiny")


def test_public_names() -> None:
    assert dfprompt.load_policy is load_policy
    assert dfprompt.optimize_prompt is optimize_prompt


def test_one_text_gives_a_list_several_give_a_list_each(folder: Path) -> None:
    single = optimize_prompt("a red cat", folder, candidates=2, seed=3)
    several = optimize_prompt(["a red cat", "the blue star"], folder, candidates=2, seed=3)
    assert [str(each.prompt) for each in single] == [str(each.prompt) for each in several[0]]
    assert len(several) == 2
    assert single[0].score >= single[1].score
    assert str(single[0].prompt) != str(single[1].prompt)


@settings(max_examples=examples(40))
@given(HOSTILE, st.integers(0, 2**32))
@pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")
def test_the_users_words_come_first_in_every_text_that_is_encoded(text: str, seed: int) -> None:
    rewrite = optimize_prompt(text, tiny_policy(), seed=seed)[0]
    assert parse_prompt(str(rewrite.prompt)) == rewrite.prompt
    assert all(step.text.startswith(text.rstrip()) for step in make_plan(rewrite.prompt, 10).steps)


def test_what_reaches_the_encoder_begins_with_the_users_words(tiny_pipe: Any, folder: Path) -> None:
    pipe, seen = tiny_pipe("sd1"), []
    text = "a [red] house, (old:1.2) sign"
    rewrite = optimize_prompt(text, folder, seed=5, pipeline=pipe)[0]
    assert rewrite.changed
    tokenize = pipe.tokenizer
    prefix = tokenize(text, add_special_tokens=False)["input_ids"]
    schedule = read_schedule(pipe, num_inference_steps=4)
    handle = pipe.text_encoder.register_forward_pre_hook(
        lambda module, arguments, options: seen.append(options.get("input_ids", *arguments[:1])),
        with_kwargs=True,
    )
    compile_prompts(adapter_for(pipe), [rewrite.prompt], None, schedule, Options("comfy", "delete", None))
    handle.remove()
    rows = [row for ids in seen for row in ids.tolist()]
    said = [row[1 : 1 + len(prefix)] for row in rows]
    assert prefix in said
    # What else is encoded is the empty prompt, which weights are measured from.
    assert all(row == prefix or row[0] == row[-1] for row in said)


@pytest.mark.parametrize("written", ["gore", "GORE", "Ｇｏｒｅ"])
@pytest.mark.few(1)
def test_banned_words_are_never_appended(folder: Path, written: str) -> None:
    policy = load_policy(folder)
    free = [optimize_prompt("a red cat", policy, seed=seed)[0] for seed in range(12)]
    assert any("gore" in each.prompt.plain_text.casefold() for each in free)
    banned = SamplingSettings(bans=Bans(words=[written]))
    held = [optimize_prompt("a red cat", policy, seed=seed, sampling=banned)[0] for seed in range(12)]
    assert not any(Bans(words=["gore"]).find(each.prompt.plain_text) for each in held)


def test_a_ban_in_the_users_own_words_is_named_and_stays(folder: Path) -> None:
    banned = SamplingSettings(bans=Bans(words=["red"]))
    with pytest.warns(DFPromptWarning, match=r"left there: .*red"):
        found = optimize_prompt("a red cat", folder, sampling=banned)
    assert found[0].prompt.plain_text.startswith("a red cat")


def test_the_pipelines_tokenizers_count_the_budget(tiny_pipe: Any) -> None:
    pipe = tiny_pipe("sdxl")
    assert tokenizers_of(pipe) == (pipe.tokenizer, pipe.tokenizer_2)
    policy = tiny_policy(closing=3.0, ending=-20.0)
    rewrite = optimize_prompt("a red cat", policy, pipeline=pipe, seed=1)[0]
    budget = TokenBudget(policy.budget.limit, tokenizers_of(pipe))
    assert budget.fits(rewrite.prompt.plain_text)
    short = optimize_prompt(
        "a red cat", policy, pipeline=pipe, seed=1, sampling=SamplingSettings(budget=TokenBudget(8))
    )[0]
    assert len(short.prompt.plain_text.split()) <= 8
    assert tuple(policy.budget.tokenizers) == (tiny_tokenizer(),)  # the policy's own stays as it was


@pytest.mark.nightly
def test_the_same_seed_gives_the_same_text_in_another_process(folder: Path) -> None:
    texts = ["a red cat", "the blue star in the snow", "one heart"]
    here = [[str(r.prompt) for r in row] for row in optimize_prompt(texts, folder, candidates=2, seed=11)]
    code = (
        "import sys, json, dfprompt; rows = dfprompt.optimize_prompt(json.loads(sys.argv[2]), sys.argv[1], "
        "candidates=2, seed=11); print(json.dumps([[str(r.prompt) for r in row] for row in rows]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(texts)],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert json.loads(done.stdout) == here
    alone = [optimize_prompt(text, folder, candidates=2, seed=11) for text in texts]
    assert [[str(r.prompt) for r in row] for row in alone] == here


def test_a_plain_language_model_writes_words_with_the_default_control(tmp_path: Path) -> None:
    tiny_trunk().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    policy = load_policy(tmp_path)
    found = [optimize_prompt("a red cat", policy, seed=seed)[0] for seed in range(8)]
    assert any(each.changed for each in found)
    assert all(each.prompt.is_plain for each in found)


def test_words_outside_the_policys_world_are_named(folder: Path) -> None:
    policy = tiny_policy()
    policy.domain = Domain("tiny", frozenset({"a", "red", "cat"}))
    with pytest.warns(DFPromptWarning, match=r'tiny world only, not "astronaut", "moon"'):
        optimize_prompt(["a red astronaut", "a moon"], policy)
    optimize_prompt("a red cat", policy)
    (folder / "domain.json").write_text(json.dumps({"name": "tiny", "words": ["red"], "image_size": None}))
    try:
        assert load_policy(folder).domain == Domain("tiny", frozenset({"red"}))
    finally:
        (folder / "domain.json").unlink()


def test_spans_are_words_unless_asked_for() -> None:
    with pytest.warns(DFPromptWarning, match="--df"):
        plain = optimize_prompt("a cat, [snow:late]", tiny_policy())[0]
    assert plain.prompt.plain_text.startswith("a cat, [snow:late]")
    kept = optimize_prompt("a cat, [snow:late]", tiny_policy(), df=True)[0]
    assert parse_prompt("a cat, [snow:late]").controls[0] in kept.prompt.controls


@pytest.mark.parametrize("text", ["", "  \n", "[ :late]"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_base(text, df=text.startswith("["))


def test_bad_counts_and_sources_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="candidates"):
        optimize_prompt("a cat", tiny_policy(), candidates=0)
    with pytest.raises(ConfigError, match="seed"):
        optimize_prompt("a cat", tiny_policy(), seed=-1)
    with pytest.raises(LoadError, match="no such file or folder"):
        load_policy(tmp_path / "nothing" / "here")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoadError):
        load_policy(tmp_path)


def test_a_missing_mini_policy_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import dfprompt.api.world as world

    monkeypatch.setattr(world, "files", lambda name: tmp_path)
    with pytest.raises(LoadError, match="dfprompt train sft"):
        load_policy("mini")


def test_settings_are_not_changed_for_the_caller(folder: Path, tiny_pipe: Any) -> None:
    asked = SamplingSettings(temperature=0.5)
    before = dataclasses.asdict(asked)
    optimize_prompt("a cat", folder, sampling=asked, pipeline=tiny_pipe("sd1"))
    assert dataclasses.asdict(asked) == before


def test_the_starter_writes_mini_words_in_the_mini_world() -> None:
    policy = load_policy("starter", companions=companions_of("mini"))
    rewrites = policy.rewrite(["a red cat on a hill"] * 20, range(20))
    words = {span.text for each in rewrites for span in each.modifiers}
    assert words
    assert words <= set(MODIFIERS)


def test_the_packaged_policies_load_by_name() -> None:
    """Stage 1, and what stage 2 made of it: the package's own weights, with the words their world knows."""
    for name in ("mini-sft", "mini"):
        policy = load_policy(name)
        (rewrite,) = policy.rewrite(["a red cat on a hill"], [3])
        assert str(rewrite.prompt).startswith("a red cat on a hill")
        assert policy.domain is not None
        assert policy.model.range_head.weight.dtype == torch.float32
