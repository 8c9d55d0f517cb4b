"""What is left of a text when spans are absent: words stay, one of two separators goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.prompt.layout import lay_out

# Pieces in order; those in parentheses of the first element are absent.
CASES = [
    (["a cat, ", "(blue)", ", sharp"], "a cat, sharp"),
    (["a cat, ", "(blue)", ",sharp"], "a cat,sharp"),
    (["a cat, ", "(blue)"], "a cat"),
    (["a cat. ", "(blue)", " "], "a cat"),
    (["(blue)", ", a cat"], "a cat"),
    (["(blue)", " ; a cat"], "a cat"),
    (["a cat, ", "(x)", ", ", "(y)", ", b"], "a cat, b"),
    (["a cat, ", "(x)", "(y)", ", b"], "a cat, b"),
    (["a cat, ", "(x)", " ", "(y)", ", b"], "a cat, b"),
    (["(x)", ", ", "(y)"], ""),
    (["(x)"], ""),
    (["a, ", "(x)", ". b"], "a. b"),
    (["a. ", "(x)", ", b"], "a. b"),
    (["a; ", "(x)", ", b"], "a; b"),
    (["a,, ", "(x)", ", b"], "a,, b"),
    (["a, ", "(x)", ",, b"], "a,, b"),
    (["(x)", ",, b"], ", b"),
    (["a, , b, ", "(x)"], "a, , b"),
    (["a cat ", "(in a hat)", " sits"], "a cat  sits"),
    (["a cat ", "(in a hat)", ", sharp"], "a cat , sharp"),
    (["a, ", "(x)", "and b"], "a, and b"),
    (["a,\n", "(x)", ",\nb"], "a,\nb"),
    (["a ", "b,", " ", "(x)", ", c"], "a b, c"),
    (["a, b"], "a, b"),
    ([", a, ", "(x)", ", b,"], ", a, b,"),
    (["猫，", "(x)", "，犬"], "猫，犬"),
    (["猫、", "(x)", "。"], "猫。"),
    (["猫， ", "(x)"], "猫"),
    (["a [", "(x)", "] b"], "a  b"),
    (["a, [", "(x)", "], b"], "a, b"),
    (["a （", "(x)", "）， b"], "a ， b"),
    (["[[", "(x)", "]]"], ""),
    (["a [[ ", "(x)", " ]b] c"], "a [b] c"),
    (["[", "(x)", ", ", "(y)", "], z"], "z"),
    (["a [b, ", "(x)", "] c"], "a [b] c"),
    (["a [", "(x)", ", b] c"], "a [b] c"),
    (["a :", "(x)", "] b"], "a :] b"),
]


@pytest.mark.parametrize(("pieces", "expected"), CASES, ids=["".join(case[0]) for case in CASES])
def test_hand_worked_texts(pieces: list[str], expected: str) -> None:
    absent = [piece.startswith("(") for piece in pieces]
    words = [piece.strip("()") for piece in pieces]
    assert lay_out(words, [not gone for gone in absent]).text == expected


pieces = st.lists(st.tuples(st.text(",;. ab[]", max_size=6), st.booleans()), max_size=8)


def naive(parts: list[tuple[str, bool]]) -> str:
    """A second way: mark gaps by a character, then rewrite from the left until nothing changes."""
    text = ""
    for piece, here in parts:
        text += piece if here else "#"
    strength = {",": 1, ";": 2, ".": 3}
    at = 0
    while "#" in text:
        at = text.index("#")
        before = text[:at].rstrip(" ")
        # Gaps with only spaces between are one gap, and their spaces stay if no separator meets.
        end = at
        while end < len(text) and text[end] in "# ":
            end += 1
        spaces, after = text[at:end].replace("#", ""), text[end:]
        left, right = before[-1:], after[:1]
        if right == "]" and left:
            kept = before[:-1].rstrip(" ") if left in strength else before
            if kept.endswith("["):
                text = kept[:-1] + "#" + after[1:]
            elif left in strength:
                text = kept + text[at:end].rpartition("#")[2] + after
            else:
                text = text[:at] + spaces + after
        elif left == "[" and right in strength:
            text = before + after[1:].lstrip(" ")
        elif not before and right in strength:
            text = after[1:].lstrip(" ")
        elif not after and left in strength:
            text = before[:-1].rstrip(" ")
        elif left in strength and right in strength:
            text = (
                before + after[1:] if strength[left] >= strength[right] else before[:-1].rstrip(" ") + after
            )
        else:
            text = text[:at] + spaces + after
    return text


@given(pieces)
def test_agrees_with_a_naive_rewriting(parts: list[tuple[str, bool]]) -> None:
    assert lay_out([text for text, _ in parts], [here for _, here in parts]).text == naive(parts)


@given(pieces)
def test_masking_hides_exactly_what_deleting_removes(parts: list[tuple[str, bool]]) -> None:
    texts, present = [text for text, _ in parts], [here for _, here in parts]
    masked = lay_out(texts, present, mask=True)
    assert masked.text == "".join(texts)
    kept = "".join(
        character
        for at, character in enumerate(masked.text)
        if not any(start <= at < end for start, end in masked.hidden)
    )
    assert kept == lay_out(texts, present).text
    ends = [at for interval in masked.hidden for at in interval]
    assert ends == sorted(set(ends))


@given(pieces)
def test_places_are_the_pieces_less_their_edges(parts: list[tuple[str, bool]]) -> None:
    layout = lay_out([text for text, _ in parts], [here for _, here in parts])
    assert "".join(layout.text[start:end] for start, end in layout.places) == layout.text
    for (text, here), (start, end) in zip(parts, layout.places, strict=True):
        shown = layout.text[start:end]
        assert shown in text if here else shown == ""
        # Letters never go, only separators and spaces at the edges.
        assert shown.replace(" ", "").strip(",;.[]") == (text.replace(" ", "").strip(",;.[]") if here else "")


@given(pieces)
def test_nothing_happens_when_nothing_is_absent(parts: list[tuple[str, bool]]) -> None:
    texts = [text for text, _ in parts]
    layout = lay_out(texts, [True] * len(texts))
    assert layout.text == "".join(texts)
    assert layout.hidden == ()
