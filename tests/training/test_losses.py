"""The losses: by hand, by loops, by finite differences, under changes that must not matter, and mutated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dfprompt.training import losses
from dfprompt.training.losses import (
    adapt_kl,
    clipped_surrogate,
    entropy,
    exact_kl,
    sampled_entropy_loss,
    sampled_kl,
    sampled_kl_loss,
    value_loss,
)

ON = torch.tensor([[True]])
Loss = Callable[..., Any]


def one(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def batch(seed: int = 0) -> dict[str, Tensor]:
    """Numbers of a batch of 6 rows, 9 tokens, 4 classes; ratios on both sides of every clip."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    old = -draw(6, 9).abs() - 0.1
    return {
        "new": old + 0.3 * draw(6, 9),
        "old": old,
        "advantages": draw(6, 9),
        "values": draw(6, 9),
        "old_values": draw(6, 9),
        "returns": draw(6, 9),
        "all": draw(6, 9, 4).log_softmax(-1),
        "all_reference": draw(6, 9, 4).log_softmax(-1),
        "mask": torch.rand(6, 9, generator=generator) < 0.6,
    }


def naive(value: Callable[[int, int], float], mask: Tensor) -> float:
    """A mean over the mask, term by term."""
    terms = [value(b, t) for b in range(len(mask)) for t in range(mask.shape[1]) if mask[b, t]]
    return sum(terms) / max(1, len(terms))


# Each loss as a function of a batch, differentiable in its first tensor; and the same in plain Python.


def surrogate_of(x: dict[str, Tensor], fn: Loss = clipped_surrogate, **more: Any) -> Tensor:
    return fn(x["new"], x["old"], x["advantages"], x["mask"], clip=0.2, **more).loss


def surrogate_by_hand(x: dict[str, Tensor]) -> float:
    def term(b: int, t: int) -> float:
        ratio = math.exp(float(x["new"][b, t]) - float(x["old"][b, t]))
        advantage = float(x["advantages"][b, t])
        return -min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)

    return naive(term, x["mask"])


def value_of(x: dict[str, Tensor], fn: Loss = value_loss, **more: Any) -> Tensor:
    return fn(x["values"], x["old_values"], x["returns"], x["mask"], clip=0.4, **more)


def value_by_hand(x: dict[str, Tensor]) -> float:
    def term(b: int, t: int) -> float:
        new, old, goal = (float(x[name][b, t]) for name in ("values", "old_values", "returns"))
        near = old + min(max(new - old, -0.4), 0.4)
        return 0.5 * max((new - goal) ** 2, (near - goal) ** 2)

    return naive(term, x["mask"])


def sampled_of(x: dict[str, Tensor], fn: Loss = sampled_kl, **more: Any) -> Tensor:
    return fn(x["new"], x["old"], x["mask"], **more)


def sampled_by_hand(x: dict[str, Tensor]) -> float:
    def term(b: int, t: int) -> float:
        p, q = math.exp(float(x["new"][b, t])), math.exp(float(x["old"][b, t]))
        return q / p - 1 - math.log(q / p)

    return naive(term, x["mask"])


def pull_of(x: dict[str, Tensor], fn: Loss = sampled_kl_loss, **more: Any) -> Tensor:
    return fn(x["new"], x["old"], x["mask"], **more)


def pull_by_hand(x: dict[str, Tensor]) -> float:
    return naive(lambda b, t: (float(x["new"][b, t]) - float(x["old"][b, t])) ** 2 / 2, x["mask"])


def exact_of(x: dict[str, Tensor], fn: Loss = exact_kl, **more: Any) -> Tensor:
    return fn(x["all"], x["all_reference"], x["mask"], **more)


def exact_by_hand(x: dict[str, Tensor]) -> float:
    def term(b: int, t: int) -> float:
        pairs = zip(x["all"][b, t].tolist(), x["all_reference"][b, t].tolist(), strict=True)
        return sum(math.exp(p) * (p - q) for p, q in pairs)

    return naive(term, x["mask"])


def entropy_of(x: dict[str, Tensor], fn: Loss = entropy, **more: Any) -> Tensor:
    return fn(x["all"], x["mask"], **more)


