"""Converting between dialects, by name: what holds for all of them."""

from __future__ import annotations

import contextlib
import warnings
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfprompt.errors import (
    ConversionError,
    DFPromptError,
    DFPromptWarning,
    InputError,
    ParseError,
    PromptValueError,
)
from dfprompt.prompt import DFPrompt, EffectRange, Span, parse_prompt
from dfprompt.prompt.dialects import (
    DIALECTS,
    Imported,
    a1111,
    convert_prompt,
    export_prompt,
    import_prompt,
    swarmui,
)
from dfprompt.prompt.exact import share
from dfprompt.prompt.parser import read_back
from dialect_steps import steps_of
from property_profiles import examples

_ALPHABET = st.sampled_from(
    [*"ab ,:;.()[]|\\<>\"'+-0159{}_é猫\n\t\ud800\u202e\x00", "BREAK", "AND", "SEQ", ":0.5]", "1.2)"]
)
_ANY = st.one_of(st.text(max_size=60), st.lists(_ALPHABET, max_size=40).map("".join))


def test_the_names_on_the_command_line() -> None:
    assert DIALECTS == ("native", "a1111", "comfyui", "swarmui", "compel", "pae")


@pytest.mark.parametrize(
    ("pae", "a1111", "comfyui"),
    [
        ("[x:0.5-1:1.5]", "[(x:1.5)::0.5]", "[(x:1.5)::0.5]"),
        ("[x:0-0.15:1]", "[x:0.85]", "[x:0.85]"),
        ("[x:0.3-0.7:1.25]", "[[(x:1.25):0.3]::0.7]", "[(x:1.25):0.3,0.7]"),
    ],
)
def test_the_same_idea_in_three_writings(pae: str, a1111: str, comfyui: str) -> None:
    assert convert_prompt(pae, "pae", "a1111").text == a1111
    assert convert_prompt(pae, "pae", "comfyui").text == comfyui
    assert convert_prompt(comfyui, "comfyui", "pae").text == pae
    assert convert_prompt(a1111, "a1111", "pae").text == pae


@settings(max_examples=examples(600))
@given(_ANY, st.sampled_from(DIALECTS), st.sampled_from([None, 1, 20]))
def test_any_text_is_a_result_or_one_of_our_errors(text: str, dialect: str, steps: int | None) -> None:
    read = _imported(text, dialect, steps)
    if read is None:
        return
    for target in DIALECTS:
        written = _exported(read.prompt, target, steps)
        assert isinstance(written, str)


def _imported(text: str, dialect: str, steps: int | None) -> Imported | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        try:
            return import_prompt(text, dialect, steps)
        except (ParseError, ConversionError) as error:
            str(error)
            return None


def _exported(prompt: DFPrompt, target: str, steps: int | None) -> str:
    """The text, or the reason for refusing words that would be keywords there."""
    try:
        return export_prompt(prompt, target, steps).text
    except ConversionError as error:
        if "has no words for this prompt" not in str(error):
            raise
        return str(error)


_PHRASE = st.sampled_from(["red cat", "snow", "film grain", "12:30 sign", "a (real) one", "[sic]"])
_SPAN = st.builds(
    lambda words, start, length, weight: (words, start, max(0, start - length), weight),
    _PHRASE,
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from(["0.5", "1", "1.25"]),
)


@given(
    st.lists(_SPAN, min_size=1, max_size=3),
    st.integers(1, 60),
    st.sampled_from(["a1111", "comfyui", "native"]),
)
def test_a_df_prompt_survives_the_journey_step_by_step(spans: list, steps: int, dialect: str) -> None:  # type: ignore[type-arg]
    pieces: list[str | Span] = ["a photo"]
    for words, start, end, weight in spans:
        pieces += [", ", Span(words, EffectRange(start / 20, end / 20), weight)]
    prompt = DFPrompt(pieces)
    written = export_prompt(prompt, dialect, steps)
    if written.lost:
        return
    read = import_prompt(written.text, dialect, steps)
    assert [[w for w, _ in s] for s in steps_of(read.prompt, steps)] == [
        [w for w, _ in s] for s in steps_of(prompt, steps)
    ]
    assert steps_of(read.prompt, steps) == steps_of(prompt, steps)


def test_bad_names_and_step_counts_say_what_to_do() -> None:
    with pytest.raises(InputError, match="did you mean a1111"):
        import_prompt("a", "a111")
    with pytest.raises(DFPromptError, match="steps"):
        import_prompt("a", "a1111", 0)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("[a:b:1e9999999999999999999]", "a1111"),
        ("[a:b:1e-9999999999999999999]", "a1111"),
        ("((x):1e9999999)", "comfyui"),
        ("((((x:1e999999))))", "comfyui"),
    ],
)
def test_numbers_beyond_all_decimals_are_one_error(text: str, dialect: str) -> None:
    with pytest.raises(DFPromptError):
        convert_prompt(text, source=dialect, target="native", num_inference_steps=10)


