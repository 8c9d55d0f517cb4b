"""Drawing classes: frequencies, truncation against a naive reading, the edges of the uniform number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import GenerationError
from dfprompt.policy.categorical import draw, masked_logprobs


def naive_draw(
    probabilities: list[float], uniform: float, temperature: float, top_k: int, top_p: float
) -> int:
    """One row, with loops: sharpen, keep the k largest, keep the fewest that reach p, walk up the sum."""
    sharp = [p ** (1 / temperature) for p in probabilities]
    order = sorted(range(len(sharp)), key=lambda i: -sharp[i])
    kept = order[: top_k or len(order)]
    total, reached, nucleus = sum(sharp[i] for i in kept), 0.0, []
    for i in kept:
        if reached >= top_p * total and nucleus:
            break
        nucleus.append(i)
        reached += sharp[i]
    left = uniform * sum(sharp[i] for i in nucleus)
    for i in sorted(nucleus):
        left -= sharp[i]
        if left < 0:
            return i
    raise AssertionError("the uniform number lies below 1")


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True),
    st.floats(0, 0.999),
    st.sampled_from([0.5, 0.9, 1.0, 2.0]),
    st.integers(0, 9),
    st.sampled_from([0.3, 0.7, 1.0]),
)
def test_draws_equal_a_naive_walk(
    counts: list[int], uniform: float, temperature: float, top_k: int, top_p: float
) -> None:
    shares = [count / sum(counts) for count in counts]
    # A number on an edge may fall on either side of it.
    around = {
        naive_draw(shares, min(max(uniform + d, 0), 0.9999), temperature, top_k, top_p) for d in (-1e-6, 1e-6)
    }
    drawn = draw(
        torch.tensor([shares]).log(), torch.tensor([uniform], dtype=torch.float64),
        temperature=temperature, top_k=top_k, top_p=top_p,
    )  # fmt: skip
    assert int(drawn) in around


def test_frequencies_are_the_probabilities() -> None:
    shares = torch.tensor([0.5, 0.3, 0.15, 0.05])
    uniforms = torch.from_numpy(np.random.default_rng(0).random(20_000))
    drawn = draw(shares.log().expand(20_000, -1), uniforms)
    found = torch.bincount(drawn, minlength=4) / 20_000
    assert (found - shares).abs().max() < 3 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1.0, 0.0)])
def test_what_is_masked_is_never_drawn(uniform: float) -> None:
    for allowed in ([True, True, False], [False, True, False], [False, True, True]):
        logprobs = masked_logprobs(torch.randn(3), torch.tensor(allowed))
        drawn = int(draw(logprobs[None], torch.tensor([uniform], dtype=torch.float64)))
        assert allowed[drawn]


def test_temperature_zero_takes_the_likeliest() -> None:
    logprobs = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]).log()
    assert draw(logprobs, torch.tensor([0.99, 0.99]), temperature=0).tolist() == [1, 0]


def test_masked_probabilities_are_renormalized() -> None:
    found = masked_logprobs(torch.tensor([1.0, 1.0, 3.0]).log(), torch.tensor([True, False, True])).exp()
    torch.testing.assert_close(found, torch.tensor([0.25, 0.0, 0.75]))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_probabilities_that_are_no_numbers_are_refused(temperature: float) -> None:
    logprobs = torch.tensor([[0.5, 0.5], [float("nan"), 0.5]]).log()
    with pytest.raises(GenerationError, match="not numbers"):
        draw(logprobs, torch.tensor([0.1, 0.1]), temperature=temperature)
