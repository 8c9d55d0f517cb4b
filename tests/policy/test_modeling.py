"""The policy model: heads on any causal trunk, their start, saving and loading."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, GPT2LMHeadModel

from dfprompt.errors import ConfigError
from dfprompt.policy import Policy, PolicyConfig, PolicyModel, SamplingSettings
from dfprompt.policy.tables import make_tables
from tiny_policies import tiny_model, tiny_tokenizer, tiny_trunk

TRUNKS = ("gpt2", "llama")


def ids(rows: int = 2, length: int = 6) -> torch.Tensor:
    return torch.randint(0, len(tiny_tokenizer()), (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_heads_start_at_the_stated_probabilities_for_every_input(trunk: str) -> None:
    model = PolicyModel.from_trunk(tiny_trunk(trunk))
    out = model(ids())
    for logits, start in (
        (out.range_logits, (0.6, 0.2, 0.2)),
        (out.weight_logits, (0.05, 0.15, 0.6, 0.15, 0.05)),
    ):
        torch.testing.assert_close(logits.softmax(-1), torch.tensor(start).expand_as(logits))


def test_the_papers_start_is_an_option() -> None:
    start = [0.001, 0.157, 0.684, 0.157, 0.001]
    out = PolicyModel.from_trunk(tiny_trunk(), weight_start=start)(ids())
    torch.testing.assert_close(out.weight_logits.softmax(-1)[0, 0], torch.tensor(start))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_policy_says_the_same_words_as_its_trunk(trunk: str) -> None:
    plain = tiny_trunk(trunk).eval()
    expected = plain(ids()).logits
    torch.testing.assert_close(PolicyModel.from_trunk(plain).eval()(ids()).logits, expected)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_heads_read_the_state_the_token_head_reads(trunk: str) -> None:
    model = tiny_model(trunk=trunk)
    out = model(ids())
    torch.testing.assert_close(model.trunk.get_output_embeddings()(out.states), out.logits)
    torch.testing.assert_close(model.range_head(out.states), out.range_logits)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("keep", [1, 3])
def test_keep_gives_the_last_positions_of_the_whole(trunk: str, keep: int) -> None:
    model = tiny_model(trunk=trunk)
    whole, part = model(ids()), model(ids(), keep=keep)
    for name in ("logits", "range_logits", "weight_logits", "states"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[:, -keep:])


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("tied", [True, False])
def test_saving_and_loading_keeps_every_number(trunk: str, tied: bool, tmp_path: Path) -> None:
    model = PolicyModel.from_trunk(
        tiny_trunk(trunk, tied=tied), control="token", ranges=["full", "1->0.85"], range_start=[0.5, 0.5]
    ).eval()
    with torch.no_grad():
        model.range_head.weight.normal_()
    model.save_pretrained(tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"config.json", "model.safetensors"}
    loaded = PolicyModel.from_pretrained(tmp_path).eval()
    before, after = model(ids()), loaded(ids())
    for name in ("logits", "range_logits", "weight_logits"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert loaded.config.control == "token"
    assert [str(each) for each in loaded.config.tables.ranges] == ["full", "1->0.85"]
    assert (loaded.trunk.get_output_embeddings().weight is loaded.get_input_embeddings().weight) is tied
    stored = [name for name in load_file(tmp_path / "model.safetensors") if "lm_head" in name]
    assert bool(stored) is not tied


def test_stock_transformers_open_the_pieces(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "policy")
    model.trunk.save_pretrained(tmp_path / "trunk")
    assert isinstance(AutoModel.from_pretrained(tmp_path / "policy"), PolicyModel)
    trunk = AutoModelForCausalLM.from_pretrained(tmp_path / "trunk").eval()
    torch.testing.assert_close(trunk(ids()).logits, model(ids()).logits)
    assert json.loads((tmp_path / "policy" / "config.json").read_text())["trunk"]["model_type"] == "gpt2"


def test_heads_stay_in_single_precision(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    half = PolicyModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.trunk.get_output_embeddings().weight.dtype == torch.bfloat16
    assert half.range_head.weight.dtype == torch.float32
    assert half(ids()).range_logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"control": "sentence"}, "sentence"),
        ({"ranges": ["early", "late"]}, "default"),
        ({"weights": [0.5, 1.0, 1.0, 2, 3]}, "twice"),
        ({"weights": [0.0, 1.0], "weight_start": [0.5, 0.5]}, "weight 0"),
        ({"ranges": ["full", "0-0.5"]}, "0-0.5"),
        ({"weight_start": [0.5, 0.5]}, "5 probabilities"),
        ({"range_start": [0.9, 0.9, 0.9]}, "sum to 1"),
        ({"separators": ["|"]}, "separators"),
    ],
)
def test_a_config_that_cannot_be_is_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        PolicyConfig(**settings)


def test_ranges_that_act_at_no_step_are_known() -> None:
    tables = make_tables(["full", "early", "late", "1->0.85"], [1.0])
    assert tables.acting(None) == (True,) * 4
    assert tables.acting(10) == (True,) * 4
    assert tables.acting(1) == (True, True, False, True)
    # Image-to-image at strength 0.4 of 10 runs steps 6..9: nothing of the early half is left.
    assert tables.acting(10, strength=0.4) == (True, False, True, False)


class Renamed(GPT2LMHeadModel):
    """A trunk of another release: its cache has another name going in, and none coming out."""

    def forward(self, input_ids=None, cache=None, **others):
        return SimpleNamespace(logits=super().forward(input_ids, past_key_values=cache, **others).logits)


class Unheard(Renamed):
    """And of one after that, where nobody knows the name."""

    def forward(self, input_ids=None, memory=None, **others):
        assert memory is None
        return super().forward(input_ids, None, **others)


@pytest.mark.parametrize("kind", [Renamed, Unheard])
def test_the_cache_of_another_release_changes_no_word(kind: type[GPT2LMHeadModel]) -> None:
    """transformers 5.24 renamed past_key_values, coming out and going in; the next rename must not matter."""
    usual = tiny_model()
    trunk = kind(usual.trunk.config).eval()
    trunk.load_state_dict(usual.trunk.state_dict())
    renamed = PolicyModel(usual.config, trunk=trunk).eval()
    renamed.load_state_dict(usual.state_dict())
    assert (renamed.new_cache() is None) == (kind is Unheard)
    how, prompts = SamplingSettings(max_new_tokens=16), ["a red cat", "a star"] * 6
    policies = [Policy(model, tiny_tokenizer(), name="tiny") for model in (usual, renamed)]
    words = [[str(row.prompt) for row in each.rewrite(prompts, list(range(12)), how)] for each in policies]
    assert words[0] == words[1]
    assert len(set(words[0])) > 2
