"""Numbers, ranges and weights: exact, bounded, and indifferent to how they were written."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import PromptValueError
from dfprompt.prompt import EARLY, FULL, LATE, EffectRange, Weight
from dfprompt.prompt.exact import complement, format_decimal, round_places, to_json_number
from prompt_strategies import MICRO, micro, ranges


@pytest.mark.parametrize(
    "written",
    ["0.5", "0.50", ".5", "00.5", Decimal("0.5"), Decimal("5E-1"), 0.5, "5e-1", Decimal("0.5" + "0" * 90)],
)
def test_one_half_is_one_half_however_written(written: object) -> None:
    assert Weight(written) == Weight("0.5")
    assert hash(Weight(written)) == hash(Weight("0.5"))
    assert str(Weight(written)) == "0.5"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-10.5, "between -10 and 10"),
        ("10.000001", "between -10 and 10"),
        ("0.1234567", "6 decimal places"),
        ("0.5" + "0" * 90 + "1", "6 decimal places"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (Decimal("sNaN"), "finite"),
        (True, "must be a number"),
        (None, "must be a number"),
        ([1], "must be a number"),
        ("one", "plain decimal"),
        ("1_0", "plain decimal"),
        ("٣", "plain decimal"),
        pytest.param(10**5000, "between -10 and 10", id="huge"),
        ("1e999999999", "between -10 and 10"),
    ],
)
def test_a_weight_that_cannot_be_is_named(value: object, problem: str) -> None:
    with pytest.raises(PromptValueError, match=problem):
        Weight(value)


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        (0, 1, "write 1->0"),
        ("0.2", "0.8", "write 0.8->0.2"),
        ("0.5", "0.5", "empty"),
        ("1.1", 0, "between 0 and 1"),
    ],
)
def test_a_range_that_cannot_be_is_named(start: object, end: object, problem: str) -> None:
    with pytest.raises(PromptValueError, match=problem):
        EffectRange(start, end)


def test_words_are_the_halves_and_the_whole() -> None:
    assert EARLY == EffectRange(1, "0.5") == EffectRange.named("early")
    assert LATE == EffectRange("0.5", 0) == EffectRange.named("late")
    assert FULL == EffectRange(1, 0) == EffectRange.named("full")
    assert (str(EARLY), str(EffectRange(1, "0.500001"))) == ("early", "1->0.500001")
    with pytest.raises(PromptValueError, match="early, late, full"):
        EffectRange.named("middle")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ((1, "0.5"), "early half"),
        (("0.5", 0), "late half"),
        ((1, 0), "all the way"),
        ((1, "0.85"), "first 15 %"),
        (("0.3", 0), "last 30 %"),
        (("0.7", "0.3"), "from 30 % to 70 %"),
        ((1, "0.999"), "first 0.1 %"),
    ],
)
def test_a_range_in_words_counts_steps_done(text: tuple[object, object], words: str) -> None:
    assert EffectRange(*text).words == words


def test_a_range_is_half_open_and_an_end_of_zero_includes_zero() -> None:
    middle = EffectRange("0.7", "0.3")
    assert middle.contains(Fraction(7, 10))
    assert not middle.contains(Fraction(3, 10))
    assert not middle.contains(Fraction(7, 10) + Fraction(1, 10**9))
    assert LATE.contains(Fraction(0))
    assert not EARLY.contains(Fraction(0))


@given(ranges, st.fractions(0, 1))
def test_contains_agrees_with_integer_arithmetic(effect: EffectRange, left: Fraction) -> None:
    start, end = int(effect.start * MICRO), int(effect.end * MICRO)
    scaled, unit = left.numerator * MICRO, left.denominator
    assert effect.contains(left) == ((end * unit < scaled or end == 0) and scaled <= start * unit)


@given(st.integers(0, 10 * MICRO))
def test_json_numbers_and_text_keep_every_digit(number: int) -> None:
    exact = micro(number)
    assert Decimal(repr(to_json_number(exact))) == exact
    assert Decimal(format_decimal(exact)) == exact
    assert "E" not in format_decimal(exact)


@given(st.integers(0, MICRO))
def test_complement_is_its_own_inverse(number: int) -> None:
    assert complement(complement(micro(number))) == micro(number)


def test_the_callers_decimal_context_changes_nothing() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        context.rounding = decimal.ROUND_DOWN
        assert str(Weight("1.234567")) == "1.234567"
        assert complement(Decimal("0.123456")) == Decimal("0.876544")
        assert round_places(Decimal("0.12345649")) == Decimal("0.123456")


def test_a_ramp_is_linear_and_exact() -> None:
    ramp = Weight("0.5", "1.5")
    assert [ramp.at(Fraction(k, 4)) for k in range(5)] == [
        Fraction(1, 2),
        Fraction(3, 4),
        Fraction(1),
        Fraction(5, 4),
        Fraction(3, 2),
    ]
    assert ramp.is_ramp
    assert not Weight(1, "1.0").is_ramp
    assert repr(ramp) == "Weight(0.5, 1.5)"
