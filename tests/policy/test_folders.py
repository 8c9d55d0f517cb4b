"""Policies on disk: saved and loaded whole, as LoRA, and as plain language models; damage is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfprompt.api.training import find_policy_source
from dfprompt.errors import ConfigError, LoadError
from dfprompt.policy import Policy, SamplingSettings, TokenBudget, load_policy_folder, save_policy_folder
from dfprompt.policy.folders import keep_measured, policy_in
from dfprompt.policy.lora import add_lora
from dfprompt.policy.restraint import Point, Restraint
from dfprompt.statistics.risk import RiskCurve
from tiny_policies import tiny_model, tiny_policy, tiny_tokenizer, tiny_trunk

HOW = SamplingSettings(max_new_tokens=16)


def policy(control: str = "phrase", trunk: str = "gpt2") -> Policy:
    return Policy(tiny_model(control, trunk=trunk), tiny_tokenizer(), name="tiny")


def texts(of: Policy) -> list[str]:
    return [str(row.prompt) for row in of.rewrite(["a red cat", "a star"] * 3, list(range(6)), HOW)]


def test_a_run_stands_for_the_policy_in_it(tmp_path: Path) -> None:
    save_policy_folder(policy(), tmp_path / "run" / "policy")
    (tmp_path / "run" / "recipe.toml").write_text("seed = 1\n")
    assert texts(load_policy_folder(tmp_path / "run")) == texts(policy())
    assert find_policy_source(str(tmp_path / "run")) == tmp_path / "run" / "policy"
    # A policy's own folder is itself, whatever else lies in it.
    save_policy_folder(policy(), tmp_path / "run" / "policy" / "policy")
    assert policy_in(tmp_path / "run" / "policy") == tmp_path / "run" / "policy"


@pytest.mark.parametrize("control", ["phrase", "token", "none"])
def test_a_saved_policy_says_the_same(control: str, tmp_path: Path) -> None:
    before = policy(control)
    before.budget = TokenBudget(33, before.budget.tokenizers)
    save_policy_folder(before, tmp_path / "p")
    after = load_policy_folder(tmp_path / "p")
    assert texts(after) == texts(before)
    assert (after.name, after.budget.limit) == ("tiny", 33)
    assert len(after.digest) == 16
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert {"config.json", "model.safetensors", "policy.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert len({path.stat().st_mode for path in (tmp_path / "p").iterdir() if path.is_file()}) == 1


def test_saving_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    save_policy_folder(policy(), tmp_path / "p", extra={"domain.json": _domain(tmp_path)})
    digest = load_policy_folder(tmp_path / "p").digest
    assert (tmp_path / "p" / "domain.json").is_file()
    save_policy_folder(policy("token"), tmp_path / "p")
    assert not (tmp_path / "p" / "domain.json").exists()
    assert load_policy_folder(tmp_path / "p").digest != digest


def _domain(folder: Path) -> Path:
    path = folder / "words.json"
    path.write_text('{"name": "tiny", "words": []}')
    return path


def test_tokens_are_counted_with_the_readers_tokenizer(tmp_path: Path) -> None:
    class Counting:
        """Counts every character as a token."""

        def __call__(self, text: str, **options: object) -> dict[str, list[str]]:
            return {"input_ids": list(text)}

        def save_pretrained(self, folder: Path) -> None:
            tiny_tokenizer().save_pretrained(folder)

    before = policy()
    before.budget = TokenBudget(20, (Counting(),))
    for row in before.rewrite(["a red cat"] * 8, list(range(8)), HOW):
        assert len(row.prompt.plain_text) <= 20
    save_policy_folder(before, tmp_path / "p")
    assert (tmp_path / "p" / "counting" / "tokenizer.json").is_file()
    assert load_policy_folder(tmp_path / "p").budget.limit == 20


@pytest.mark.parametrize("trunk", ["gpt2", "llama"])
def test_a_plain_language_model_writes_words_with_the_default_control(trunk: str, tmp_path: Path) -> None:
    tiny_trunk(trunk).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load_policy_folder(tmp_path)
    assert loaded.model.config.control == "none"
    rows = loaded.rewrite(["a red cat"] * 8, list(range(8)), HOW)
    assert all(row.prompt.is_plain for row in rows)


@pytest.mark.parametrize("trunk", ["gpt2", "llama"])
@pytest.mark.parametrize("base", ["policy", "language model"])
def test_a_lora_is_saved_as_adapter_and_heads(trunk: str, base: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = tmp_path / "base"
    if base == "policy":
        save_policy_folder(policy(trunk=trunk), source)
        model = load_policy_folder(source).model
    else:
        tiny_trunk(trunk).save_pretrained(source)
        tiny_tokenizer().save_pretrained(source)
        from dfprompt.policy.folders import load_policy_model

        model = load_policy_model(source, settings={"control": "token"})
    add_lora(model, rank=2, base=source)
    assert any("lora_" in name for name, _ in model.named_parameters())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "head." in name for name in trained)
    assert any("range_head" in name for name in trained)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    before = Policy(model.eval(), tiny_tokenizer(), name="tiny")
    save_policy_folder(before, tmp_path / "adapted")
    assert (tmp_path / "adapted" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "adapted" / "model.safetensors").exists()
    after = load_policy_folder(tmp_path / "adapted")
    assert after.model.config.control == model.config.control
    assert texts(after) == texts(before)


def test_lora_names_the_layers_there_are() -> None:
    with pytest.raises(ConfigError, match="c_attn"):
        add_lora(tiny_model(), target_modules=["q_proj"])


def test_a_peft_that_transformers_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5.24 asks for a peft that is not out; it says so only when an adapter is added."""
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "99.0")
    with pytest.raises(ConfigError, match=r"do not go together .*pip install"):
        add_lora(tiny_model())