def entropy_by_hand(x: dict[str, Tensor]) -> float:
    return naive(lambda b, t: -sum(math.exp(p) * p for p in x["all"][b, t].tolist()), x["mask"])


# name: (the loss of a batch, the same by loops, the tensor it is differentiated by)
LOSSES: dict[str, tuple[Loss, Callable[[dict[str, Tensor]], float], str]] = {
    "clipped_surrogate": (surrogate_of, surrogate_by_hand, "new"),
    "value_loss": (value_of, value_by_hand, "values"),
    "sampled_kl": (sampled_of, sampled_by_hand, "new"),
    "sampled_kl_loss": (pull_of, pull_by_hand, "new"),
    "exact_kl": (exact_of, exact_by_hand, "all"),
    "entropy": (entropy_of, entropy_by_hand, "all"),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def check_values(name: str, fn: Loss) -> None:
    """The loss is the naive one, and its gradient finite, with rubbish outside the mask."""
    of, by_hand, by = LOSSES[name]
    for seed in range(3):
        x = batch(seed)
        dirty = {key: _dirty(each, x["mask"]) for key, each in x.items()}
        inner = dirty[by].requires_grad_(True)
        loss = of(dirty, fn=fn)
        assert float(loss.detach()) == pytest.approx(by_hand(x), rel=1e-9)
        (gradient,) = torch.autograd.grad(loss, inner)
        assert torch.isfinite(gradient).all()


def _dirty(tensor: Tensor, mask: Tensor) -> Tensor:
    if tensor.dtype == torch.bool:
        return tensor
    return torch.where(mask[..., None] if tensor.ndim == 3 else mask, tensor, torch.nan)


@every_loss
def test_a_loss_is_the_naive_one(name: str) -> None:
    check_values(name, getattr(losses, name))


@every_loss
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    of, _, by = LOSSES[name]
    x = batch(4)
    inner = x[by].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda tensor: of({**x, by: tensor}), (inner,), eps=1e-6, atol=1e-7)
    of({**x, by: inner}).backward()
    assert inner.grad is not None
    outside = ~x["mask"][..., None] if inner.ndim == 3 else ~x["mask"]
    assert not (inner.grad * outside).any(), "what is not in the mask moves nothing"
    assert inner.grad.any()


@given(
    order=st.permutations(range(6)), left=st.integers(0, 3), right=st.integers(0, 3), cut=st.integers(1, 5)
)
@every_loss
def test_rows_padding_and_parts_change_nothing(
    name: str, order: list[int], left: int, right: int, cut: int
) -> None:
    of, x = LOSSES[name][0], batch(1)
    whole = float(of(x))

    def widen(tensor: Tensor) -> Tensor:
        sides = (0, 0, left, right) if tensor.ndim == 3 else (left, right)
        return torch.nn.functional.pad(tensor, sides)[order]

    moved = {key: widen(each) for key, each in x.items()}
    assert float(of(moved)) == pytest.approx(whole, rel=1e-12)
    count = float(x["mask"].sum())
    parts = [{key: each[rows] for key, each in x.items()} for rows in (slice(0, cut), slice(cut, None))]
    assert sum(float(of(part, count=count)) for part in parts) == pytest.approx(whole, rel=1e-12)


@every_loss
def test_an_empty_mask_gives_zero_and_gradients_of_zero(name: str) -> None:
    of, _, by = LOSSES[name]
    x = batch()
    inner = x[by].clone().requires_grad_(True)
    loss = of({**x, by: inner, "mask": torch.zeros_like(x["mask"])})
    loss.backward()
    assert float(loss.detach()) == 0
    assert inner.grad is not None
    assert not inner.grad.any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, 0),
        (1.1, 2.0, -2.2, -2.2, 0),
        (1.5, 2.0, -2.4, 0.0, 1),  # better than expected and likelier than allowed: no further
        (0.5, 2.0, -1.0, -1.0, 0),  # better and rarer: back without bound
        (0.5, -2.0, 1.6, 0.0, 1),  # worse and rarer than allowed: no further
        (1.5, -2.0, 3.0, 3.0, 0),  # worse and likelier: back without bound
    ],
)
def test_the_surrogate_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float, clipped: int
) -> None:
    new = one(math.log(ratio) - 1).requires_grad_(True)
    found = clipped_surrogate(new, one(-1.0), one(advantage), ON, clip=0.2)
    assert found.loss.item() == pytest.approx(loss)
    assert float(found.clipped) == clipped
    assert float(found.kl) == pytest.approx(ratio - 1 - math.log(ratio))
    found.loss.backward()
    assert new.grad is not None
    assert float(new.grad) == pytest.approx(gradient)


