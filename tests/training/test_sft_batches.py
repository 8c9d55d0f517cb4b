"""Examples as trajectories: which tokens are taught, worded how, and that rows stay apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dfprompt.policy import compute_logprobs
from dfprompt.training.examples import Example
from dfprompt.training.sft import negative_logprob
from dfprompt.training.sft_batches import EncodedExample, SftBatches, Wording, collate, encode_example
from tiny_policies import naive_masks, tiny_model, tiny_tokenizer
from tiny_training import fresh_policy, tiny_examples

CAT = Example("a red cat", ("golden hour", "8k"))


def encode(example: Example, **options: object) -> EncodedExample:
    return encode_example(fresh_policy().vocabulary, example, **{"max_new_tokens": 40, **options})  # type: ignore[arg-type]


def text_of(ids: tuple[int, ...]) -> str:
    return tiny_tokenizer().decode(list(ids))


def test_a_row_teaches_the_modifiers_and_the_end() -> None:
    row = encode(CAT)
    assert text_of(row.context) == "a red cat"
    assert text_of(row.tokens) == ", golden hour, 8k<|endoftext|>"
    assert len(row.states) == len(row.tokens)
    assert row.states[:2] == (0, 1)
    assert set(row.states[2:4]) == {2}


def test_a_rejected_row_teaches_to_end_at_once() -> None:
    row = encode(Example("a red cat", ("golden hour",), kept=False))
    assert text_of(row.tokens) == "<|endoftext|>"
    assert text_of(encode(Example("a red cat", ())).tokens) == "<|endoftext|>"


def test_what_the_policy_may_not_say_is_left_out() -> None:
    row = encode(Example("a red cat", ("(golden hour)", "8k", "a|b")))
    assert text_of(row.tokens) == ", 8k<|endoftext|>"
    assert row.unsayable == 2
    assert encode(Example("a red cat", ("[x]",))).tokens == ()


def test_modifiers_that_do_not_fit_are_left_out_and_the_end_is_not_taught() -> None:
    whole = encode(CAT)
    cut = encode(CAT, max_new_tokens=len(whole.tokens) - 1)
    assert text_of(cut.tokens) == ", golden hour"
    assert len(encode(CAT, max_new_tokens=len(whole.tokens)).tokens) == len(whole.tokens)


def test_context_and_modifiers_fit_the_trunk() -> None:
    row = encode(Example("a red cat " * 60, ("golden hour",) * 20), context_size=96)
    assert len(row.context) + len(row.tokens) <= 96
    assert len(row.context) == 96 - 40


def test_capitals_and_full_stops_come_in_their_shares() -> None:
    vocabulary = fresh_policy_with_stops()
    drawn = [
        encode_example(
            vocabulary, CAT, max_new_tokens=40, wording=Wording(0.5, 0.5), generator=np.random.default_rng(n)
        )
        for n in range(400)
    ]
    texts = [text_of(row.context) + text_of(row.tokens) for row in drawn]
    assert 0.4 < np.mean([text.startswith("A red cat") for text in texts]) < 0.6
    assert 0.4 < np.mean([text.count(".") for text in texts]) / 2 < 0.6
    assert "A red cat, Golden hour. 8k<|endoftext|>" in texts
    assert "a red cat. golden hour, 8k<|endoftext|>" in texts


def fresh_policy_with_stops():  # type: ignore[no-untyped-def]
    from dfprompt.policy.policy import make_vocabulary

    return make_vocabulary(tiny_model(separators=(",", ".")), tiny_tokenizer())


def test_the_loss_is_the_naive_one() -> None:
    """Plain loops over the stock model: modifiers' tokens given all before, renormalized by the grammar."""
    policy = fresh_policy()
    rows = [encode(example) for example in tiny_examples(6)]
    masks, total = naive_masks(policy.vocabulary), 0.0
    for row in rows:
        for at, token in enumerate(row.tokens):
            with torch.no_grad():
                ids = torch.tensor([[*row.context, *row.tokens[:at]]])
                logits = policy.model.trunk(ids).logits[0, -1].double().tolist()
            state = 0 if at == 0 else (1 if row.tokens[at - 1] in policy.vocabulary.separator_ids else 2)
            allowed = [x for x, fine in zip(logits, masks[state], strict=True) if fine]
            total -= logits[token] - math.log(sum(math.exp(x) for x in allowed))
    found = negative_logprob(policy.model, policy.vocabulary, rows).item()
    assert found == pytest.approx(total, rel=1e-5)


def test_rows_that_teach_nothing_weigh_nothing() -> None:
    """All of a pass may be such rows: modifiers that no policy may say, in passes of one row."""
    policy = fresh_policy()
    silent, row = EncodedExample((1, 2), (), (), unsayable=1), encode(CAT)
    none = negative_logprob(policy.model, policy.vocabulary, [silent])
    none.backward()
    assert none.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in policy.model.parameters())
    with torch.no_grad():
        both = negative_logprob(policy.model, policy.vocabulary, [silent, row])
        alone = negative_logprob(policy.model, policy.vocabulary, [row])
    assert both.item() == pytest.approx(alone.item(), rel=1e-5)


def test_rows_never_reach_into_each_other() -> None:
    policy = fresh_policy()
    rows = [encode(example) for example in tiny_examples(6)]
    together = compute_logprobs(policy.model, policy.vocabulary, collate(policy.vocabulary, rows)).text
    for number, row in enumerate(rows):
        alone = compute_logprobs(policy.model, policy.vocabulary, collate(policy.vocabulary, [row])).text
        torch.testing.assert_close(together[number, : len(row.tokens)], alone[0], atol=1e-5, rtol=0)
        assert not together[number, len(row.tokens) :].any()


def test_the_short_prompt_is_given_and_not_taught() -> None:
    """The loss has a term per token of the modifiers, whatever stands before them."""
    trajectory = collate(fresh_policy().vocabulary, [encode(CAT), encode(Example("a", ("8k",)))])
    assert trajectory.text_mask.sum(1).tolist() == [
        len(encode(CAT).tokens),
        len(encode(Example("a", ("8k",))).tokens),
    ]
    assert trajectory.context_mask.sum(1).tolist() == [len(encode(CAT).context), 1]
    assert not trajectory.control_mask.any()


def test_lessons_are_the_same_whoever_asks_and_when() -> None:
    def lessons() -> SftBatches:
        return SftBatches(
            fresh_policy().vocabulary, tiny_examples(), batch_size=6, rejected_share=0.1, max_new_tokens=24,
            wording=Wording(0.5, 0.0), seed=3,
        )  # fmt: skip

    first = [lessons().rows(step) for step in range(8)]
    later = lessons()
    assert [later.rows(step) for step in (7, 2)] == [first[7], first[2]]
    assert len({row for rows in first for row in rows}) > 4
