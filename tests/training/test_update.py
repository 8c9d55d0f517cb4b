"""One update of the policy: by loops over phrases, under changes that must not matter, and mutated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dfprompt.policy import ActionLogprobs, Policy, SamplingSettings, compute_logprobs
from dfprompt.training import update
from dfprompt.training.devices import make_accelerator
from dfprompt.training.rl_settings import RlSettings
from dfprompt.training.update import (
    KINDS,
    Experience,
    Outcome,
    drift,
    look_back,
    minibatches,
    norm_of,
    policy_loss,
    update_policy,
    widen,
)
from tiny_policies import tiny_policy
from tiny_training import gradient_norm

PROMPTS = ["a red cat", "the blue star in the snow", "a", "a cat at night", "a hill", "the red star"]


def settings(**more: Any) -> RlSettings:
    """Every term of the loss counts, each differently."""
    values = {
        "optimizer": {"batch_size": 6, "micro_batch_size": 6, "max_grad_norm": 1e9, "learning_rate": 1e-3},
        "surrogate": {
            "clip": 0.1, "stop_kl": 1e9, "text": 0.7, "range": 1.3, "weight": 0.9,
            "range_entropy": 0.11, "weight_entropy": 0.07,
        },
        "kl": {"text": 0.2, "range": 0.3, "weight": 0.5},
    }  # fmt: skip
    for name, section in more.items():
        values[name] = {**values[name], **section}
    return RlSettings.model_validate(values)


def moved(policy: Policy, seed: int = 1, by: float = 0.2) -> Policy:
    """The policy a little further on: some ratios leave the clip on either side."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += by * parameter.abs().mean() * noise
    return policy


def experience(control: str, seeds: int = 0) -> tuple[Policy, Experience]:
    """Rows of all lengths drawn by a policy that has moved since, seen from a reference that is another."""
    policy, reference = tiny_policy(control), tiny_policy(control, seed=3)
    how = SamplingSettings(max_new_tokens=12).for_rollouts()
    trajectory = policy.sample(PROMPTS, list(range(seeds, seeds + 6)), how)
    found = look_back(policy.model, reference.model, policy.vocabulary, trajectory, size=4)
    generator = torch.Generator().manual_seed(7)
    advantages = torch.randn(trajectory.tokens.shape, generator=generator)
    return moved(policy), found.adding(advantages=advantages)


def with_compared(given: Experience) -> Experience:
    """The same rows, their controls with advantages of their own."""
    own = torch.randn(given.tensors["advantages"].shape, generator=torch.Generator().manual_seed(8))
    return given.adding(control_advantages=own)


controls = pytest.mark.parametrize("control", ["phrase", "token"])


def naive_loss(policy: Policy, given: Experience, how: RlSettings) -> tuple[float, dict[str, int]]:
    """Row by row without padding, draw by draw in plain Python, straight from the model's logits."""
    sums = dict.fromkeys(("text", "range", "weight", "kl_t", "kl_r", "kl_w", "h_r", "h_w"), 0.0)
    counts = dict.fromkeys(KINDS, 0)
    trajectory, of = given.trajectory, given.tensors
    of_controls = of["control_advantages"] if "control_advantages" in of else of["advantages"]
    for row in range(len(given)):
        words = int(trajectory.token_mask[row].sum())
        context = trajectory.context_ids[row][trajectory.context_mask[row].bool()]
        tokens = trajectory.tokens[row, :words]
        with torch.no_grad():
            out = policy.model(input_ids=torch.cat([context, tokens])[None])
        for t in range(words):
            before = len(context) - 1 + t
            advantage = float(of["advantages"][row, t])
            if bool(trajectory.text_mask[row, t]):
                allowed = policy.vocabulary.masks[trajectory.states[row, t]]
                logits = [
                    x for x, ok in zip(out.logits[0, before].tolist(), allowed.tolist(), strict=True) if ok
                ]
                new = float(out.logits[0, before, tokens[t]]) - log_sum_exp(logits)
                sums["text"] += clipped(new, float(of["old_text"][row, t]), advantage, how.surrogate.clip)
                sums["kl_t"] += (new - float(of["reference_text"][row, t])) ** 2 / 2
                counts["text"] += 1
            if bool(trajectory.control_mask[row, t]):
                at = before + (1 if trajectory.control == "phrase" else 0)
                for kind, short, logits_of, ids in (
                    ("range", "r", out.range_logits, trajectory.range_ids),
                    ("weight", "w", out.weight_logits, trajectory.weight_ids),
                ):
                    raw = logits_of[0, at].tolist()
                    each = [x - log_sum_exp(raw) for x in raw]
                    old, drawn = float(of[f"old_{kind}"][row, t]), int(ids[row, t])
                    theirs = of[f"reference_{kind}_all"][row, t].tolist()
                    of_control = float(of_controls[row, t])
                    sums[kind] += clipped(each[drawn], old, of_control, how.surrogate.clip)
                    sums[f"kl_{short}"] += sum(
                        math.exp(p) * (p - q) for p, q in zip(each, theirs, strict=True)
                    )
                    sums[f"h_{short}"] -= sum(math.exp(p) * p for p in each)
                    counts[kind] += 1
    mean = {
        name: value / counts[{"t": "text", "r": "range", "w": "weight"}[name[-1]] if "_" in name else name]
        for name, value in sums.items()
    }
    total = sum(getattr(how.surrogate, kind) * mean[kind] for kind in KINDS)
    total += how.kl.text * mean["kl_t"] + how.kl.range * mean["kl_r"] + how.kl.weight * mean["kl_w"]
    total -= how.surrogate.range_entropy * mean["h_r"] + how.surrogate.weight_entropy * mean["h_w"]
    return total, counts


