"""Twenty thousand hostile prompts: each is a result or a ParseError that can be printed anywhere."""

from __future__ import annotations

import io
import random

import pytest

from dfprompt.errors import ParseError
from dfprompt.excerpt import printable
from dfprompt.prompt import make_plan, parse_prompt
from property_profiles import examples

CASES = examples(24_000)
LONG = examples(100_000)

pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")

# Grammar, its near misses, other tools' control, and characters that break terminals and codecs.
TOKENS = (
    *"[ ] [ ] [ ] : : : : -> → ↦ - > , ; . | ( ) { } < > + ++ _ __ \\ \\[ \\] \\: \\\\".split(),
    *"0 1 0.5 .5 1. 1.5 10 11 -1 1e3 1e-3 nan inf 0.1234567 ٣ ½ 50% 0,5".split(),
    *"0.5->0 1->0.5 early late full".split(),
    *"cat (x:1.2) BREAK AND <lora:a:1> embedding:x {a|b} __x__ [x:early] [x::2] [x:late:0.5->1]".split(),
    *("\x00", "\x07", "\x1b[31m", "\r", "\n", "\t", "\x85", "\u2028", "\ufeff", "\u200d", "\u202e", "\u2066"),
    *(
        "\ud800",
        "\udfff",
        "\udc80",
        "\ud83d",
        "\U0010ffff",
        "\uffff",
        "猫",
        "é",
        "e\u0301",
        "😀",
        "\u05d0\u05d1",
        "ﷺ",
    ),
    " ",
    "  ",
)


def test_every_case_is_a_result_or_a_printable_parse_error() -> None:
    chance = random.Random(20_000)
    parsed = refused = 0
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    wide = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    for case in range(CASES):
        text = "".join(chance.choices(TOKENS, k=chance.randrange(1, 14)))
        try:
            prompt = parse_prompt(text, strict=case % 5 == 0)
        except ParseError as error:
            refused += 1
            wide.write(str(error))  # utf-8 refuses lone surrogates, ASCII everything beyond
            narrow.write(error.report(ascii_only=True))
            for line in str(error).splitlines():
                assert line.isprintable()
            for fix in error.fixes:
                fix.apply(text)
        else:
            parsed += 1
            assert parse_prompt(str(prompt)) == prompt
            plan = make_plan(prompt, 1 + case % 7)
            narrow.write(printable(plan.steps[0].text, ascii_only=True))
    # Both ways out are really taken.
    assert parsed > CASES // 20
    assert refused > CASES // 3


def test_long_prompts_of_every_kind_of_token() -> None:
    for token in TOKENS:
        for text in (token * (LONG // len(token)), "[" + token * (LONG // len(token)) + ":late]"):
            report = ""
            try:
                prompt = parse_prompt(text)
            except ParseError as error:
                report = str(error)
            else:
                assert parse_prompt(str(prompt)) == prompt
            assert all(len(line) < 1500 for line in report.splitlines())
