"""Rows of stage 1: reading them, and the order in which training sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import InputError
from dfprompt.training.examples import Example, RowOrder, read_examples


def test_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"short": "a cat", "modifiers": ["8k"], "kept": false, "more": 1}\n\n'
        '{"short": "a dog", "modifiers": []}\n'
    )
    assert read_examples(path) == [Example("a cat", ("8k",), kept=False), Example("a dog", ())]


BROKEN = (
    *("{", "[]", '{"short": "a"}', '{"short": 1, "modifiers": []}'),
    *('{"short": "a", "modifiers": "8k"}', '{"short": "a", "modifiers": [1]}'),
    '{"short": "a", "modifiers": [], "kept": "yes"}',
)


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_row_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"short": "a cat", "modifiers": []}\n' + line + "\n")
    with pytest.raises(InputError, match="line 2"):
        read_examples(path)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl"):
        read_examples(tmp_path / "train.jsonl")
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no rows"):
        read_examples(tmp_path / "train.jsonl")


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 9))
def test_an_epoch_holds_each_kept_row_once_and_rejected_ones_in_their_share(
    kept: list[bool], share: float, seed: int
) -> None:
    if not any(kept):
        with pytest.raises(InputError, match="no example passed"):
            RowOrder(kept, rejected_share=share, seed=seed)
        return
    order = RowOrder(kept, rejected_share=share, seed=seed)
    for epoch in range(3):
        seen = Counter(order.at(epoch * order.epoch_size + at) for at in range(order.epoch_size))
        assert set(seen.values()) == {1}
        assert {row for row in seen if kept[row]} == {row for row, fine in enumerate(kept) if fine}
        wanted = round(sum(kept) * share / (1 - share))
        assert sum(not kept[row] for row in seen) == min(wanted, kept.count(False))


def test_the_order_depends_on_the_seed_alone_and_changes_every_epoch() -> None:
    kept = [True] * 30
    one, other = RowOrder(kept, rejected_share=0, seed=1), RowOrder(kept, rejected_share=0, seed=2)
    forwards = [one.at(position) for position in range(90)]
    fresh = RowOrder(kept, rejected_share=0, seed=1)
    assert [fresh.at(position) for position in reversed(range(90))] == forwards[::-1]
    assert forwards != [other.at(position) for position in range(90)]
    assert forwards[:30] != forwards[30:60]


def test_ten_percent_of_the_rows_are_rejected_ones() -> None:
    order = RowOrder([True] * 900 + [False] * 500, rejected_share=0.1, seed=0)
    drawn = [order.at(position) for position in range(10 * order.epoch_size)]
    assert sum(row >= 900 for row in drawn) / len(drawn) == pytest.approx(0.1)
