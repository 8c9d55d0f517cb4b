"""`dfprompt parse` and `dfprompt plan` as users meet them: real processes, streams and exit codes."""

from __future__ import annotations

import json
import random
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dfprompt.prompt import DFPrompt, make_plan, parse_prompt

PROMPT = "a red horse, [anime style:early:1.5], [film grain:late]"


def test_parse_prints_the_canonical_text_and_each_span(cli) -> None:
    ran = cli("parse", "a red horse, [anime style:1->0.50:1.5]")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "a red horse, [anime style:early:1.5]",
        "  anime style: early half (1->0.5), weight 1.5",
    ]


def test_parse_json_reads_back_as_the_prompt(cli) -> None:
    ran = cli("parse", PROMPT, "--json")
    assert json.loads(ran.stdout)["text"] == PROMPT
    assert DFPrompt.from_json(ran.stdout) == parse_prompt(PROMPT)


def test_plan_json_is_the_plans(cli) -> None:
    ran = cli("plan", PROMPT, "--steps", "7", "--json")
    assert json.loads(ran.stdout) == make_plan(parse_prompt(PROMPT), 7).to_json()
    assert ran.stderr == ""


def test_plan_draws_one_bar_per_span_and_says_the_steps(cli) -> None:
    ran = cli("plan", PROMPT, "--steps", "10")
    lines = [line.rstrip() for line in ran.stdout.splitlines()]
    (anime,) = [line for line in lines if line.startswith("anime style")]
    assert anime.endswith("early half: steps 1-5 of 10")
    assert "x1.5" in anime
    assert anime.count("·") == 20
    assert "6-10   0.5 -> 0.1  a red horse, film grain" in lines


def test_an_ascii_console_gets_ascii(cli) -> None:
    ran = cli("plan", "a häuschen, [猫:early:1.5]", "--steps", "4", encoding="ascii")
    assert ran.returncode == 0
    assert "\\u732b" in ran.stdout
    assert "########........" in ran.stdout
    assert cli("parse", "[猫:0.5]", encoding="ascii").stderr.isascii()


def test_the_timesteps_of_the_pipeline_that_every_command_draws_with(cli) -> None:
    ran = cli("plan", "a, [b:late]", "--pipeline", "mini", "--clock", "timestep", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [step["text"] for step in json.loads(ran.stdout)["plan"]] == ["a"] * 4 + ["a, b"] * 6


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp437"])
def test_errors_print_on_any_console(cli, encoding: str) -> None:
    ran = cli("parse", "猫, [é\x1b[31m:0-0.5]", encoding=encoding)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "\x1b" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_error_is_a_caret_message_on_stderr(cli) -> None:
    ran = cli("plan", "a cat, [snow:late", "--json")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[:3] == [
        "error: this bracket is never closed, at character 7",
        "  a cat, [snow:late",
        "         ^",
    ]


def test_lookalikes_warn_on_stderr_and_strict_refuses(cli) -> None:
    ran = cli("parse", "a (red:1.2) horse")
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "a (red:1.2) horse")
    assert ran.stderr.startswith('warning: "(red:1.2)" looks like emphasis (at character 2)')
    strict = cli("parse", "a (red:1.2) horse", "--strict")
    assert strict.returncode == 2
    assert "[red::1.2]" in strict.stderr


def test_plain_takes_brackets_as_words(cli) -> None:
    ran = cli("parse", "a [sic] (x:1.2)", "--plain")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[0] == r"a \[sic\] (x:1.2)"
    assert cli("parse", "a", "--plain", "--dialect", "a1111").returncode == 2


def test_spans_that_never_act_are_reported(cli) -> None:
    ran = cli("plan", "a, [x:0.01->0]", "--steps", "10", "--json")
    assert json.loads(ran.stdout)["never_active"] == ["[x:0.01->0]"]
    assert (
        ran.stderr == "warning: [x:0.01->0] acts at none of the 10 steps; widen its range or use more steps\n"
    )


def test_the_timestep_clock_takes_a_list(cli) -> None:
    ran = cli("plan", "a, [b:early]", "--clock", "timestep", "--timesteps", "1000,857.7,602,8.9", "--json")
    steps = json.loads(ran.stdout)
    assert (steps["clock"], steps["steps"]) == ("timestep", 4)
    assert [step["text"] for step in steps["plan"]] == ["a, b", "a, b", "a, b", "a"]


