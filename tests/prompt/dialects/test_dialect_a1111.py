"""A1111's text against a naive evaluator that substitutes brackets from the inside out, step by step."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConversionError, ParseError
from dfprompt.prompt import DFPrompt, parse_prompt
from dfprompt.prompt.dialects import Imported, a1111, export_prompt, import_prompt
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.parser import read_back
from dialect_steps import Step, steps_of, words_of

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*")
_ATTENTION = re.compile(r"\(|\{|:([+-]?[.\d]+)\)|\)|\}|[^\\(){}:]+|:")


def naive_steps(text: str, steps: int) -> list[Step]:
    """What A1111 runs at each step; knows nothing of trees or intervals. For texts without escapes."""
    return [words_of(_attention(_text_at(text, step, steps))) for step in range(steps)]


def _text_at(text: str, step: int, steps: int) -> str:
    while found := _INNERMOST.search(text):
        *parts, last = _split(found[1])
        if parts and _NUMBER.fullmatch(last):
            value = float(last) * steps if "." in last else float(last)
            k = min(steps, int(value))
            # One entry of the schedule per distinct k >= 1; an entry lasts while step <= k.
            chosen = parts[0] if len(parts) == 2 and k >= 1 and step <= k else parts[-1]
            if k >= 1 and step <= k and len(parts) == 1:
                chosen = ""
        else:
            chosen = "{" + found[1] + "}"  # square brackets left over are emphasis 1 / 1.1
        text = text[: found.start()] + chosen + text[found.end() :]
    return text


def _split(text: str) -> list[str]:
    """At the colons outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _attention(text: str) -> list[tuple[str, float]]:
    pieces: list[list] = []  # type: ignore[type-arg]
    round_open: list[int] = []
    square_open: list[int] = []

    def multiply(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            piece[1] *= factor

    for match in _ATTENTION.finditer(text):
        token, number = match[0], match[1]
        if token == "(":
            round_open.append(len(pieces))
        elif token == "{":
            square_open.append(len(pieces))
        elif number is not None and round_open:
            multiply(round_open.pop(), float(number))
        elif token == ")" and round_open:
            multiply(round_open.pop(), 1.1)
        elif token == "}" and square_open:
            multiply(square_open.pop(), 1 / 1.1)
        else:
            pieces.append([token, 1.0])
    return [(text, weight) for text, weight in pieces]


_WORDS = st.lists(
    st.sampled_from(["cat", "red", "snow", "ünï", "猫", "neon glow", "x2"]), min_size=1, max_size=2
).map(" ".join)
_WHENS = st.one_of(
    st.integers(0, 62).map(str),
    st.integers(0, 100).map(lambda n: f"{n / 100:.2f}"),
    st.sampled_from(["0.333", ".5", "1.", "0.04", "1.0", "0.29", "0.125"]),
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    side = st.one_of(st.just(""), inner)
    return st.one_of(
        st.builds("({})".format, inner),
        st.builds("[{}]".format, inner),
        st.builds("({}:{})".format, inner, st.sampled_from(["0.5", "1.3", "1.25", ".8", "0"])),
        st.builds("[{}:{}:{}]".format, side, side, _WHENS),
        st.builds("[{}:{}]".format, inner, _WHENS),
        st.builds("{}, {}".format, inner, inner),
        st.builds("{} {}".format, inner, inner),
    )


A1111 = st.recursive(_WORDS, _nested, max_leaves=6)


def _imported(text: str, steps: int) -> Imported | None:
    """None where nested emphasis goes beyond 10, which no DF-Prompt can say."""
    try:
        return import_prompt(text, "a1111", steps)
    except ConversionError as error:
        if "a DF-Prompt's go from" not in str(error):
            raise
        return None


def _without_zero(table: list[Step]) -> list[Step]:
    """Weight 0 removes a word here; A1111 keeps its place: the one assumption left aside."""
    return [[(word, weight) for word, weight in step if weight] for step in table]


@given(A1111, st.integers(1, 60))
def test_the_importer_runs_what_a1111_runs(text: str, steps: int) -> None:
    read = _imported(text, steps)
    if read is None:
        return
    assert _close(steps_of(read.prompt, steps), _without_zero(naive_steps(text, steps)))


@given(A1111, st.integers(1, 60))
def test_export_of_import_runs_the_same_steps_where_nothing_was_lost(text: str, steps: int) -> None:
    read = _imported(text, steps)
    if read is None:
        return
    written = export_prompt(read.prompt, "a1111", steps)
    if read.lost or written.lost:
        return
    assert _close(_without_zero(naive_steps(written.text, steps)), _without_zero(naive_steps(text, steps)))


def _close(first: list[Step], second: list[Step]) -> bool:
    return len(first) == len(second) and all(
        [word for word, _ in a] == [word for word, _ in b]
        and all(abs(x - y) < 2e-5 for (_, x), (_, y) in zip(a, b, strict=True))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "steps", "first", "then", "switch"),
    [
        ("a [b:c:0.5] d", 20, "a b d", "a c d", 11),  # entries end at 10: 11 steps of b, 9 of c
        ("a [b:c:0.5] d", 25, "a b d", "a c d", 13),  # int(12.5) = 12
        ("[a:b:0.29]", 100, "a", "b", 29),  # 0.29 * 100 is 28.999... in floats: int gives 28
        ("[a:b:0.04]", 20, "b", "b", 0),  # int(0.8) = 0: switched before any step
        ("[a:b:1]", 10, "a", "b", 2),  # a step number: after step 1
        ("[a:b:1.0]", 10, "a", "a", 0),  # the whole run: never
        ("[a:b:99]", 10, "a", "a", 0),
        ("[a:b:-0.5]", 10, "b", "b", 0),
    ],
)
def test_the_vectors_of_the_tool_itself(text: str, steps: int, first: str, then: str, switch: int) -> None:
    table = steps_of(import_prompt(text, "a1111", steps).prompt, steps)
    plain = [" ".join(word for word, _ in step) for step in table]
    assert plain == [first] * switch + [then] * (steps - switch)


def test_emphasis_around_a_schedule_reaches_into_it() -> None:
    table = steps_of(import_prompt("(a [b:0.5]:1.2)", "a1111", 10).prompt, 10)
    assert table[5] == [("a", 1.2)]
    assert table[6] == [("a", 1.2), ("b", 1.2)]


def test_the_example_of_the_docs_in_one_direction_and_back() -> None:
    prompt = parse_prompt("a red horse, [anime style:early:1.5]")
    assert export_prompt(prompt, "a1111").text == "a red horse, [(anime style:1.5)::0.5]"
    assert export_prompt(prompt, "a1111", 20).text == "a red horse, [(anime style:1.5)::9]"
    assert str(import_prompt("a red horse, [(anime style:1.5)::9]", "a1111", 20).prompt) == str(prompt)


def test_the_same_text_means_something_else_here() -> None:
    """A DF-Prompt's bracket read as A1111: from "anime" to "0.5-1", at the 1.5-fold of the run: never."""
    read = import_prompt("[anime:0.5-1:1.5]", "a1111", 10)
    assert read.prompt.plain_text == "anime"


@pytest.mark.parametrize(("steps", "end"), [(2, "0.5"), (10, "0.9"), (31, "0.97")])
def test_a_switch_after_exactly_one_step_is_inexpressible_and_said(steps: int, end: str) -> None:
    prompt = parse_prompt(f"a, [b:1->{end}]")
    assert [len(step) for step in steps_of(prompt, steps)] == [2] + [1] * (steps - 1)
    written = export_prompt(prompt, "a1111", steps)
    assert any("after one step" in sentence for sentence in written.lost)


def test_without_steps_shares_pass_and_step_numbers_are_refused() -> None:
    assert str(import_prompt("[a:b:0.3]", "a1111").prompt) == "[a:1->0.7][b:0.7->0]"
    with pytest.raises(ConversionError, match=r'"12" counts steps.*--steps 20'):
        import_prompt("a cat, [snow:12]", "a1111")
    with pytest.raises(ConversionError, match=r"alternation.*--steps 20"):
        import_prompt("[a|b]", "a1111")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a AND b", "AND cannot be expressed"),
        ("(a:12)", "go from -10 to 10"),
        ("(a:1.2.3)", "not a number"),
        ("(a BREAK b:1.2)", "move it out of the brackets"),
        ("([x:y:0.5]):", "may take the schedule for words"),
    ],
)
def test_what_no_df_prompt_can_say_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        import_prompt(text, "a1111", 20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(unbalanced", [[("unbalanced", 1.1)]] * 4),
        ("a) b", [[("a)", 1.0), ("b", 1.0)]] * 4),
        ("(a:[1.2:1.5:2])", [[("a", 1.2)]] * 3 + [[("a", 1.5)]]),
        ("[a|b] c", [[(word, 1.0), ("c", 1.0)] for word in "aaba"]),
        ("red | blue, [rain:3]", [[("red", 1.0), ("|", 1.0), ("blue", 1.0), ("rain:3", 0.90909)]] * 4),
        ("a cat # not this\n, dog", [[("a", 1.0), ("cat", 1.0), ("dog", 1.0)]] * 4),
        ("smile, :3", [[("smile", 1.0)]] * 4),
        ("[<lora:x:1>ink:2]", [[], [], [], [("ink", 1.0)]]),
        ("a BREAK b", [[("a", 1.0), ("b", 1.0)]] * 4),
        ("(a:-1)", [[("a", -1.0)]] * 4),
    ],
)
def test_what_surrounds_the_schedules_is_read_as_the_tool_reads_it(text: str, expected: list[Step]) -> None:
    assert steps_of(import_prompt(text, "a1111", 4).prompt, 4) == [
        [(word, round(weight, 5)) for word, weight in step] for step in expected
    ]


