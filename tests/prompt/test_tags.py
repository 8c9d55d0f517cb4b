"""Network tags: one opaque token in the language, never words, never encoded, always reported."""

from __future__ import annotations

import warnings
from decimal import Decimal

import pytest
from hypothesis import given

from dfprompt.errors import ConversionError, DFPromptWarning
from dfprompt.prompt import DFPrompt, Span, make_plan, parse_prompt
from dfprompt.prompt.parser import read_back
from dfprompt.prompt.reading import holds_spans, read_prompt, report_tags
from dfprompt.prompt.tags import read_tag, split_tags
from prompt_strategies import prompts, texts


@pytest.mark.parametrize(
    ("text", "kind", "name", "weight"),
    [
        ("<lora:fur:0.8>", "lora", "fur", "0.8"),
        ("<lora:fur (v2):-.5>", "lora", "fur (v2)", "-.5"),
        ("<lyco:a b:1:0.5>", "lyco", "a b", "1"),
        ("<hypernet:x>", "hypernet", "x", "1"),
        ("<emb:bad-hands>", "emb", "bad-hands", "1"),
        ("<lora:x:te=0.5:unet=1>", "lora", "x", None),
        ("<lora:x:1e999999999>", "lora", "x", None),
    ],
)
def test_what_a_tag_says(text: str, kind: str, name: str, weight: str | None) -> None:
    tag = read_tag(text)
    assert tag is not None
    assert (tag.kind, tag.name, tag.text) == (kind, name, text)
    assert tag.weight == (None if weight is None else Decimal(weight))


@pytest.mark.parametrize(
    "text", ["", "<lora:>", "<lora>", "lora:x", "<lora:x> ", "<lora:x>>", "<3 :>", "<a b:c>"]
)
def test_what_is_no_tag(text: str) -> None:
    assert read_tag(text) is None


def test_colons_and_parentheses_of_a_tag_are_its_own() -> None:
    prompt = parse_prompt("a <lora:fur (v2):0.8>, [<lora:ink:1>:late:0.5], [<lora:x:1> big <lyco:y>:early]")
    assert [(span.text, str(span.effect_range)) for span in prompt.controls] == [
        ("<lora:fur (v2):0.8>", "full"),
        ("<lora:ink:1>", "late"),
        ("<lora:x:1>", "early"),
        (" big ", "early"),
        ("<lyco:y>", "early"),
    ]
    assert parse_prompt(str(prompt)) == prompt
    assert prompt.plain_text == "a ,  big "


def test_the_same_characters_can_be_words() -> None:
    words = DFPrompt.from_plain("draw <lora:fur:0.8>")
    assert not words.tags
    assert str(words) == r"draw <lora\:fur:0.8>"
    assert read_back(str(words)) == words
    with pytest.warns(DFPromptWarning, match="control that AUTOMATIC1111 would obey"):
        assert parse_prompt(str(words)) == words
    assert make_plan(words, 1).steps[0].text == "draw <lora:fur:0.8>"


@pytest.mark.parametrize("text", ["[a <lora:1->0]", "[a <b:early], c > d", "[a <b:1->0.5:1->2] >"])
def test_a_smaller_than_before_a_field_is_no_tag(text: str) -> None:
    assert [span.tag for span in parse_prompt(text).controls] == [None]


@given(prompts)
def test_no_step_and_no_plain_text_holds_a_tag(prompt: DFPrompt) -> None:
    assert all(tag.words == "" for tag in prompt.tags)
    expected = "".join(prompt.words)
    for step in make_plan(prompt, 3, absence="mask").steps:
        assert step.text == expected
    assert read_back(str(prompt)) == prompt
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*looks like", DFPromptWarning)  # any words, :0 among them
        assert parse_prompt(str(prompt)) == prompt


@given(texts())
def test_splitting_loses_nothing(text: str) -> None:
    pieces = split_tags(text)
    assert "".join(pieces) == text
    assert all(read_tag(tag) for tag in pieces[1::2])
    assert not any(split_tags(words)[1:] for words in pieces[::2])


def test_a_tag_is_reported_with_the_flag_and_strict_stops() -> None:
    with pytest.warns(DFPromptWarning, match=r"<lora:fur:0.8>.*left out.*--lora FILE:0.8"):
        read_prompt("a cat <lora:fur:0.8>")
    for dialect in ("native", "a1111"):
        with pytest.raises(ConversionError, match=r"<lora:fur:0\.8>"):
            read_prompt("a cat <lora:fur:0.8>", dialect=dialect, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report_tags(DFPrompt([Span("<lora:fur:0.8>")]), strict=True, loaded={"fur"})


def test_a_tag_alone_is_no_span_of_words() -> None:
    assert not holds_spans("a cat <lora:fur:0.8>")
    assert holds_spans("a cat [<lora:fur:0.8>:late]")


@pytest.mark.parametrize(
    ("tag", "advice"),
    [
        ("<random:red,blue>", "expand it first"),
        ("<wc:x>", "expand it first"),
        ("<segment:face>", "another part"),
    ],
)
def test_what_swarmui_does_by_itself_is_not_to_be_loaded(tag: str, advice: str) -> None:
    with pytest.warns(DFPromptWarning, match=advice):
        read_prompt(f"a {tag} car")