def test_strength_runs_the_tail(cli) -> None:
    ran = cli("plan", "a, [b:late]", "--steps", "10", "--strength", "0.5", "--json")
    assert [step["step"] for step in json.loads(ran.stdout)["plan"]] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--steps", "-1"], "--steps must be at least 1, got -1"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--steps", "0", "--timesteps", "999,3"], "--steps must be at least 1, got 0"),
        (["--pipeline", "nofolder"], "neither a folder, nor a file, nor a hub id"),
        (["--pipeline", "hub:a/b"], "not in the local cache"),
        (["--steps", "x"], "valid integer"),
        (["--clock", "sigma"], "steps, timestep"),
        (["--clock", "timestep"], "needs the scheduler's timesteps"),
        (["--timesteps", "1,x"], "takes numbers with commas"),
        (["--timesteps", "1", "--pipeline", "x"], "leave one out"),
        (["--strength", "0"], "above 0"),
        (["--strength", "nan"], "finite number"),
        (["--dialect", "klingon"], "klingon"),
    ],
)
def test_bad_options_exit_with_2_and_say_why(cli, arguments: list[str], problem: str) -> None:
    ran = cli("plan", "a cat", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr


def test_dash_answers_every_line_errors_included(cli) -> None:
    lines = ["a cat, [snow:late]", "[oops", "", r"\[ok\]"]
    ran = cli("plan", "-", "--steps", "2", stdin="\r\n".join(lines).encode())
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 2
    assert all(answer["dfprompt"] == 1 for answer in answers)
    assert [step["text"] for step in answers[0]["plan"]] == ["a cat", "a cat, snow"]
    assert answers[1]["error"]["kind"] == "ParseError"
    assert answers[1]["error"]["offset"] == 0
    assert answers[2] == {"dfprompt": 1, "blank": True}
    assert answers[3]["plan"][0]["text"] == "[ok]"
    assert cli("parse", "-", stdin=b"").stdout == ""
    assert cli("parse", "-", stdin=b"a cat").returncode == 0


def test_dash_names_the_line_of_a_warning(cli) -> None:
    ran = cli("parse", "-", stdin=b"a cat\n(a:1.2)\n")
    assert ran.stderr.startswith('warning: line 2: "(a:1.2)" looks like emphasis')
    assert (len(ran.stdout.splitlines()), ran.returncode) == (2, 0)


def test_dash_says_the_same_warning_once_and_counts_the_lines(cli) -> None:
    ran = cli("parse", "-", stdin=b"(a:1.2)\na cat\n(b:1.2)\n(a:1.2)\n(a:1.2)\n")
    first, second, summary = ran.stderr.splitlines()
    assert first.startswith('warning: line 1: "(a:1.2)" looks like emphasis')
    assert second.startswith('warning: line 3: "(b:1.2)" looks like emphasis')
    assert summary.startswith('warning: 2 more lines: "(a:1.2)" looks like emphasis')


def test_blank_lines_are_answered_and_no_error(cli) -> None:
    ran = cli("parse", "-", stdin=b"\na cat\n  \n")
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert [answer.get("blank", False) for answer in answers] == [True, False, True]


def test_the_second_pass_reads_what_the_first_leaves_to_it(cli) -> None:
    first = cli("plan", "a [cat:dog:1.5]", "--dialect", "a1111", "--steps", "4", "--json")
    second = cli("plan", "a [cat:dog:1.5]", "--dialect", "a1111", "--steps", "4", "--pass", "2", "--json")
    assert [step["text"] for step in json.loads(first.stdout)["plan"]] == ["a cat"] * 4
    assert "--pass 2" in first.stderr
    assert [step["text"] for step in json.loads(second.stdout)["plan"]] == ["a cat"] * 3 + ["a dog"]
    refused = cli("plan", "a cat", "--pass", "2")
    assert (refused.returncode, "add --dialect a1111" in refused.stderr) == (2, True)


def test_convert_says_what_it_took_the_text_for(cli) -> None:
    ran = cli("convert", "a cat, [(snow:1.3)::0.5]")
    assert ran.stdout == "a cat, [snow:early:1.3]\n"
    assert "assumed: the text is written for the dialect a1111; --from says otherwise" in ran.stderr
    named = cli("convert", "a cat, [(snow:1.3)::0.5]", "--from", "a1111")
    assert "--from says otherwise" not in named.stderr


@pytest.mark.parametrize("command", ["parse", "plan"])
def test_two_colons_are_named_once_where_most_tools_mean_until(cli, command: str) -> None:
    ran = cli(command, "a [hat::0.5], [coat::0.7]")
    notes = [line for line in ran.stderr.splitlines() if line.startswith("note:")]
    assert notes == ["note: [hat::0.5] is the weight 0.5; for words until 0.5 of the run write [hat:early]"]
    assert "note:" not in cli(command, "a [hat::1.5]").stderr


def test_alternation_is_planned_at_the_steps_of_the_run(cli) -> None:
    ran = cli("plan", "a [cat|dog|]", "--steps", "4", "--json")
    assert [step["text"] for step in json.loads(ran.stdout)["plan"]] == ["a cat", "a dog", "a ", "a cat"]
    refused = cli("parse", "a [cat|dog]")
    assert (refused.returncode, "--steps 20" in refused.stderr) == (2, True)


def test_convert_for_a_scheduler_of_comfyuis(cli) -> None:
    ran = cli("convert", "a, [x:late]", "--to", "comfyui", "--steps", "20", "--scheduler", "karras")
    assert ran.stdout == "a, [x:0.57]\n"
    assert "percents" not in ran.stderr
    for wrong, problem in (
        (("--to", "comfyui", "--steps", "20", "--scheduler", "karas"), "did you mean karras?"),
        (("--to", "comfyui", "--scheduler", "karras"), "--steps 20"),
        (("--to", "a1111", "--scheduler", "karras", "--steps", "20"), "comfyui"),
        (("--to", "comfyui", "--clock", "sigma"), "steps, timestep"),
    ):
        refused = cli("convert", "a, [x:late]", "--from", "native", *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert problem in refused.stderr


def test_dash_survives_hostile_lines(cli) -> None:
    """Any bytes: one JSON answer per line, in order, and no traceback."""
    chance = random.Random(7)
    alphabet = [bytes([byte]) for byte in range(256) if byte != 10] + [
        b"[",
        b"]",
        b":",
        b"->",
        b"\\",
        b"late",
    ] * 30
    lines = [b"".join(chance.choices(alphabet, k=chance.randrange(20))) for _ in range(2000)]
    ran = cli("plan", "-", "--steps", "3", stdin=b"\n".join(lines) + b"\n", encoding="ascii")
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(answers) == len(lines)
    assert all(len({"error", "plan", "blank"} & answer.keys()) == 1 for answer in answers)
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are text there")
def test_arguments_that_are_not_utf8(cli) -> None:
    ran = cli("parse", "caf\udce9, [x:late]")
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[0] == "caf\\udce9, [x:late]"


def test_svg_is_a_picture_and_never_overwrites(cli, tmp_path: Path) -> None:
    target = tmp_path / "plan.svg"
    arguments = ("plan", "a <cat> & \x07, [x:1->0:0.5->1.5], [y:0.01->0]", "--svg", str(target))
    assert cli(*arguments).returncode == 0
    picture = ElementTree.parse(target).getroot()
    names = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert names.count("polygon") == 1  # the ramp; the span that never acts has no band
    refused = cli(*arguments)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert cli(*arguments, "--force").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["plan.svg"]
    assert cli("plan", "a", "--svg", str(target / "plan.svg")).returncode == 2  # below a file
    assert cli("plan", "-", "--svg", str(target)).returncode == 2


@pytest.mark.parametrize(
    ("weight", "said"), [("8", True), ("2", True), ("1.5", False), ("1", False), ("-3", False)]
)
def test_a_whole_number_behind_two_colons_is_named_as_a_step(cli, weight: str, said: bool) -> None:
    ran = cli("plan", f"[hat::{weight}], a")
    assert (f"until step {weight}" in ran.stderr) == said