def log_sum_exp(values: list[float]) -> float:
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))


def clipped(new: float, old: float, advantage: float, clip: float) -> float:
    ratio = math.exp(new - old)
    return -min(ratio * advantage, min(max(ratio, 1 - clip), 1 + clip) * advantage)


def loss_of(policy: Policy, given: Experience, how: RlSettings, **options: Any) -> Tensor:
    now = update.compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    return policy_loss(now, given, how, given.counts(), **options)[0]


def check_loss(control: str) -> None:
    """The loss is the naive one, and draws of every kind took part."""
    policy, given = experience(control)
    expected, counts = naive_loss(policy, given, settings())
    assert min(counts.values()) > 5
    assert loss_of(policy, given, settings()).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@controls
def test_the_loss_is_the_naive_one(control: str) -> None:
    check_loss(control)


def test_compared_controls_have_advantages_of_their_own() -> None:
    """The naive formula again; and words move no head, controls no word, through the other's advantages."""
    policy, given = experience("phrase")
    compared = with_compared(given)
    expected, _ = naive_loss(policy, compared, settings())
    found = loss_of(policy, compared, settings()).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert found != pytest.approx(loss_of(policy, given, settings()).item(), rel=1e-3)
    alone = settings(surrogate={"text": 1.0, "range": 0.0, "weight": 0.0})
    assert loss_of(policy, compared, alone).item() == loss_of(policy, given, alone).item()


def test_some_draws_are_clipped_and_some_are_not() -> None:
    policy, given = experience("phrase")
    now = compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    _, figures = policy_loss(now, given, settings(), given.counts())
    assert all(0 < figures[f"clipped/{kind}"].item() < 1 for kind in KINDS)
    assert all(figures[f"moved/{kind}"].item() > 0 for kind in KINDS)


# Each mutation is a way in which published trainers were wrong.


def constant_classes(policy_model: Any, vocabulary: Any, trajectory: Any, **options: Any) -> ActionLogprobs:
    """Trap 1: log-probabilities of the default classes in place of those that were drawn."""
    default = dataclasses.replace(
        trajectory,
        range_ids=torch.zeros_like(trajectory.range_ids),
        weight_ids=torch.full_like(trajectory.weight_ids, 2),
    )
    return compute_logprobs(policy_model, vocabulary, default, **options)


def ignored_mask(policy_model: Any, vocabulary: Any, trajectory: Any, **options: Any) -> ActionLogprobs:
    """Trap 5: padding behind the end counts as if it had been drawn."""
    return compute_logprobs(
        policy_model,
        vocabulary,
        dataclasses.replace(trajectory, text_mask=torch.ones_like(trajectory.text_mask)),
        **options,
    )


def counts_everything(self: Experience) -> dict[str, float]:
    return dict.fromkeys(KINDS, float(self.trajectory.tokens.numel()))