def test_the_second_pass_reads_times_from_one_to_two() -> None:
    first = import_prompt("a [b:c:1.5]", "a1111", 4)
    assert first.prompt.plain_text == "a b"
    assert any("plan --pass 2" in sentence for sentence in first.assumed)
    second = a1111.read("a [b:c:1.5]", 4, Remarks(), second_pass=True)
    assert [[word for word, _ in step] for step in steps_of(second, 4)] == [["a", "b"]] * 3 + [["a", "c"]]


def test_keywords_ends_and_tags_among_the_words_are_written_so_that_they_stay_words() -> None:
    prompt = DFPrompt.from_plain("ROCK AND ROLL BREAK <lora:x:1> | 12:30")
    written = export_prompt(prompt, "a1111", 10)
    assert not written.lost
    assert written.text == r"ROCK AN\D ROLL BREA\K <lora\:x:1> \| 12:\30"
    assert import_prompt(written.text, "a1111", 10).prompt == prompt


def test_keywords_inside_words_and_in_lower_case_are_words() -> None:
    for text in ("BREAKFAST and a SANDWICH", "break and", "BRAND"):
        assert import_prompt(text, "a1111", 20).prompt.plain_text == text


def test_escapes_tags_and_colons_survive() -> None:
    read = import_prompt(r"a \(real\) cat \[x\], 12:30, <lora:ink:0.8>", "a1111", 20)
    assert read.prompt.plain_text == "a (real) cat [x], 12:30"
    assert [span.text for span in read.prompt.tags] == ["<lora:ink:0.8>"]
    written = export_prompt(parse_prompt(r"\[x\] (y), [12\:30 (z):late:1.2]"), "a1111", 20)
    assert import_prompt(written.text, "a1111", 20).prompt.plain_text == "[x] (y), 12:30 (z)"