@pytest.mark.parametrize(("text", "dialect"), [("(x:1e99999999999999999999)", name) for name in DIALECTS])
def test_what_no_decimal_can_be_is_words_or_an_error(text: str, dialect: str) -> None:
    with contextlib.suppress(DFPromptError), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*looks like control", DFPromptWarning)
        assert "1e9" in convert_prompt(text, source=dialect, target="native", num_inference_steps=10).text


def test_numbers_beyond_all_decimals_are_one_error_in_json() -> None:
    spans = '[{"text": "x", "weight": 1e9999999999999999999}]'
    with pytest.raises(PromptValueError):
        DFPrompt.from_json(f'{{"dfprompt": 1, "spans": {spans}}}')


@pytest.mark.parametrize(
    ("text", "target", "steps", "named", "also"),
    [
        ("a+ b, [neon:early]", "compel", None, "the range early", 'around "a+bneon"'),
        ("(a), C++, [neon::0.5->1.5]", "compel", None, "becomes its middle", "otherwise"),
    ],
)
def test_a_loss_with_a_name_hides_no_other(
    text: str, target: str, steps: int | None, named: str, also: str
) -> None:
    first, second = export_prompt(read_back(text), target, steps).lost
    assert named in first
    assert also in second


@pytest.mark.parametrize(
    ("text", "target", "steps", "reason"),
    [
        ("<hypernet:x:1> ROCK AND ROLL, cat", "comfyui", None, "AND cannot be expressed"),
        ("<hypernet:x:1>, CAT dog", "comfyui", 20, "CAT cannot be expressed"),
        ("[a|b:early] CAT dog", "comfyui", 20, "CAT cannot be expressed"),
        (r"[a:0.7->0.3] <random\:a,b> c", "swarmui", None, "fills in <random"),
        ("[<lora:y:1>:late][ b :late:1.2]", "swarmui", 10, "a backslash before"),
    ],
)
def test_a_loss_with_a_name_lets_nothing_through_that_is_refused_without(
    text: str, target: str, steps: int | None, reason: str
) -> None:
    with pytest.raises(ConversionError, match="has no words for this prompt") as caught:
        export_prompt(read_back(text), target, steps)
    assert reason in str(caught.value)


# The text, and what each target loses of it: one sentence each, and no further one for the read-back.
_LOST_ONCE = [
    ("a cat ([snow::0]) at dawn", "a1111", 10, "acts at none"),
    ("a #hash [x:early] and <#lora\\:x:1>", "a1111", 10, '"#" hides'),
    ("a [cat:1->0.95], dog", "a1111", 20, "after one step"),
    ("[a::0.5->1.5] sky", "a1111", None, "becomes its middle"),
    ("[a|b:early] (c) [d:0.7->0.3:1.2]", "comfyui", 20, '"|" has no escape'),
    ("a [b:0.333->0] c", "comfyui", None, "two decimals"),
    ("x [a:0.7->0.3] y (z)", "swarmui", None, "in the middle of the run"),
    ("x [snow:late:1.25], (y)", "compel", None, "the range late"),
    (r"\[sic\], [neon:late]", "pae", None, "become parentheses"),
]


@pytest.mark.parametrize(("text", "target", "steps", "named"), _LOST_ONCE, ids=[row[0] for row in _LOST_ONCE])
def test_what_is_lost_has_one_name(text: str, target: str, steps: int | None, named: str) -> None:
    written = export_prompt(read_back(text), target, steps)
    assert len(written.lost) == 1
    assert named in written.lost[0]


@pytest.mark.parametrize(
    ("unit", "room"), [("[a|b] ", a1111), ("[a|[b|c]]", a1111), ("<alternate:a,b>", swarmui)]
)
def test_turns_are_made_once_for_a_text_and_charged_before(
    unit: str, room: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(room, "share", lambda *at: made.append(at) or share(*at))
    dialect = room.__name__.rpartition(".")[2]
    with pytest.raises(ConversionError, match="too many pieces"):
        import_prompt(unit * 3000, dialect, 1000)
    assert len(made) <= 2 * 1000


@pytest.mark.parametrize("dialect", ["a1111", "comfyui", "swarmui"])
def test_more_ramps_than_a_run_can_say_are_refused_before_they_are_planned(dialect: str) -> None:
    ramps = parse_prompt("[a::0->1] " * 7)
    with pytest.raises(ConversionError, match="ramps of this prompt"):
        export_prompt(ramps, dialect, 1000)
    if dialect != "swarmui":  # which has no words for a weight that begins or ends
        assert export_prompt(ramps, dialect, 20).text
