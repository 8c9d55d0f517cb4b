"""Corrections mean what a known tool meant, asked of every text of the vectors; dialects are guessed."""

from __future__ import annotations

import re

import pytest

from dfprompt.errors import DFPromptError, ParseError
from dfprompt.prompt import DFPrompt, parse_prompt
from dfprompt.prompt.dialects import convert_prompt, import_prompt
from dfprompt.prompt.foreign import guess_dialect
from vector_files import DIALECTS, load, steps_of

pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")
_EMPHASIS = re.compile(r"\([^()]*:\s*[+-]?[.0-9]+\s*\)")


def read_by(dialect: str, text: str) -> DFPrompt | None:
    try:
        return import_prompt(text, dialect).prompt
    except DFPromptError:
        return None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_correction_of_a_known_tools_text_means_what_a_tool_meant(dialect: str) -> None:
    asked = 0
    for vector in load(dialect)[1]:
        try:
            parse_prompt(vector["text"])
        except ParseError as error:
            for fix in error.fixes:
                if ": dialect " not in fix.note:
                    continue
                asked += 1
                mended = parse_prompt(fix.apply(vector["text"]))
                meant = [read_by(name, vector["text"]) for name in ("a1111", "comfyui", "swarmui")]
                assert any(each is not None and steps_of(mended, 20) == steps_of(each, 20) for each in meant)
    assert asked or dialect == "compel"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_correction_leaves_emphasis_inside_words(dialect: str) -> None:
    for vector in load(dialect)[1]:
        try:
            parse_prompt(vector["text"])
        except ParseError as error:
            for fix in error.fixes:
                # What a tool itself takes for words in unmatched brackets stays words.
                if ": dialect " not in fix.note:
                    assert not _EMPHASIS.search(fix.replacement.replace("\\:", ":")), vector["text"]


@pytest.mark.parametrize(
    ("text", "correction"),
    [
        ("[(snow:1.3)::0.5]", "[snow:early:1.3]"),
        ("[(a cat:1.5):0.5]", "[a cat:late:1.5]"),
        ("[couple:0.3]", "[couple:0.7->0]"),
        ("a [word] b", "a [word::0.909091] b"),
        ("[[x:0.3]::0.7]", "[x:0.7->0.3]"),
        ("[cat:dog:0.3,0.6]", "[cat:0.7->0.4][dog:0.4->0]"),
        ("<fromto[0.5]:cat, dog>", "[cat:early][dog:late]"),
    ],
)
def test_what_a_known_tool_reads_whole_is_the_only_correction(text: str, correction: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_prompt(text)
    assert [fix.apply(text) for fix in caught.value.fixes] == [correction]


def test_what_counts_steps_is_said_to_need_them() -> None:
    with pytest.raises(ParseError, match=r"AUTOMATIC1111 reads this with the steps named.*--steps 20"):
        parse_prompt("[(white background:1.5)::5]")


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("a cat", "native"),
        ("a cat, [snow:late:1.2]", "native"),
        ("a cat, [snow:0.5]", "a1111"),
        ("(a cat:1.2), [x:8]", "a1111"),
        ("[a:b:0.2,0.6]", "comfyui"),
        ("<fromto[3]:a, b>", "swarmui"),
        ("a cat++, (dog)1.2", "compel"),
        ("[x:0.5-1:1.5]", "pae"),
    ],
)
def test_the_dialect_of_a_text_is_guessed_by_what_reads_all_of_it(text: str, dialect: str) -> None:
    assert guess_dialect(text) == dialect


def test_a_thousand_prompts_with_tags_keep_them_byte_for_byte_and_encode_none() -> None:
    import random

    chance = random.Random(1_000)
    names = ("ink", "brush (v2)", "film_[70s]", "soft-light", "a b", "猫", "x|y", "a.b", "(all)")
    kinds = ("lora", "lora", "lyco", "hypernet", "lora")
    shapes = (
        "{w}, {t}",
        "({w}, {t}:1.2), {w}",
        "[{t}{w}:0.5]",
        "[{w}:{t}:0.4], {w}",
        "{t}{t} {w}",
        "(({t} {w}))",
    )
    words = ("a red fox", "film grain", "best quality", "portrait of a sailor", "snow")
    for _ in range(1_000):
        text = chance.choice(shapes)
        while "{t}" in text or "{w}" in text:
            strength = chance.choice(("0.8", "1", "-0.5", "0.7:1", "te=0.5:unet=1"))
            text = text.replace("{t}", f"<{chance.choice(kinds)}:{chance.choice(names)}:{strength}>", 1)
            text = text.replace("{w}", chance.choice(words), 1)
        native = convert_prompt(text, "a1111", "native", 20)
        again = convert_prompt(native.text, "native", "a1111", 20)
        tag = re.compile(r"<\w+:[^>]+>")
        assert tag.findall(again.text) == tag.findall(text)
        for step in steps_of(native.prompt, 20):
            assert not set("<>:") & {letter for letter, _ in step}
