"""Judges against choices: counted by hand, in both orders, nothing guessed from a damaged file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dfprompt.api.judge_check import check_judges
from dfprompt.errors import InputError, RewardError
from dfprompt.evaluation.judge_check import Pair, check_judge, read_checks, read_pairs, write_checks
from dfprompt.images.tensors import to_pil


def pair(choice: str, prompt: str = "p", generators: tuple[str, str] | None = None) -> Pair:
    return Pair(prompt, Path("a.png"), Path("b.png"), choice, prompt, generators, None, {})


def test_agreement_counts_choices_ties_and_orders_by_hand() -> None:
    same, other = ("g", "g"), ("g", "h")
    pairs = [
        pair("a", "1", same),
        pair("b", "2", same),
        pair("a", "3", other),
        pair("tie", "4"),
        pair("b", "5"),
    ]
    forth = [(2.0, 1.0), (2.0, 1.0), (1.0, 1.0), (9.0, 0.0), (0.0, 1.0)]
    back = [(2.0, 1.0), (2.0, 1.0), (1.0, 1.0), (9.0, 0.0), (1.0, 0.0)]  # leans to the second in the last
    found = check_judge("j", pairs, forth, back)
    assert found.agreement.share == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert found.same is not None
    assert found.different is not None
    assert (found.same.share, found.different.share) == (0.5, 0.5)
    assert (found.undecided, found.ties, found.order) == (1, 1, 1)
    assert (found.agreement.count, found.same.count, found.different.count) == (4, 2, 1)


def test_a_judge_that_always_prefers_the_second_is_right_half_the_time() -> None:
    pairs = [pair("a" if row % 3 else "b", str(row)) for row in range(30)]
    found = check_judge("j", pairs, [(0.0, 1.0)] * 30, [(1.0, 0.0)] * 30)
    assert found.agreement.share == 0.5
    assert found.order == 30


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pairs = [pair("a", str(row), ("g", "g")) for row in range(12)]
    check = check_judge("j", pairs, [(1.0, 0.0)] * 12, [(1.0, 0.0)] * 12, pairs_file="p.jsonl", digest="ab")
    write_checks([check], tmp_path / "c.json")
    assert read_checks(tmp_path / "c.json") == {"j": check}
    assert "Agrees with 100 % (" in check.sentence()


@pytest.mark.parametrize("text", ["", "[]", '{"judges": [1]}', '{"judges": [{"judge": "x"}]}', "\x00"])
def test_another_file_is_no_check(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match="not what `dfprompt judge-check` writes"):
        read_checks(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ('{"prompt": "x", "a": "a.png", "choice": "a"}', "no text under 'b'"),
        ('{"prompt": "x", "a": "a.png", "b": "b.png", "choice": "left"}', "a, b or tie"),
        ('{"prompt": "x", "a": "a.png", "b": "b.png", "choice": "tie"}', "nobody chose"),
        ("", "nobody chose"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "p.jsonl").write_text(line)
    with pytest.raises(InputError, match=said):
        read_pairs(tmp_path / "p.jsonl")


def _red(images, prompts, records=None):
    return images[:, 0].mean((1, 2)) - images[:, 1].mean((1, 2))


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    """Ten pairs in which somebody chose the redder picture, but for the last; sizes differ."""
    lines = []
    for row in range(10):
        for side, red in (("a", row % 2), ("b", 1 - row % 2)):
            image = torch.zeros(3, 8 + 8 * (row % 2), 8)
            image[0] = 0.2 + 0.6 * red
            to_pil(image[None])[0].save(tmp_path / f"{row}{side}.png")
        redder = "a" if row % 2 else "b"
        choice = redder if row < 9 else {"a": "b", "b": "a"}[redder]
        value = {"prompt": f"<b>{row}</b>", "a": f"{row}a.png", "b": f"{row}b.png", "choice": choice}
        lines.append(json.dumps({**value, "generator_a": "g", "generator_b": "gh"[row % 2], "extra": row}))
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    return tmp_path / "pairs.jsonl"


def test_judges_are_checked_and_what_they_get_wrong_is_a_page(pairs_file: Path) -> None:
    run = check_judges(pairs_file, [_red], output=pairs_file.parent / "out")
    (check,) = run.checks
    assert (check.judge, check.agreement.share, check.agreement.count, check.order) == ("_red", 0.9, 10, 0)
    assert check.same is not None
    assert check.same.share == 1.0
    assert read_checks(run.files[0])["_red"] == check
    page = run.files[1].read_text()
    assert page.count("<figure>") == 2
    assert "&lt;b&gt;9&lt;/b&gt;" in page
    assert "<b>9" not in page
    assert "<script" not in page
    assert "red | 90 % (" in run.to_markdown()


def test_a_judge_that_fails_has_no_accuracy(pairs_file: Path) -> None:
    def broken(images, prompts, records=None):
        scores = _red(images, prompts)
        return scores if "9" not in prompts[0] else scores * float("nan")

    with pytest.raises(RewardError, match="broken returned nan"):
        check_judges(pairs_file, [broken])
