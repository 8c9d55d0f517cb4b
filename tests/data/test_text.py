"""Syntax taken out, short forms found, sets divided: the text side of curation, case by case."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.data.sets import set_of
from dfprompt.data.splitting import split_at_comma, split_at_subject
from dfprompt.data.syntax import strip_syntax


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("(a red cat:1.2)", "a red cat"),
        ("((a red cat))", "a red cat"),
        ("[[blurry]], {sharp}", "blurry, sharp"),
        ("(a (red:1.3) cat:1.1)", "a red cat"),
        ("a cat, <lora:snow:0.8>, 8k", "a cat, 8k"),
        ("<lora:a><hypernet:b:1> a cat", "a cat"),
        ("a cat, film grain++, (bokeh)1.3, (soft glow)--", "a cat, film grain, bokeh, soft glow"),
        ("a cat::2 snow::-0.5", "a cat snow"),
        ("a cat --ar 16:9 --v 5", "a cat"),
        ("a cat, 8k --no hands, feet", "a cat, 8k, feet"),
        ("a cat BREAK snow AND night", "a cat, snow, night"),
        ("a cat, embedding:easy, __colour__, 8k", "a cat, 8k"),
        ("[cat:dog:0.5] in the snow", "cat dog in the snow"),
        ("[neon:0.5]", "neon"),
        ("[cat|dog] running", "cat dog running"),
        (r"a \(small\) cat", "a small cat"),
        ("a cat , , 8k ,", "a cat, 8k"),
        ("a well-lit cat, f/1.8, 16:9", "a well-lit cat, f/1.8, 16:9"),
        ("a cat\nin the\tsnow", "a cat in the snow"),
        ("c++ code", "c code"),
        ("(unclosed", "unclosed"),
        ("", ""),
        ("((()))", ""),
    ],
)
def test_syntax_goes_and_words_stay(written: str, words: str) -> None:
    assert strip_syntax(written) == words


@given(st.text(max_size=60))
def test_stripping_twice_is_stripping_once_and_leaves_no_bracket(text: str) -> None:
    once = strip_syntax(text)
    assert not set("()[]{}<>|\\") & set(once)
    assert strip_syntax(once) == once


@pytest.mark.parametrize("text", ["(" * 30_000, "()" * 15_000, "--a " * 8_000, "a," * 15_000, "<a:" * 10_000])
def test_hostile_text_is_no_trap(text: str) -> None:
    started = time.perf_counter()
    strip_syntax(text)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("text", "short", "modifiers"),
    [
        ("a red cat, golden hour, 8k", "a red cat", ("golden hour", "8k")),
        ("a red cat", "a red cat", ()),
        ("a red cat,, 8k.", "a red cat", ("8k",)),
        (", 8k", "", ("8k",)),
    ],
)
def test_the_short_form_of_equation_1(text: str, short: str, modifiers: tuple[str, ...]) -> None:
    assert split_at_comma(text) == (short, modifiers)


@pytest.mark.parametrize(
    ("text", "short", "modifiers"),
    [
        ("masterpiece, best quality, a red cat, 8k", "a red cat", ("masterpiece", "best quality", "8k")),
        ("portrait, a woman in red, oil painting", "portrait, a woman in red", ("oil painting",)),
        ("a red cat on a hill, golden hour", "a red cat on a hill", ("golden hour",)),
        ("cat, 8k, film grain", "cat", ("8k", "film grain")),
        ("masterpiece, 8k", "8k", ("masterpiece",)),
        ("A cat sits. Golden hour", "A cat sits", ("Golden hour",)),
        ("8K", "8K", ()),
    ],
)
def test_the_smarter_split_keeps_a_subject(text: str, short: str, modifiers: tuple[str, ...]) -> None:
    assert split_at_subject(text) == (short, modifiers)


@given(st.text(alphabet="ab ,.8k", max_size=40))
def test_no_phrase_is_lost(text: str) -> None:
    short, modifiers = split_at_subject(text)
    wanted = sorted(part.strip(" .") for part in text.replace(". ", ",").split(",") if part.strip(" ."))
    found = sorted([*(part.strip() for part in short.split(",") if part.strip()), *modifiers])
    assert [" ".join(part.split()) for part in wanted] == found or "." in text


def test_sets_have_their_shares_and_follow_the_short_prompt() -> None:
    sets = [set_of(f"a cat number {n}", validation=0.2, test=0.1) for n in range(3000)]
    for name, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        assert abs(sets.count(name) / 3000 - share) < 0.03
    assert set_of("A  Cat", validation=0.3, test=0.3) == set_of("a cat", validation=0.3, test=0.3)
    assert {set_of("a cat", validation=0.4, test=0.3, salt=str(n)) for n in range(30)} == {
        "train", "validation", "test",
    }  # fmt: skip
    # More test prompts keep the ones there were.
    tested = [n for n in range(500) if set_of(f"{n}", validation=0, test=0.1) == "test"]
    assert all(set_of(f"{n}", validation=0, test=0.2) == "test" for n in tested)
