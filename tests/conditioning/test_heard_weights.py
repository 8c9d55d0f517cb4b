"""Weights by attention in families that are steered by listening: the right tokens, rows, sides and steps."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest
import torch

import dfprompt
import tiny_transformers
from dfprompt.conditioning.generic.places import _trace_back, qwen_places, wan_places
from dfprompt.conditioning.generic.weights import WEIGHTED_FAMILIES, find_weighted
from dfprompt.conditioning.reach import list_reach
from dfprompt.conditioning.value_weights import ValueWeights
from dfprompt.errors import UnsupportedPipelineError
from tiny_pipelines import qwen_tokenizer

pytestmark = pytest.mark.few("flux2", "wan")

NAMES = tuple(tiny_transformers.CALLS)
SEPARATE = ("wan", "chroma", "krea2", "flux2-klein")  # two denoiser calls per step
NEGATIVES = ("z-image", "wan", "chroma", "krea2")
BLOCKS = {"z-image": 2, "wan": 1, "chroma": 2, "flux2-klein": 3, "flux2": 3, "krea2": 2}
STEPS = 3
NEAR = 2e-5


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pipe(name: str) -> Any:
    return tiny_transformers.build(name)


def run(pipe: Any, name: str, prompt: Any, negative: Any = None, *seeds: int, **more: Any) -> torch.Tensor:
    call = {**tiny_transformers.CALLS[name], "num_inference_steps": STEPS, **more}
    if negative is not None and name in NEGATIVES:
        call["negative_prompt"] = negative
    generators = [torch.Generator().manual_seed(seed) for seed in seeds or (0,)]
    output = dfprompt.run(
        pipe, prompt, generator=generators if seeds else generators[0], output_type="pt", **call
    )
    return torch.as_tensor(output.frames if name == "wan" else output.images).float()


class Ears:
    """What every denoiser call multiplies its values by, what it answers, and what the encoder read."""

    def __init__(self, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[torch.Tensor | None] = []
        self.blocks: set[int] = set()
        self.answers: list[torch.Tensor] = []
        self.ids: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        own = ValueWeights.hear

        def hear(values: ValueWeights, weights: torch.Tensor | None) -> None:
            self.weights.append(weights)
            self.blocks.add(len(values.projections))
            own(values, weights)

        def answered(_module: Any, _arguments: Any, output: Any) -> None:
            found = output[0] if isinstance(output, tuple) else output.sample
            self.answers.append(found[0] if isinstance(found, list) else found)

        def read(_module: Any, arguments: Any, keywords: Any) -> None:
            ids = arguments[0] if arguments else keywords["input_ids"]
            mask = arguments[1] if len(arguments) > 1 else keywords["attention_mask"]
            tokenizer = pipe.tokenizer
            for row, real in zip(ids, mask, strict=True):
                self.ids[tokenizer.decode(row[real.bool()])] = (row, real.bool())

        monkeypatch.setattr(ValueWeights, "hear", hear)
        for part in (pipe.transformer, getattr(pipe, "transformer_2", None)):
            if part is not None:
                part.register_forward_hook(answered)
        pipe.text_encoder.register_forward_pre_hook(read, with_kwargs=True)


def heard_tokens(pipe: Any, name: str, ears: Ears, words: str) -> list[str]:
    """The tokens whose encodings the denoiser hears of the text that holds these words, in order."""
    row, real = next(pair for text, pair in ears.ids.items() if words in text)
    if name == "z-image":
        row = row[real]
    if name == "krea2":
        row = row[pipe.prompt_template_encode_start_idx :]
    return [pipe.tokenizer.decode([token]).strip() for token in row.tolist()]


@pytest.mark.parametrize("text", ["a red house, [old film::2] dog", "  the [snow::2], snow", "[é🎉 cat::2]"])
def test_a_weight_lands_on_its_own_tokens_in_every_block(pipe, name, monkeypatch, text):
    """Held to the ids that the encoder really read, decoded one by one."""
    if name in ("wan", "chroma") and "🎉" in text:
        text = "[zebra cat::2]"  # their tiny vocabulary knows no more than ASCII
    ears = Ears(pipe, monkeypatch)
    run(pipe, name, text)
    assert ears.blocks == {BLOCKS[name]}
    span = text[text.index("[") + 1 : text.index("::")]
    plain = text.replace("[", "").replace("::2]", "")
    tokens = heard_tokens(pipe, name, ears, span.split()[-1])
    weights = next(each for each in ears.weights if each is not None)[0]
    assert len(weights) == len(tokens)
    marked = [token for token, weight in zip(tokens, weights.tolist(), strict=True) if weight == 2]
    ids = pipe.tokenizer(plain[plain.index(span) :][: len(span)] if plain.index(span) == 0 else " " + span)
    expected = [pipe.tokenizer.decode([each]).strip() for each in ids["input_ids"]]
    assert [each for each in marked if each] == [each for each in expected if each and each != "</s>"]


def test_weight_one_is_the_stock_call_and_nothing_stays(pipe, name):
    stock = run(pipe, name, "a red house", "dog")
    assert torch.equal(run(pipe, name, "a [red::1] house", "[dog::1]"), stock)
    assert (run(pipe, name, "a [red::3] house", "dog") - stock).abs().max() > 1e-5
    assert torch.equal(run(pipe, name, "a red house", "dog"), stock)
    assert not any(module._forward_hooks for module in pipe.transformer.modules())


def test_the_effect_grows_with_the_weight(pipe, name, monkeypatch):
    """On what the denoiser says first: the further from 1 the more, and below 1 the other way round."""
    ears = Ears(pipe, monkeypatch)

    calls = STEPS * (2 if name in SEPARATE else 1)

    def answer(value: float) -> torch.Tensor:
        run(pipe, name, f"a [red house::{value}], snow")
        return ears.answers[-calls]  # the run's first; before it the pipeline was listened to

    plain = answer(1.0)
    effects = {value: answer(value) - plain for value in (-1.0, 0.25, 0.5, 2.0)}
    sizes = {value: float(effect.norm() / plain.norm()) for value, effect in effects.items()}
    assert sizes[-1.0] > 1.2 * sizes[0.25] > 1.2**2 * sizes[0.5] > 0
    for value in (-1.0, 0.25, 0.5):
        assert (effects[value] * effects[2.0]).sum() < 0


def test_rows_and_sides_are_independent(pipe, name):
    prompts = ["a [red::2] [house:early]", "an old [cat:late:-0.5], [snow::0.5->1.5]"]
    negatives = ["[dog::3]", "[film:early:0.5] photo"]
    together = run(pipe, name, prompts, negatives, 1, 2)
    for row in range(2):
        alone = run(pipe, name, [prompts[row]], [negatives[row]], row + 1)
        torch.testing.assert_close(together[row], alone[0], atol=NEAR, rtol=0)
    if name in NEGATIVES:
        lighter = run(pipe, name, [prompts[0]], ["[dog::1]"], 1)
        assert not torch.equal(lighter[0], together[0])


def test_every_step_hears_the_plans_weight(pipe, name, monkeypatch):
    ears = Ears(pipe, monkeypatch)
    run(pipe, name, "a [red::0.5->2] house", "[dog::3]")
    separate = 2 if name in SEPARATE else 1
    calls = ears.weights[-STEPS * separate :]
    for step, planned in enumerate((0.5, 1.25, 2.0)):
        heard = calls[step * separate : (step + 1) * separate]
        first = set(heard[0].flatten().tolist()) - {1.0}
        if name == "z-image":
            assert first == {planned, 3.0}
            assert planned in heard[0][0].tolist()  # positive rows come first
        else:
            assert first == {planned}
        if separate == 2:
            against = set() if heard[1] is None else set(heard[1].flatten().tolist()) - {1.0}
            assert against == ({3.0} if name in NEGATIVES else set())


def test_other_rules_are_refused(pipe, name):
    for rule in ("mean", "comfy"):
        with pytest.raises(UnsupportedPipelineError, match="weighting"):
            run(pipe, name, "a [red::2] house", weighting=rule)


def test_a_renamed_projection_is_refused_by_name(pipe, name):
    family = find_weighted([type(pipe).__name__])
    last = ValueWeights(pipe.transformer, family.sites).projections[-1].name
    path, _, leaf = last.rpartition(".")
    attention = pipe.transformer.get_submodule(path)
    attention.renamed = getattr(attention, leaf)
    delattr(attention, leaf)
    with pytest.raises(UnsupportedPipelineError, match=last):
        run(pipe, name, "a [red::2] house")


def test_every_family_has_classes_and_none_has_two():
    names = [each.name for each in list_reach()]
    for family in WEIGHTED_FAMILIES:
        assert [name for name in names if re.fullmatch(family.classes, name)], family.title
    for name in names:
        assert sum(bool(re.fullmatch(family.classes, name)) for family in WEIGHTED_FAMILIES) <= 1, name
    # Pipelines of the same parts that order their rows, or ask their denoiser, in ways of their own.
    for name in ("InstructPix2Pix", "SAG", "AttendAndExcite", "Upscale", "Panorama", "Depth2Img"):
        assert find_weighted([f"StableDiffusion{name}Pipeline"]) is None
    assert (
        find_weighted(["StableDiffusion3PAGPipeline"]) is None
    )  # perturbed rows go through values of their own


def test_pictures_before_the_words_leave_places_in_place():
    """Qwen-Image-Edit: the encoder reads many tokens per picture, the tokenizer only one."""
    pipe = types.SimpleNamespace(
        tokenizer=qwen_tokenizer(), prompt_template_encode="<|im_start|>user {}<|im_end|> assistant"
    )
    text = "a red house"
    alone = qwen_places(pipe, text, 512, 6)
    assert alone == [None, (0, 1), (1, 5), (5, 11), None, None]
    assert qwen_places(pipe, text, 512, 30) == [None] * 24 + alone
    with pytest.raises(UnsupportedPipelineError, match="fills the window"):
        qwen_places(pipe, text, 6, 6)


def test_places_in_a_cleaned_text_lead_back_to_the_original():
    """Wan repairs HTML and spaces before it tokenises: places count characters of what the user wrote."""
    cleaned, text = "a & red cat", "a &amp; red  cat "
    back = _trace_back([(0, 1), (2, 3), (4, 7), (8, 11), None], cleaned, text)
    assert [place and text[slice(*place)] for place in back] == ["a", "&", "red", "cat", None]
    pipe = tiny_transformers.build("wan")
    found = [text[slice(*place)].strip() for place in wan_places(pipe, text, 24, 24) if place is not None]
    assert "red" in found
    assert "cat" in found