def test_a_lora_without_its_base_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_policy_folder(policy(), tmp_path / "base")
    model = add_lora(load_policy_folder(tmp_path / "base").model, rank=2, base=tmp_path / "base")
    save_policy_folder(Policy(model, tiny_tokenizer()), tmp_path / "adapted")
    (tmp_path / "base").rename(tmp_path / "moved")
    (tmp_path / "elsewhere" / "here").mkdir(parents=True)
    (tmp_path / "elsewhere" / "base").mkdir()  # a folder of that name beside the current one is no base
    monkeypatch.chdir(tmp_path / "elsewhere" / "here")
    with pytest.raises(LoadError, match="base model is not where it was"):
        load_policy_folder(tmp_path / "adapted")


def _break_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _drop_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _newer_card(folder: Path) -> None:
    (folder / "policy.json").write_text(json.dumps({"dfprompt": 2}))


def _broken_card(folder: Path) -> None:
    (folder / "policy.json").write_text("{")


@pytest.mark.parametrize(
    "damage", [_break_weights, _drop_config, _drop_weights, _drop_tokenizer, _newer_card, _broken_card]
)
def test_damage_is_one_error_that_names_the_folder(damage: object, tmp_path: Path) -> None:
    save_policy_folder(policy(), tmp_path / "p")
    assert callable(damage)
    damage(tmp_path / "p")
    with pytest.raises(LoadError, match=re.escape(str(tmp_path / "p"))):
        load_policy_folder(tmp_path / "p")


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    save_policy_folder(policy(), tmp_path / "p")
    model = load_policy_folder(tmp_path / "p").model
    (tmp_path / "p" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "p" / "pytorch_model.bin")
    with pytest.raises(LoadError):
        load_policy_folder(tmp_path / "p")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no such folder"):
        load_policy_folder(tmp_path / "nothing")