def flipped(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda ours, theirs, mask, **options: fn(theirs, ours, mask, **options)


def unclipped(*args: Tensor, clip: float, count: float | None = None) -> Any:
    return update_surrogate(*args, clip=0.999, count=count)


update_surrogate = update.clipped_surrogate
MUTATIONS: dict[str, tuple[str, Any]] = {
    "constant classes": ("compute_logprobs", constant_classes),
    "flipped KL of the heads": ("exact_kl", flipped(update.exact_kl)),
    "clip removed": ("clipped_surrogate", unclipped),
    "KL as its bare estimate": ("sampled_kl_loss", update.sampled_kl),
    "mask of the counts": ("Experience.counts", counts_everything),
}


@controls
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_update_fails(name: str, control: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, wrong = MUTATIONS[name]
    monkeypatch.setattr(f"dfprompt.training.update.{target}", wrong)
    with pytest.raises(AssertionError):
        check_loss(control)


def test_an_ignored_mask_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss itself looks at the mask once more, so it is taken out of both."""
    monkeypatch.setattr("dfprompt.training.update.compute_logprobs", ignored_mask)
    original = Experience.__init__

    def blind(self: Experience, trajectory: Any, tensors: Any) -> None:
        original(
            self,
            dataclasses.replace(trajectory, text_mask=torch.ones_like(trajectory.text_mask)),
            tensors,
        )

    policy, given = experience("phrase")
    expected, _ = naive_loss(policy, given, settings())
    monkeypatch.setattr(Experience, "__init__", blind)
    wrong = Experience(given.trajectory, given.tensors)
    assert loss_of(policy, wrong, settings()).item() != pytest.approx(expected, rel=1e-3)


@controls
def test_the_first_ratio_is_one(control: str) -> None:
    policy = tiny_policy(control)
    how = SamplingSettings(max_new_tokens=12).for_rollouts()
    trajectory = policy.sample(PROMPTS, list(range(6)), how)
    given = look_back(policy.model, policy.model, policy.vocabulary, trajectory, size=2)
    given = given.adding(advantages=torch.full(trajectory.tokens.shape, 2.0))
    now = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    plain = settings(surrogate={"range_entropy": 0, "weight_entropy": 0})
    loss, figures = policy_loss(now, given, plain, given.counts())
    assert loss.item() == pytest.approx(-2.0 * (0.7 + 1.3 + 0.9), rel=1e-5)
    for kind in KINDS:
        assert figures[f"kl/{kind}"].item() == pytest.approx(0, abs=1e-6)
        assert figures[f"clipped/{kind}"].item() == 0
    assert drift(given) < 1e-4


def test_drift_names_the_published_mistake() -> None:
    policy, given = experience("phrase")
    assert drift(given) < 1e-4
    wrong = constant_classes(tiny_policy().model, policy.vocabulary, given.trajectory)
    assert drift(given.adding(old_range=wrong.range)) > 0.1


def gradients(policy: Policy, given: Experience, how: RlSettings) -> list[Tensor]:
    """The gradients of one optimiser step."""
    accelerator = make_accelerator(device="cpu")
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    update_policy(accelerator, policy.model, policy.vocabulary, optimizer, given, how)
    return [
        torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for each in policy.model.parameters()
    ]


def same(one: list[Tensor], two: list[Tensor]) -> None:
    assert max(float(each.abs().max()) for each in one) > 0.01
    largest = max(float(each.abs().max()) for each in two)
    for left, right in zip(one, two, strict=True):
        # Relative to the tensor: sums over other passes are added in another order on every processor, so
        # an element near 0 is off by what its large neighbours round to. Key biases, whose gradient is
        # nothing but rounding, are measured against the whole gradient.
        scale = max(float(right.abs().max()), largest / 100)
        assert float((left - right).abs().max()) <= 1e-5 * scale


@controls
@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("micro", [1, 2, 4])
@pytest.mark.few(4)
def test_passes_give_the_step_of_the_whole(control: str, micro: int, compared: bool) -> None:
    policy, given = experience(control)
    given = with_compared(given) if compared else given
    parts = settings(optimizer={"micro_batch_size": micro})
    same(gradients(policy, given, settings()), gradients(policy, given, parts))


@controls
@pytest.mark.parametrize("compared", [False, True])
def test_row_order_and_padding_change_nothing(control: str, compared: bool) -> None:
    policy, given = experience(control)
    given = with_compared(given) if compared else given
    whole = gradients(policy, given, settings())
    same(whole, gradients(policy, given.select([4, 1, 5, 0, 2, 3]), settings()))
    width = given.trajectory.tokens.shape[1] + 5
    wide = {name: widen(each, width) for name, each in given.tensors.items()}
    # Padding that would be words if anything looked at it.
    padded = Experience(given.trajectory.padded(left=3, right=5, fill=30), wide)
    same(whole, gradients(policy, padded, settings()))


def test_the_heads_learn_what_was_drawn() -> None:
    """One step up the advantage makes a rewarded range likelier and others not: trap 1 as behaviour."""
    policy, given = experience("phrase")
    tables = given.trajectory.range_ids
    good = (tables == 2) & given.trajectory.control_mask
    assert good.any()
    rewarded = given.adding(advantages=torch.where(good, 1.0, 0.0))
    quiet = settings(
        kl={"text": 0, "range": 0, "weight": 0}, surrogate={"range_entropy": 0, "weight_entropy": 0}
    )
    before = compute_logprobs(policy.model, policy.vocabulary, given.trajectory).range_all
    optimizer = torch.optim.SGD([*policy.model.range_head.parameters()], lr=0.5)
    update_policy(make_accelerator(device="cpu"), policy.model, policy.vocabulary, optimizer, rewarded, quiet)
    after = compute_logprobs(policy.model, policy.vocabulary, given.trajectory).range_all
    assert (after[good][:, 2] > before[good][:, 2]).all()


def test_clipping_acts_after_the_backward_pass() -> None:
    policy, given = experience("phrase")
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    tight = settings(optimizer={"max_grad_norm": 0.05})
    done = update_policy(
        make_accelerator(device="cpu"), policy.model, policy.vocabulary, optimizer, given, tight
    )
    norms = {"grad_norm": [], "grad_norm/heads": []}
    for name, each in policy.model.named_parameters():
        norms["grad_norm/heads" if "_head." in name else "grad_norm"].append(each)
    for name, part in norms.items():
        assert done.figures[name] > 0.1, "the norm reported is the one before clipping"
        assert gradient_norm(part) == pytest.approx(0.05, rel=1e-3), "heads and trunk by themselves"


def test_a_kind_that_moved_too_far_is_named_and_the_others_go_on_without_it() -> None:
    """The words are at the old policy's, the heads are not: they stop, and words learn as if alone."""
    policy, given = experience("phrase")
    now = compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    given = given.adding(old_text=now.text.detach())
    how = settings(surrogate={"stop_kl": 1e-4})
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    accelerator = make_accelerator(device="cpu")

    def step(learning: tuple[str, ...]) -> Outcome:
        return update_policy(
            accelerator, policy.model, policy.vocabulary, optimizer, given, how, learning=learning
        )

    first = step(KINDS)
    assert (first.applied, first.stopped) == (False, ("range", "weight"))
    assert step(("text",)).applied
    assert not any(x.grad is not None and x.grad.any() for x in policy.model.range_head.parameters())
    assert policy.model.trunk.get_input_embeddings().weight.grad.any()


def with_worth(given: Experience) -> Experience:
    """The same rows with a worth of every control."""
    shape = (*given.trajectory.tokens.shape, 3, 5)
    worth = torch.randn(shape, generator=torch.Generator().manual_seed(9))
    return given.adding(control_worth=worth * given.trajectory.control_mask[..., None, None])


def test_a_critics_worth_stands_in_the_place_of_the_heads_surrogates() -> None:
    """By loops over all fifteen controls of every phrase; words as without it."""
    policy, plain = experience("phrase")
    given = with_worth(plain)
    now = compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    loss, figures = policy_loss(now, given, settings(), given.counts())
    expected, count = 0.0, 0
    for row, t in given.trajectory.control_mask.nonzero().tolist():
        count += 1
        for r in range(3):
            for w in range(5):
                chance = math.exp(now.range_all[row, t, r].item() + now.weight_all[row, t, w].item())
                expected += chance * given.tensors["control_worth"][row, t, r, w].item()
    assert figures["critic/expected"].item() == pytest.approx(expected / count, rel=1e-4)
    without, of = policy_loss(now, plain, settings(), plain.counts())[0], given.tensors
    surrogates = 0.0
    for kind, ids in (("range", "range"), ("weight", "weight")):
        found = update.clipped_surrogate(
            getattr(now, ids), of[f"old_{ids}"], of["advantages"], given.trajectory.control_mask, clip=0.1
        )
        surrogates += getattr(settings().surrogate, kind) * found.loss.item()
    shared = settings().surrogate.range * expected / count
    assert loss.item() == pytest.approx(without.item() - surrogates - shared, rel=1e-4)


def test_heads_that_a_critic_teaches_are_not_stopped_and_leave_the_trunk_alone_in_a_warm_up() -> None:
    policy, plain = experience("phrase")
    given = with_worth(plain)
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    how = settings(surrogate={"stop_kl": 1e-6})
    done = update_policy(
        make_accelerator(device="cpu"), policy.model, policy.vocabulary, optimizer, given, how,
        learning=("range", "weight"),
    )  # fmt: skip
    assert done.applied
    assert policy.model.range_head.weight.grad.any()
    assert all(each.grad is None for each in policy.model.trunk.parameters())


@pytest.mark.slow
def test_gradients_with_a_critic_are_those_of_finite_differences() -> None:
    policy, plain = experience("phrase")
    given = with_worth(plain)
    now = compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    exact = Experience(given.trajectory, {name: each.double() for name, each in given.tensors.items()})
    chosen = torch.zeros_like(now.range).double()

    def loss(text: Tensor, ranges: Tensor, weights: Tensor) -> Tensor:
        ranges, weights = ranges.log_softmax(-1), weights.log_softmax(-1)
        made = ActionLogprobs(text, chosen, chosen, ranges, weights, now.states)
        return policy_loss(made, exact, settings(), given.counts())[0]

    inputs = [
        each.detach().double().requires_grad_(True) for each in (now.text, now.range_all, now.weight_all)
    ]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-6)


def test_a_policy_that_moved_too_far_is_not_moved_further() -> None:
    policy, given = experience("phrase")
    before = [each.detach().clone() for each in policy.model.parameters()]
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=1.0)
    strict = settings(surrogate={"stop_kl": 1e-6})
    done = update_policy(
        make_accelerator(device="cpu"), policy.model, policy.vocabulary, optimizer, given, strict
    )
    assert not done.applied
    assert all(
        torch.equal(left, right) for left, right in zip(before, policy.model.parameters(), strict=True)
    )


