"""`dfprompt convert` as users meet it: the text on stdout, remarks on stderr, one JSON line per line."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from dfprompt.cli.main import app
from dfprompt.errors import ConversionError


def test_the_command_prints_the_text_alone_and_remarks_apart() -> None:
    done = CliRunner().invoke(
        app, ["convert", "a horse, [(anime:1.5)::0.5]", "--from", "a1111", "--steps", "20"]
    )
    assert done.exit_code == 0
    assert done.stdout == "a horse, [anime:1->0.45:1.5]\n"
    done = CliRunner().invoke(app, ["convert", "a [neon::0.5->1.5]", "--from", "native", "--to", "compel"])
    assert done.stdout == "a neon\n"
    assert "lost: the ramp" in done.stderr


def test_json_lines_and_nodes() -> None:
    lines = "a [b:0.5]\n[a|b]\n"
    done = CliRunner().invoke(app, ["convert", "-", "--from", "a1111"], input=lines)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["dfprompt"] for row in rows] == [1, 1]
    assert rows[0]["text"] == "a [b:late]"
    assert rows[1]["error"]["kind"] == "ConversionError"
    assert done.exit_code == 2
    done = CliRunner().invoke(app, ["convert", "a [b:late]", "--from", "native", "--nodes", "--steps", "10"])
    assert [row["text"] for row in json.loads(done.stdout)["nodes"]] == ["a ", "a b"]


def test_strict_makes_a_loss_an_error() -> None:
    done = CliRunner().invoke(
        app, ["convert", "a [b:late]", "--from", "native", "--to", "compel", "--strict"]
    )
    assert isinstance(done.exception, ConversionError)


def test_plan_and_parse_read_dialects_too() -> None:
    done = CliRunner().invoke(app, ["plan", "a [b:c:0.5]", "--dialect", "a1111", "--steps", "20", "--json"])
    texts = [step["text"] for step in json.loads(done.stdout)["plan"]]
    assert texts == ["a b"] * 11 + ["a c"] * 9
