"""The weighting rules against hand-worked numbers, naive formulas and compel itself."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from itertools import chain

import pytest
import torch
from compel import Compel, ReturnedEmbeddingsType
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_pipelines
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import Schedule
from dfprompt.conditioning.weighting import weight_comfy, weight_compel, weight_mean, weight_scale
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.plan import make_plan
from property_profiles import examples

ONE_STEP = Schedule(1, (0,))


def random_encoding(seed: int, tokens: int = 6, width: int = 5, offset: float = 0.7) -> torch.Tensor:
    return torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(seed)) + offset


def test_scale_multiplies_each_token():
    encoding = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]])
    assert weight_scale(encoding, torch.tensor([[1.5, 0.5]])).tolist() == [[[1.5, -3.0], [1.5, 2.0]]]


def test_mean_restores_the_mean_by_hand():
    # The sum goes from 1+3+2+2 = 8 to 2+6+2+2 = 12; the ratio 8/12 = 0.667 is clamped to 0.8.
    encoding = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])
    clamped = weight_mean(encoding, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(clamped, torch.tensor([[[1.6, 4.8], [1.6, 1.6]]]))
    # Weight 1.2: after 1.2 + 3.6 + 4 = 8.8, the ratio 10/11 is allowed and the mean comes back.
    gentle = weight_mean(encoding, torch.tensor([[1.2, 1.0]]))
    torch.testing.assert_close(gentle, torch.tensor([[[12 / 11, 36 / 11], [20 / 11, 20 / 11]]]))
    assert gentle.mean().item() == pytest.approx(2.0)


def test_mean_equals_scale_where_the_mean_is_lost_in_the_noise():
    # mean 0.005, mean magnitude 1: half a percent. A restore would multiply by about -1.
    encoding = torch.tensor([[[1.01, -1.0], [1.0, -0.99]]])
    weights = torch.tensor([[1.0, 1.5]])
    torch.testing.assert_close(weight_mean(encoding, weights), weight_scale(encoding, weights))
    # The same guard holds for the mean after scaling: here it comes out at zero.
    lopsided = torch.tensor([[[3.0, 0.0], [-1.0, -1.0]]])
    weights = torch.tensor([[1.0, 1.5]])
    torch.testing.assert_close(weight_mean(lopsided, weights), weight_scale(lopsided, weights))


def test_mean_never_flips_the_sign():
    encoding = torch.tensor([[[2.0, 2.0], [-1.0, -1.0]]])
    weighted = weight_mean(encoding, torch.tensor([[1.0, 3.0]]))  # the mean turns from 0.5 to -0.25
    assert (weighted.sign() == encoding.sign()).all()


def test_rows_of_a_batch_do_not_disturb_each_other_under_mean():
    first, second = random_encoding(1), random_encoding(2, offset=9.0)
    weights = torch.tensor([[1.0, 1.4, 1.0, 0.6, 1.0, 1.0]])
    together = weight_mean(torch.cat([first, second]), weights.repeat(2, 1))
    torch.testing.assert_close(together[:1], weight_mean(first, weights))


def test_comfy_interpolates_from_the_empty_prompt():
    encoding, empty = torch.tensor([[[3.0], [5.0]]]), torch.tensor([[[1.0], [1.0]]])
    assert weight_comfy(encoding, torch.tensor([[2.0, 0.5]]), empty).tolist() == [[[5.0], [3.0]]]


def test_compel_blends_by_the_tangent():
    # w = 0.75: tan(pi/8) = sqrt(2) - 1. The whole encoding counts 1 of sqrt(2), the masked one the rest.
    encoding, empty = torch.full((1, 1, 1), 4.0), torch.zeros(1, 1, 1)
    masked = torch.full((1, 1, 1, 1), 10.0)
    blended = weight_compel(encoding, torch.ones(1, 1), empty, masked, [0.75])
    assert blended.item() == pytest.approx((4 + 10 * (math.sqrt(2) - 1)) / math.sqrt(2))


@given(seed=st.integers(0, 1000), rule=st.sampled_from(["mean", "scale", "comfy", "compel"]))
def test_weights_of_one_change_nothing_bit_for_bit(seed, rule):
    encoding, empty, ones = random_encoding(seed), random_encoding(seed + 1), torch.ones(1, 6)
    weighted = {
        "mean": lambda: weight_mean(encoding, ones),
        "scale": lambda: weight_scale(encoding, ones),
        "comfy": lambda: weight_comfy(encoding, ones, empty),
        "compel": lambda: weight_compel(encoding, ones, empty, encoding[:, None][:, :0], []),
    }[rule]()
    assert torch.equal(weighted, encoding)


@given(
    seed=st.integers(0, 1000),
    weights=st.lists(st.integers(1, 40).map(lambda n: n / 20), min_size=6, max_size=6),
)
def test_mean_and_comfy_match_a_naive_token_by_token_formula(seed, weights):
    encoding, empty = random_encoding(seed), random_encoding(seed + 1)
    rows, blank = encoding[0].tolist(), empty[0].tolist()
    scaled = [[value * weight for value in row] for row, weight in zip(rows, weights, strict=True)]
    flat, scaled_flat = list(chain(*rows)), list(chain(*scaled))
    ratio = 1.0
    before, after = sum(flat) / len(flat), sum(scaled_flat) / len(scaled_flat)
    noise = [
        abs(mean) < 0.01 * sum(map(abs, values)) / len(values)
        for mean, values in ((before, flat), (after, scaled_flat))
    ]
    if not any(noise):
        ratio = min(max(before / after, 0.8), 1.25)
    if all(weight == 1 for weight in weights):
        ratio = 1.0
    expected = torch.tensor([[[value * ratio for value in row] for row in scaled]])
    factors = torch.tensor([weights])
    torch.testing.assert_close(weight_mean(encoding, factors), expected, atol=1e-5, rtol=1e-5)
    drawn = [
        [e + (z - e) * weight for z, e in zip(row, blank_row, strict=True)]
        for row, blank_row, weight in zip(rows, blank, weights, strict=True)
    ]
    torch.testing.assert_close(
        weight_comfy(encoding, factors, empty), torch.tensor([drawn]), atol=1e-5, rtol=0
    )


def test_half_precision_is_computed_in_single():
    encoding = random_encoding(3).to(torch.float16)
    weights = torch.tensor([[1.0, 1.1, 0.9, 1.3, 1.0, 1.0]])
    exact = weight_mean(encoding.float(), weights)
    assert weight_mean(encoding, weights).dtype == torch.float16
    torch.testing.assert_close(weight_mean(encoding, weights).float(), exact, atol=1e-3, rtol=1e-3)


# ---- against compel ---------------------------------------------------------------------------------------

COMPEL_PROMPTS = [
    ("a (red horse)1.4, anime style", "a [red horse::1.4], anime style"),
    ("a (red horse)0.6, anime style", "a [red horse::0.6], anime style"),
    (
        "(goddess)1.3 in (deep forest)0.5, (glowing)0.25",
        "[goddess::1.3] in [deep forest::0.5], [glowing::0.25]",
    ),
    ("a cat, (a cat)0.8, a cat", "a cat, [a cat::0.8], a cat"),
    ("(café)0.05 at night", "[café::0.05] at night"),
    ("a plain dog", "a plain dog"),
]


def first_entry(pipe, text: str, rule: str) -> torch.Tensor:
    """The positive encoding (T,D) of a prompt at its only step."""
    adapter = adapter_for(pipe)
    options = Options(weighting=rule)
    compiled = compile_prompts(adapter, [parse_prompt(text)], None, ONE_STEP, options, cache=EncodingCache())
    return compiled.at(0)["prompt_embeds"][0]


@pytest.mark.parametrize(("compel_text", "text"), COMPEL_PROMPTS)
def test_the_compel_rule_is_compels(tiny_pipe, compel_text, text):
    pipe = tiny_pipe("sd1")
    compel = Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
    with torch.no_grad():
        expected = compel(compel_text)[0]
    torch.testing.assert_close(first_entry(pipe, text, "compel"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("compel_text", "text"), COMPEL_PROMPTS[:3])
def test_the_compel_rule_is_compels_on_sdxl(tiny_pipe, compel_text, text):
    pipe = tiny_pipe("sdxl")
    compel = Compel(
        tokenizer=[pipe.tokenizer, pipe.tokenizer_2],
        text_encoder=[pipe.text_encoder, pipe.text_encoder_2],
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=[False, True],
    )
    with torch.no_grad():
        expected = compel(compel_text)[0][0]
    torch.testing.assert_close(first_entry(pipe, text, "compel"), expected, atol=1e-5, rtol=0)


@settings(max_examples=examples(20))
@given(
    words=st.lists(
        st.sampled_from(["red horse", "goddess", "deep forest", "a cat", "café", "x-ray"]),
        min_size=1,
        max_size=5,
    ),
    hundredths=st.lists(st.sampled_from([1, 10, 35, 50, 75, 99, 100, 101, 130, 200]), min_size=5, max_size=5),
)
def test_any_weights_are_compels(words, hundredths):
    """Several spans up and down at once, the same words twice, far down and close to 1."""
    pipe = tiny_stable_diffusion()
    weights = [number / 100 for number in hundredths]
    pairs = list(zip(words, weights, strict=False))
    compel = Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
    with torch.no_grad():
        expected = compel(", ".join(f"({word}){weight}" for word, weight in pairs))[0]
    found = first_entry(pipe, ", ".join(f"[{word}::{weight}]" for word, weight in pairs), "compel")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@cache
def tiny_stable_diffusion():
    return tiny_pipelines.build("sd1")


@pytest.mark.parametrize("rule", ["mean", "scale", "comfy"])
def test_the_other_rules_are_their_formulas_on_a_real_encoder(tiny_pipe, rule):
    """Encoder outputs by the pipeline itself, token positions counted by hand, formulas written out again."""
    pipe = tiny_pipe("sd1")
    with torch.no_grad():
        encoding, empty = pipe.encode_prompt("a red horse in the snow", "cpu", 1, True)
    # Position 0 is the start token, so `red horse` are the tokens 2 and 3, `snow` is the token 6.
    weights = torch.ones(77)
    weights[2:4], weights[6] = 1.5, 0.4
    expected = encoding[0] * weights[:, None]
    if rule == "mean":
        ratio = encoding.mean() / expected.mean()
        assert encoding.mean().abs() > 0.01 * encoding.abs().mean(), "this encoder cannot test the ratio"
        assert 0.8 < ratio < 1.25
        assert ratio != 1
        expected = expected * ratio
    if rule == "comfy":
        expected = empty[0] + (encoding[0] - empty[0]) * weights[:, None]
    found = first_entry(pipe, "a [red horse::1.5] in the [snow::0.4]", rule)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_ramp_to_zero_ends_in_words_that_are_gone_and_one_to_almost_zero_does_not():
    def texts(end: str) -> list[str]:
        return [step.text for step in make_plan(parse_prompt(f"a cat, [snow:1->0:1->{end}]"), 4).steps]

    assert texts("0") == ["a cat, snow"] * 3 + ["a cat"]
    assert texts("0.000001") == ["a cat, snow"] * 4


def test_a_ramp_is_linear_in_the_step(tiny_pipe):
    pipe = tiny_pipe("sd1")
    adapter, schedule = adapter_for(pipe), Schedule(5, (0, 1, 2, 3, 4))
    prompt = parse_prompt("a [red::0.5->1.5] horse")
    compiled = compile_prompts(
        adapter, [prompt], None, schedule, Options(weighting="scale"), cache=EncodingCache()
    )
    plain = first_entry(pipe, "a red horse", "scale")
    for evaluation, weight in enumerate([Fraction(1, 2), Fraction(3, 4), 1, Fraction(5, 4), Fraction(3, 2)]):
        found = compiled.at(evaluation)["prompt_embeds"][0]
        torch.testing.assert_close(found[2], plain[2] * float(weight), atol=1e-5, rtol=0)
        assert torch.equal(found[3], plain[3])