def test_a_saved_policy_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    tiny_trunk().save_pretrained(tmp_path / "lm")
    tiny_tokenizer().save_pretrained(tmp_path / "lm")
    policy = load_policy_folder(tmp_path / "lm")
    policy.model.config.trunk._name_or_path = str(tmp_path / "lm")
    saved = save_policy_folder(policy, tmp_path / "saved")
    assert str(tmp_path) not in (saved / "config.json").read_text()
    assert load_policy_folder(saved).model.config.control == "none"
    policy.model.config.trunk._name_or_path = "openai-community/gpt2-medium"
    saved = save_policy_folder(policy, tmp_path / "saved")
    assert "openai-community/gpt2-medium" in (saved / "config.json").read_text()


def test_a_restraint_curve_is_kept_with_the_policy_and_read_back(tmp_path: Path) -> None:
    folder = save_policy_folder(policy(), tmp_path / "policy")
    assert load_policy_folder(folder).restraint is None
    flat = (0.0, 0.0)
    curve = Restraint((Point(0, 1.0, flat, -0.01, flat, 0.1), Point(5, 0.4, flat, 0.0, flat, 0.6)))
    keep_measured(folder, "restraint", curve)
    read = load_policy_folder(folder)
    assert (read.restraint, read.name) == (curve, "tiny")
    again = save_policy_folder(read, tmp_path / "again")
    assert load_policy_folder(again).restraint == curve
    card = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**card, "restraint": [{"end_bias": "x"}]}))
    with pytest.raises(LoadError, match="no restraint curve"):
        load_policy_folder(folder)


def test_a_restrained_policy_appends_less_and_one_without_a_curve_says_so() -> None:
    writer = tiny_policy(ending=2.0)
    prompts, seeds = ["a red cat", "the blue star"] * 8, list(range(16))
    with pytest.raises(ConfigError, match="no restraint curve"):
        writer.rewrite(prompts, seeds, SamplingSettings(restraint=0.2))
    flat = (0.0, 0.0)
    writer.restraint = Restraint((Point(0, 1.0, flat, 0.0, flat, 0.0), Point(6, 0.0, flat, 0.0, flat, 1.0)))
    said = [
        sum(len(each.modifiers) for each in writer.rewrite(prompts, seeds, SamplingSettings(restraint=share)))
        for share in (0.0, 0.5, 1.0)
    ]
    assert said[0] > said[1] > said[2]
    by_hand = writer.rewrite(prompts, seeds, SamplingSettings(end_bias=3.0))
    restrained = writer.rewrite(prompts, seeds, SamplingSettings(restraint=0.5))
    assert [replace(each, restrained=True) for each in by_hand] == restrained


def test_a_risk_curve_is_kept_and_a_damaged_one_named(tmp_path: Path) -> None:
    folder = save_policy_folder(policy(), tmp_path / "policy")
    curve = RiskCurve("fidelity", 300, ((0.0, 280, 0), (0.333333, 290, 4)))
    keep_measured(folder, "risk", curve)
    assert load_policy_folder(folder).risk == curve
    card = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**card, "risk": {"judge": "fidelity"}}))
    with pytest.raises(LoadError, match="no risk-coverage curve"):
        load_policy_folder(folder)


def test_a_policy_trained_under_a_limit_keeps_it(tmp_path: Path) -> None:
    writer = tiny_policy(ending=-6.0)
    prompts, seeds = ["a red cat", "the blue star"] * 4, list(range(8))

    def longest(most: int | None) -> int:
        found = writer.rewrite(prompts, seeds, SamplingSettings(max_modifiers=most))
        return max(len(each.modifiers) for each in found)

    assert longest(None) > 2
    writer.max_modifiers = 2
    assert [longest(None), longest(5), longest(1)] == [2, 2, 1]
    kept = policy()
    kept.max_modifiers = 2
    folder = save_policy_folder(kept, tmp_path / "policy")
    assert load_policy_folder(folder).max_modifiers == 2
    card = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**card, "max_modifiers": "many"}))
    with pytest.raises(LoadError, match="max_modifiers"):
        load_policy_folder(folder)
