"""compel's text, against compel itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfprompt.errors import ConversionError, ParseError
from dfprompt.prompt import DFPrompt, parse_prompt
from dfprompt.prompt.dialects import export_prompt, import_prompt
from dialect_steps import Step, steps_of, words_of
from property_profiles import examples

PromptParser = pytest.importorskip("compel.prompt_parser").PromptParser


def compel_words(text: str) -> Step:
    """What compel 2.5 reads: its fragments, as weighted words."""
    prompts = PromptParser().parse_conjunction(text).prompts
    return words_of([(f" {part.text} ", part.weight) for prompt in prompts for part in prompt.children])


_WORD = st.sampled_from(["cat", "red", "snow", "don't", "x-ray", "猫", "12"])
_SIGNED = st.builds("{}{}".format, _WORD, st.sampled_from(["+", "++", "-", "---"]))
_WORDS = st.lists(st.one_of(_WORD, _SIGNED), min_size=1, max_size=3).map(" ".join)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({}){}".format, inner, st.sampled_from(["1.2", "0.5", "+", "--", "1.25", ""])),
        st.builds("{} {}".format, inner, inner),
        st.builds("{}, {}".format, inner, inner),
    )


COMPEL = st.recursive(_WORDS, _nested, max_leaves=5)


@settings(max_examples=examples(40))  # compel's own parser takes tens of milliseconds a prompt
@given(COMPEL)
def test_the_importer_reads_what_compel_reads(text: str) -> None:
    assert _close(steps_of(import_prompt(text, "compel").prompt, 1)[0], compel_words(text))


@settings(max_examples=examples(40))  # compel's own parser takes tens of milliseconds a prompt
@given(COMPEL)
def test_export_of_import_is_the_same_for_compel_where_nothing_was_lost(text: str) -> None:
    read = import_prompt(text, "compel")
    written = export_prompt(read.prompt, "compel")
    if not written.lost:
        assert _close(compel_words(written.text), compel_words(text))


def _close(first: Step, second: Step) -> bool:
    return [word for word, _ in first] == [word for word, _ in second] and all(
        abs(x - y) < 2e-5 for (_, x), (_, y) in zip(first, second, strict=True)
    )


def test_a1111s_emphasis_is_text_here() -> None:
    assert import_prompt("(cat:1.2)", "compel").prompt.plain_text == "cat:1.2"
    assert import_prompt("(cat:1.2)", "compel").prompt.is_plain


def test_schedules_are_lost_and_said_and_weights_stay() -> None:
    written = export_prompt(parse_prompt("a cat (real), [snow:late:1.25]"), "compel")
    assert written.text == r"a cat \(real\), (snow)1.25"
    assert written.lost == ('the range late of "snow": compel has no schedules',)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('("a cat", "a dog").blend(1, .5)', r"\.blend\(\) blends several prompts"),
        ('("a", "b").and()', r"\.and\(\) draws several prompts"),
        ('"cat".swap("dog")', r"\.swap\(\) at character 5"),
        ('a ("cat").swap("dog")', r"\.swap\(\) at character 9"),
    ],
)
def test_methods_are_refused_for_what_they_do(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        import_prompt(text, "compel")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (cat", "a (cat"),
        ("cat)+ dog+", "cat)+ [dog::1.1]"),
        ("a(b)1.2", "a(b)1.2"),
        ('say "hi', 'say "hi'),
        ("(cat).attend(0.5)", "[cat::0.5]"),
        ("cat.attend(++)", "[cat::1.21]"),
        ("x++!", "[x::1.21]!"),
        ("wow!+ yes", "[wow!::1.1] yes"),
        ("withLora(ink, 0.5) cat", "<lora:ink:0.5> cat"),
    ],
)
def test_what_fits_no_form_is_read_word_by_word(text: str, expected: str) -> None:
    assert str(import_prompt(text, "compel").prompt) == expected


def test_words_that_end_in_signs_cannot_be_written() -> None:
    assert export_prompt(DFPrompt.from_plain("C++ code"), "compel").lost


@pytest.mark.parametrize(
    "text", ["(" * 50_000, '"' * 50_000, "a" + "+" * 50_000, "((a)+" * 10_000, "+-" * 30_000]
)
def test_any_depth_is_an_answer(text: str) -> None:
    try:
        import_prompt(text, "compel")
    except (ParseError, ConversionError):
        pass


def test_emphasis_of_other_tools_is_words_and_said() -> None:
    done = import_prompt("a (cat:1.2)", "compel")
    assert done.prompt.is_plain
    assert done.assumed == ('"(cat:1.2)" is words to compel; for a weight it wants (cat)1.2',)