def test_a_ratio_beyond_every_float_stays_finite() -> None:
    new = one(-1.0).requires_grad_(True)
    found = clipped_surrogate(new, one(-2000.0), one(1.0), ON, clip=0.2)
    found.loss.backward()
    assert torch.isfinite(found.loss)
    assert torch.isfinite(found.kl)
    assert new.grad is not None
    assert float(new.grad) == 0


@pytest.mark.parametrize(
    ("value", "old", "goal", "loss"),
    [
        (1.0, 0.0, 1.0, 0.18),  # right, but it moved by 1: as bad as .4, which is .6 off
        (0.3, 0.0, 1.0, 0.245),  # within the clip: .7 off
        (-1.0, 0.0, 1.0, 2.0),  # away from the goal: the error itself is worse
    ],
)
def test_the_value_loss_by_hand(value: float, old: float, goal: float, loss: float) -> None:
    assert float(value_loss(one(value), one(old), one(goal), ON, clip=0.4)) == pytest.approx(loss)
    assert float(value_loss(one(value), one(old), one(goal), ON)) == pytest.approx((value - goal) ** 2 / 2)


def divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours.exp() * (ours - theirs)).sum(-1)


def expected_over_draws(logits: Tensor, reference: Tensor, fn: Loss) -> tuple[Tensor, Tensor]:
    """Expectation of an estimator, and of its gradient, over everything that can be drawn: exact sums."""
    logits = logits.clone().requires_grad_(True)
    shares = logits.softmax(-1).detach()
    value, gradient = torch.zeros(()), torch.zeros_like(logits)
    for drawn in range(len(logits)):
        each = fn(logits.log_softmax(-1)[drawn].reshape(1, 1), reference[drawn].reshape(1, 1), ON)
        value = value + shares[drawn] * each.detach()
        gradient = gradient + shares[drawn] * torch.autograd.grad(each, logits)[0]
    return value, gradient