def test_rows_that_all_end_at_once_are_finite() -> None:
    policy = tiny_policy(ending=60.0)
    trajectory = policy.sample(PROMPTS, list(range(6)), SamplingSettings(max_new_tokens=8).for_rollouts())
    assert trajectory.tokens.shape[1] == 1
    given = look_back(policy.model, policy.model, policy.vocabulary, trajectory, size=6)
    given = given.adding(advantages=torch.ones(6, 1))
    found = gradients(policy, given, settings())
    assert all(torch.isfinite(each).all() for each in found)
    assert not policy.model.range_head.weight.grad.any()


def test_minibatches_hold_every_row_once() -> None:
    cut = minibatches(10, 4, [1, 2, 3])
    assert [len(rows) for rows in cut] == [4, 4, 2]
    assert sorted(row for rows in cut for row in rows) == list(range(10))
    assert cut == minibatches(10, 4, [1, 2, 3])
    assert cut != minibatches(10, 4, [1, 2, 4])


def test_gradients_of_the_loss_are_those_of_finite_differences() -> None:
    """In double precision, over the logits the heads and the words give."""
    policy, given = experience("phrase")
    now = compute_logprobs(policy.model, policy.vocabulary, given.trajectory)
    tensors = {name: each.double() for name, each in given.tensors.items()}
    exact = Experience(given.trajectory, tensors)

    def loss(text: Tensor, ranges: Tensor, weights: Tensor) -> Tensor:
        control = given.trajectory.control_mask
        chosen = [
            torch.where(control, every.gather(-1, ids[..., None])[..., 0], 0.0)
            for every, ids in ((ranges, given.trajectory.range_ids), (weights, given.trajectory.weight_ids))
        ]
        made = ActionLogprobs(text, chosen[0], chosen[1], ranges, weights, now.states)
        return policy_loss(made, exact, settings(), given.counts())[0]

    inputs = [
        each.detach().double().requires_grad_(True) for each in (now.text, now.range_all, now.weight_all)
    ]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-6)


def test_a_step_that_was_skipped_has_no_norm() -> None:
    """In fp16 accelerate skips steps whose gradients overflowed: that is no failure of the run."""
    taken, skipped = (SimpleNamespace(step_was_skipped=each) for each in (False, True))
    assert norm_of(taken, "grad_norm", torch.tensor(2.0)) == {"grad_norm": 2.0}
    assert norm_of(skipped, "grad_norm", torch.tensor(math.inf)) == {}
    assert norm_of(torch.optim.SGD([torch.zeros(1)]), "grad_norm", 2.0) == {"grad_norm": 2.0}