def test_a_lone_de_emphasis_is_no_loss() -> None:
    read = import_prompt("[cat]", "a1111", 20)
    assert str(read.prompt) == "[cat::0.909091]"
    assert not read.lost


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "[" * 50_000, "(" * 30_000 + "a" + ")" * 30_000, "[a:" * 20_000, "<" * 50_000]
)
@pytest.mark.few(2)
def test_any_depth_is_an_answer(text: str) -> None:
    try:
        import_prompt(text, "a1111", 20)
    except (ParseError, ConversionError):
        pass


def test_two_numbers_in_a_bracket_are_a_word_and_a_step_and_that_is_said() -> None:
    done = import_prompt("[fur:10:15]", "a1111", 20)
    assert str(done.prompt) == "[fur:1->0.2][10:0.2->0]"
    assert any("[[fur:10]::15]" in remark for remark in done.assumed)
    assert not any("is a word" in remark for remark in import_prompt("[fur:silk:15]", "a1111", 20).assumed)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (r"x [neon:early]: a (cat)", r"x [neon::9]\: a \(cat\)"),
        ("[neon:early]: a cat", r"[neon::9]\: a cat"),
        ("[cat:early][dog:late]: oil, 12:30", r"[cat::9][dog:9]\: oil, 12:\30"),
        ("[neon:early]<lora:ink:1>:: a", r"[neon::9]<lora:ink:1>\:: a"),
        (r"[neon:early:1.2][\:b::1.2]: a", r"[(neon:1.2)::9](\:b:1.2)\: a"),
        ("[neon:early], a: cat", "[neon::9], a: cat"),
    ],
)
def test_a_colon_right_behind_a_schedule_is_written_as_a_word(text: str, written: str) -> None:
    """Forge's parser with lark 1.1.2 reads the schedules under six seeds of its hashes, as 1.3.1 does."""
    done = export_prompt(read_back(text), "a1111", 20)
    assert (done.text, done.lost) == (written, ())


@pytest.mark.parametrize("text", ["a [cat:dog:0.5]: a", "x [dog:0.5]: a (b)"])
def test_a_colon_that_decides_whether_a_schedule_is_one_is_said(text: str) -> None:
    """With lark 1.1.2 Forge reads schedules under some seeds of its hashes, words under others."""
    (sentence,) = import_prompt(text, "a1111", 20).assumed
    assert "may make A1111 take the schedule for words" in sentence


def test_other_colons_are_not_said() -> None:
    for text in ("a: [cat:dog:0.5], b: c", r"a [cat:dog:0.5]\: b", "([cat:dog:0.5]:1.2)"):
        assert import_prompt(text, "a1111", 20).assumed == ()