def check_kl_signs(measure: Loss, pull: Loss, exact: Loss) -> None:
    """The estimate is KL(policy || reference) on average; the loss descends it."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64)
    reference = torch.tensor([1.0, 0.2, -0.5, 0.0], dtype=torch.float64).log_softmax(-1)
    inner = logits.clone().requires_grad_(True)
    true = divergence(inner.log_softmax(-1), reference)
    true_gradient = torch.autograd.grad(true, inner)[0]
    value, _ = expected_over_draws(logits, reference, measure)
    torch.testing.assert_close(value, true.detach())
    _, gradient = expected_over_draws(logits, reference, pull)
    torch.testing.assert_close(gradient, true_gradient)
    found = exact(logits.log_softmax(-1)[None, None], reference[None, None], ON)
    torch.testing.assert_close(found, true.detach())
    inner = logits.clone().requires_grad_(True)
    whole = exact(inner.log_softmax(-1)[None, None], reference[None, None], ON)
    torch.testing.assert_close(torch.autograd.grad(whole, inner)[0], true_gradient)


def test_kl_estimators_have_the_right_sign() -> None:
    """Trap 5 of the published code: an estimator with its sign reversed."""
    check_kl_signs(sampled_kl, sampled_kl_loss, exact_kl)


def test_the_plain_log_ratio_would_pull_nowhere() -> None:
    """Why the loss is not simply the estimate log p - log q: on average its gradient is 0."""
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64)
    reference = torch.tensor([1.0, 0.2, -0.5], dtype=torch.float64).log_softmax(-1)
    _, gradient = expected_over_draws(logits, reference, lambda p, q, mask: (p - q).sum())
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_classes_that_cannot_be_drawn_add_nothing() -> None:
    ours = torch.tensor([[[0.5, 0.5, 0.0]]]).log().requires_grad_(True)
    theirs = torch.tensor([[[0.9, 0.1, 0.0]]]).log()
    found = exact_kl(ours, theirs, ON)
    assert found.item() == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1), rel=1e-6)
    (gradient,) = torch.autograd.grad(found, ours)
    assert torch.isfinite(gradient).all()
    assert entropy(ours, ON).item() == pytest.approx(math.log(2))


def test_the_kl_scale_follows_the_target() -> None:
    assert adapt_kl(2.0, measured=1.1, target=1.0) == pytest.approx(2.0 * 1.01)
    assert adapt_kl(2.0, measured=100.0, target=1.0) == pytest.approx(2.0 * 1.02)
    assert adapt_kl(2.0, measured=0.0, target=1.0) == pytest.approx(2.0 * 0.98)


# What must not go unnoticed: (function, what is rewritten, into what).
MUTATIONS = [
    ("clipped_surrogate", "torch.minimum(free, bound)", "free"),  # no clip
    ("clipped_surrogate", "torch.minimum(free, bound)", "bound"),  # clips in both directions
    ("clipped_surrogate", "torch.minimum(free, bound)", "torch.maximum(free, bound)"),
    ("clipped_surrogate", "1 - clip, 1 + clip", "1 - clip, 1 + 2 * clip"),
    ("clipped_surrogate", "return Surrogate(-_mean", "return Surrogate(_mean"),
    ("clipped_surrogate", "logprobs - old_logprobs", "old_logprobs - logprobs"),
    ("clipped_surrogate", "mask, count), clipped", "mask | True, count), clipped"),  # mask ignored
    ("value_loss", "torch.maximum", "torch.minimum"),
    ("value_loss", "0.5 *", "1.0 *"),
    ("value_loss", "_mean(errors, mask, count)", "_mean(errors, mask | True, count)"),
    ("value_loss", "(near - returns)", "(near - old_values)"),
    ("sampled_kl", "reference - logprobs", "logprobs - reference"),  # flipped sign
    ("sampled_kl", "- 1 - log_ratio", "- 1 + log_ratio"),
    ("sampled_kl", "mask, count)", "mask | True, count)"),
    ("sampled_kl_loss", ".square()", ""),  # log p - log q: no pull
    ("sampled_kl_loss", "_mean(_inside", "-_mean(_inside"),
    ("sampled_kl_loss", "_mean(_inside(logprobs - reference, mask)", "_mean((logprobs - reference)"),
    ("exact_kl", "(ours - theirs)", "(theirs - ours)"),
    ("exact_kl", "ours.exp()", "theirs.exp()"),  # the other direction
    ("exact_kl", "_mean(_inside(each, mask), mask, count)", "each.mean()"),
    ("entropy", "-torch.where(possible, ours.exp()", "torch.where(possible, ours.exp()"),
    ("entropy", "_mean(_inside(each, mask), mask, count)", "each.mean()"),
]


def check_everything(name: str, functions: dict[str, Any]) -> None:
    check_values(name, functions[name])
    check_kl_signs(functions["sampled_kl"], functions["sampled_kl_loss"], functions["exact_kl"])


@pytest.mark.parametrize(("name", "before", "after"), MUTATIONS)
def test_a_mutated_loss_fails(name: str, before: str, after: str) -> None:
    source = inspect.getsource(getattr(losses, name))
    code = source[source.rindex('"""') :]  # not its documentation
    assert before in code
    space = dict(vars(losses))
    mutant = source[: source.rindex('"""')] + code.replace(before, after)
    exec(compile(mutant, "<mutant>", "exec"), space)
    with pytest.raises(AssertionError):
        check_everything(name, space)


def test_the_sampled_entropys_gradient_is_the_entropys_on_average() -> None:
    """Weighted by how often each class is drawn, the gradients are those of minus the exact entropy."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
    logprobs = logits.log_softmax(-1)
    exact = (logprobs.exp() * logprobs).sum()
    (expected,) = torch.autograd.grad(exact, logits, retain_graph=True)
    on, found = torch.tensor([[True]]), torch.zeros(4, dtype=torch.float64)
    for chosen in range(4):
        loss = sampled_entropy_loss(logits.log_softmax(-1)[chosen].reshape(1, 1), on)
        found += logprobs[chosen].exp().detach() * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(found, expected)
    padded = sampled_entropy_loss(torch.tensor([[-2.0, float("nan")]]), torch.tensor([[True, False]]))
    assert padded.item() == 2.0
