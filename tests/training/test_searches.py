"""What logs of searches show: modifiers read back, pairs of one noise, words as bags."""

from __future__ import annotations

import pytest
import torch

from dfprompt.measurement.rows import Row
from dfprompt.policy.tables import RANGES, WEIGHTS, make_tables
from dfprompt.prompt import Span
from dfprompt.training.searches import Answer, WordBags, control_of, read_answers

TABLES = make_tables(RANGES, WEIGHTS)


def row(written: str, noise: int, reward: float | None, prompt: str = "a cat, old") -> Row:
    scores = {} if reward is None else {"reward": reward}
    return Row(written, "p", prompt, noise, noise=noise, df_prompt=written, scores=scores)


def test_a_gain_is_over_the_plain_picture_of_the_same_noise() -> None:
    rows = [
        row("a cat, old", 1, 2.0),
        row("a cat, old", 2, 3.0),
        row("a cat, old, [8k:late:1.25], film grain", 2, 3.5),
        row("a cat, old, film grain", 1, 1.5),
    ]
    found, left = read_answers(rows, "reward", TABLES)
    assert found == [
        Answer("a cat, old", (Span("8k", "late", "1.25"), Span("film grain")), 0.5),
        Answer("a cat, old", (Span("film grain"),), -0.5),
    ]
    assert not left


def test_what_cannot_be_learnt_from_is_counted_by_why() -> None:
    rows = [
        row("a cat, old", 1, 2.0),
        row("a cat, old, 8k", 2, 1.0),
        row("an old cat, 8k", 1, 1.0),
        row("a cat, [old:late]", 1, 1.0),
        row("a cat, old, [8k:0.7->0]", 1, 1.0),
        row("a cat, old, [8k:late:1.1]", 1, 1.0),
        row("a cat, old, 8k", 1, None),
    ]
    found, left = read_answers(rows, "reward", TABLES)
    assert found == []
    assert dict(left) == {
        "no plain picture of the same noise": 1,
        "other words than modifiers behind the prompt": 2,
        "ranges or weights of no table": 2,
    }


def test_a_prompt_with_brackets_of_its_own_is_read() -> None:
    rows = [
        row(r"a \[sic\] sign", 1, 1.0, "a [sic] sign"),
        row(r"a \[sic\] sign, [8k:late]", 1, 2.0, "a [sic] sign"),
    ]
    found, _ = read_answers(rows, "reward", TABLES)
    assert found == [Answer("a [sic] sign", (Span("8k", "late"),), 1.0)]


def test_bags_are_of_length_one_and_alike_as_they_share_words() -> None:
    prompts = ["a red cat at night", "a blue dog at night", "a red dog in the snow"]
    bags = WordBags.of([Answer(each, (Span("film grain"), Span("fine grain")), 0.0) for each in prompts])
    one, two = bags.phrase("film grain"), bags.phrase("fine grain")
    assert float(one @ one) == pytest.approx(1.0)
    assert float(one @ two) == pytest.approx(0.5)
    night, other, snow = map(bags.prompt, prompts)
    assert float(night.norm()) == pytest.approx(1.0)
    assert float(night @ bags.prompt("A Red Cat, at NIGHT!")) == pytest.approx(1.0)
    # "a" is in all three and says least: what two prompts share counts by how rare it is.
    assert float(night @ other) == pytest.approx(float(other @ night))
    assert 0.1 < float(night @ snow) < float(night @ other) < 1
    assert not bags.prompt("quelque chose").any()


def test_rows_become_phrases_with_their_company() -> None:
    bags = WordBags.of([Answer("a cat", (Span("8k"), Span("film grain")), 0.0)])
    control = control_of(TABLES, Span("8k", "late", "1.25"))
    assert control == 2 * 5 + 3
    phrases = bags.describe([("a cat", ["8k", "film grain"], [control, 0]), ("a cat", [], [])], 2)
    assert phrases.mask.tolist() == [[True, True], [False, False]]
    assert phrases.controls.tolist() == [[13, 0], [0, 0]]
    assert torch.equal(phrases.company[0, 0], phrases.words[0, 1])
    assert torch.equal(phrases.company[0, 1], phrases.words[0, 0])
    assert not phrases.words[1].any()
    assert phrases.states.shape[-1] == bags.size
