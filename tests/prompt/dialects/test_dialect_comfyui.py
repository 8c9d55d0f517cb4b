"""prompt-control's text and the core nodes, against a naive evaluator that works from the inside out."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConversionError
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.dialects import export_comfyui_nodes, export_prompt, import_prompt
from dialect_steps import Step, steps_of, words_of

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")


def naive_steps(text: str, steps: int) -> list[Step]:
    """What runs at each step of the uniform clock; for texts without escapes."""
    return [words_of(_emphasis(_text_at(text, step * 100, steps), 1.0)) for step in range(steps)]


def _text_at(text: str, hundredths: int, steps: int) -> str:
    """Substitute at share done = hundredths / (100 * steps), compared in whole numbers."""
    while found := _INNERMOST.search(text):
        *parts, last = _split(found[1])
        times = [round(100 * round(float(t), 2)) * steps for t in last.split(",")]
        if parts[0] == "SEQ":
            *parts, last = _split(found[1])
            pairs = [*parts[1:], last]
            chosen = ""
            for words, until in reversed(list(zip(pairs[::2], pairs[1::2], strict=True))):
                if hundredths < round(100 * round(float(until), 2)) * steps:
                    chosen = words
        elif len(times) == 2:
            before, during, after = parts if len(parts) == 3 else ("", parts[0], "")
            chosen = before if hundredths < times[0] else during if hundredths < times[1] else after
        else:
            before, after = parts if len(parts) == 2 else ("", parts[0])
            chosen = before if hundredths < times[0] else after
        text = text[: found.start()] + chosen + text[found.end() :]
    return text


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _emphasis(text: str, weight: float) -> list[tuple[str, float]]:
    """Parentheses by recursion: an explicit weight replaces, a bare pair multiplies by 1.1."""
    out: list[tuple[str, float]] = []
    depth, start = 0, 0
    for at, letter in enumerate(text):
        if letter == "(":
            if not depth:
                out.append((text[start:at], weight))
                start = at + 1
            depth += 1
        elif letter == ")":
            depth -= 1
            if not depth:
                inner = text[start:at]
                words, colon, number = inner.rpartition(":")
                explicit = bool(colon and words) and re.fullmatch(r"[.\d]+", number)
                out += _emphasis(words, float(number)) if explicit else _emphasis(inner, weight * 1.1)
                start = at + 1
    return [*out, (text[start:], weight)]


_WORDS = st.lists(
    st.sampled_from(["cat", "red", "snow", "ünï", "猫", "neon glow"]), min_size=1, max_size=2
).map(" ".join)
_TIME = st.one_of(
    st.integers(0, 100).map(lambda n: f"{n / 100:.2f}"), st.sampled_from(["0", "1", "0.333", ".5", "0.125"])
)
_TIMES = st.tuples(_TIME, _TIME).map(lambda pair: ",".join(sorted(pair, key=float)))


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    side = st.one_of(st.just(""), inner)
    return st.one_of(
        st.builds("({})".format, inner),
        st.builds("({}:{})".format, inner, st.sampled_from(["0.5", "1.3", "1.25", ".8"])),
        st.builds("[{}:{}]".format, inner, st.one_of(_TIME, _TIMES)),
        st.builds("[{}:{}:{}]".format, side, side, _TIME),
        st.builds("[{}:{}:{}:{}]".format, side, side, side, _TIMES),
        st.builds("[SEQ:{}:{}:{}:{}]".format, _WORDS, _TIME, _WORDS, _TIME),
        st.builds("{}, {}".format, inner, inner),
    )


COMFYUI = st.recursive(_WORDS, _nested, max_leaves=6)


@given(COMFYUI, st.integers(1, 60))
def test_the_importer_runs_what_prompt_control_runs(text: str, steps: int) -> None:
    read = import_prompt(text, "comfyui", steps)
    assert _close(steps_of(read.prompt, steps), naive_steps(text, steps))


@given(COMFYUI, st.integers(1, 60))
def test_export_of_import_runs_the_same_steps_where_nothing_was_lost(text: str, steps: int) -> None:
    read = import_prompt(text, "comfyui", steps)
    written = export_prompt(read.prompt, "comfyui", steps)
    if not written.lost and "\\" not in written.text:
        assert _close(naive_steps(written.text, steps), naive_steps(text, steps))


def _close(first: list[Step], second: list[Step]) -> bool:
    return len(first) == len(second) and all(
        [word for word, _ in a] == [word for word, _ in b]
        and all(abs(x - y) < 2e-5 for (_, x), (_, y) in zip(a, b, strict=True))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:0.1,0.4]", ["", "a", "a", "a", "", "", "", "", "", ""]),
        ("[a:b:c:0.1,0.4]", ["a", "b", "b", "b", "c", "c", "c", "c", "c", "c"]),
        ("[a|b:0.3]", ["a", "a", "a", "b", "b", "b", "a", "a", "a", "b"]),
        ("[a|b]", ["a", "b"] * 5),  # the period is .1 when none is given
        ("[a:b:0.5]", ["a"] * 5 + ["b"] * 5),
        ("[a:0.5]", [""] * 5 + ["a"] * 5),
        ("[a::0.5]", ["a"] * 5 + [""] * 5),
        ("[SEQ:a:0.2:b:0.6]", ["a"] * 2 + ["b"] * 4 + [""] * 4),
    ],
)
def test_the_vectors_of_the_tool_itself(text: str, expected: list[str]) -> None:
    table = steps_of(import_prompt(text, "comfyui").prompt, 10)
    assert [" ".join(word for word, _ in step) for step in table] == expected


def test_an_inner_explicit_weight_replaces_and_bare_brackets_multiply() -> None:
    assert str(import_prompt("((a:1.2) b)", "comfyui").prompt) == "[a::1.2][ b::1.1]"
    assert str(import_prompt("((a))", "comfyui").prompt) == "[a::1.21]"
    assert str(import_prompt("((a b):1.5)", "comfyui").prompt) == "[a b::1.65]"


def test_two_decimals_are_a_reported_loss_both_ways() -> None:
    read = import_prompt("[a:0.125]", "comfyui")
    assert str(read.prompt) == "[a:0.88->0]"  # 0.125 rounds to the even 0.12
    assert any("0.125 is rounded to 0.12" in sentence for sentence in read.assumed)
    written = export_prompt(parse_prompt("[a:0.333->0]"), "comfyui")
    assert written.text == "[a:0.67]"
    assert any("two decimals" in sentence for sentence in written.lost)


@pytest.mark.parametrize("steps", range(1, 61))
@pytest.mark.few(15)
def test_with_the_steps_named_every_switch_falls_on_its_step(steps: int) -> None:
    for border in range(1, steps):
        end = 1 - (border - 0.5) / steps  # between two steps: `a` runs at the first `border` ones
        prompt = parse_prompt(f"x, [a:1->{end:.6f}][b:{end:.6f}->0]")
        written = export_prompt(prompt, "comfyui", steps)
        assert not written.lost
        assert steps_of(import_prompt(written.text, "comfyui").prompt, steps) == steps_of(prompt, steps)


def test_ramps_become_one_stretch_per_step_when_the_steps_are_named() -> None:
    prompt = parse_prompt("a [neon:1->0:0.5->1.5]")
    written = export_prompt(prompt, "comfyui", 5)
    assert not written.lost
    assert steps_of(import_prompt(written.text, "comfyui").prompt, 5) == steps_of(prompt, 5)
    assert export_prompt(prompt, "comfyui").lost == (
        'the ramp 0.5->1.5 of "neon" becomes its middle; name the number of steps to keep it',
    )


def test_core_nodes_cover_the_run_without_gaps_or_overlap() -> None:
    prompt = parse_prompt("a (cat), [snow:early:1.5], [rain:0.7->0.3]")
    rows = export_comfyui_nodes(prompt, 10)
    assert [row[0] for row in rows] == [
        r"a \(cat\), (snow:1.5)",
        r"a \(cat\), (snow:1.5), rain",
        r"a \(cat\), rain",
        r"a \(cat\)",
    ]
    assert rows[0][1] == 0
    assert rows[-1][2] == 1
    for (_, _, end), (_, start, _) in itertools.pairwise(rows):
        assert 0 < start - end < 0.01
    # At every step exactly one node is on, and it is the plan's.
    table = steps_of(prompt, 10)
    for step in range(10):
        on = [text for text, start, end in rows if start <= step / 10 <= end]
        assert len(on) == 1
        assert words_of(_emphasis(on[0].replace("\\(", "").replace("\\)", ""), 1.0)) == [
            (word.strip("()"), weight) for word, weight in table[step]
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(a:inf)", "none that a picture"),
        ("[a|b:0.001]", "stops at the period"),
        ("[a:.]", "not a number"),
        ("a CAT b", "one conditioning of several"),
        ("STYLE(A1111) a", "is a function"),
        ("SEG(x) y", "is a function"),
        ("a cat:0", "leave out the whole prompt"),
        ("(a:30)", "go from -10 to 10"),
    ],
)
def test_what_no_df_prompt_can_say_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        import_prompt(text, "comfyui")


def test_a_keyword_in_quotation_marks_is_words() -> None:
    assert import_prompt('a sign "DOG AND CAT"', "comfyui").prompt.plain_text == 'a sign "DOG AND CAT"'


def test_brackets_without_a_schedule_are_words_and_embeddings_are_named() -> None:
    read = import_prompt("a [photo] of embedding:style1", "comfyui")
    assert read.prompt.plain_text == "a [photo] of embedding:style1"
    assert any("embedding:style1" in sentence for sentence in read.assumed)


def test_step_numbers_are_read_with_the_steps_named() -> None:
    assert str(import_prompt("[a:b:5]", "comfyui", 20).prompt) == "[a:1->0.75][b:0.75->0]"
    read = import_prompt("[a:b:5]", "comfyui")
    assert str(read.prompt) == "a"
    assert any("--steps 20" in sentence for sentence in read.assumed)


def test_a_network_tag_acts_while_its_schedule_says_so() -> None:
    text = "a cat [<lora:ink (v2):0.8>:0.5]"
    read = import_prompt(text, "comfyui")
    assert str(read.prompt) == "a cat [<lora:ink (v2):0.8>:late]"
    assert export_prompt(read.prompt, "comfyui").text == text


@pytest.mark.parametrize("text", ["((cat:1.2) BREAK dog", "((cat:1.2) # note"])
def test_spaces_around_a_chunk_hide_no_emphasis(text: str) -> None:
    """prompt-control strips each chunk before the core reads it: it ends in a bracket, and is emphasis."""
    bare = import_prompt("((cat:1.2)", "comfyui").prompt
    assert steps_of(import_prompt(text, "comfyui").prompt, 1)[0][:1] == steps_of(bare, 1)[0][:1]


@pytest.mark.parametrize("tag", ["<lora:x>", "<LORA:x:1>", "<lora:x:1:lbw=IN,1,1>", "<lora:x:1e-1>"])
def test_a_tag_that_prompt_control_does_not_know_is_words_and_said(tag: str) -> None:
    done = import_prompt(f"a {tag}", "comfyui")
    assert "is no tag that prompt-control knows" in done.assumed[0]
    assert done.prompt.plain_text == f"a {tag}"
