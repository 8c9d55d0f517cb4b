"""`dfprompt compare`: plain and optimised side by side, with scores and a report."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.cli.render_flags import RenderFlags, with_flags
from dfprompt.cli.score import REWARD_HELP
from dfprompt.errors import DFPromptError, InputError
from dfprompt.excerpt import quote

if TYPE_CHECKING:
    from dfprompt.api.comparison import ComparisonRun, Written

_MOST_SEEDS = 1000


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("compare")(compare)


@with_flags
def compare(
    text: list[str] = typer.Argument(
        None, metavar="[TEXT...]", help="Plain words; - reads one prompt per line and answers in JSON lines."
    ),
    flags: RenderFlags = None,  # type: ignore[assignment]
    written: list[str] = typer.Option(
        [], "--with", metavar="DFPROMPT", help="A DF-Prompt of your own, drawn beside plain; repeatable."
    ),
    with_file: Path | None = typer.Option(
        None,
        "--with-file",
        metavar="FILE",
        help='DF-Prompts, one per line; in a .jsonl file {"prompt": plain, "df_prompt": ...}.',
    ),
    policy: str | None = typer.Option(
        None, "--policy", metavar="P", help="mini (the default with the mini pipeline), or a folder."
    ),
    seed: int = typer.Option(0, "--seed", metavar="S", help="The first seed."),
    seeds: int = typer.Option(4, "--seeds", metavar="K", help="Pictures per prompt: seeds S to S+K-1."),
    candidates: int = typer.Option(1, "--candidates", metavar="C", help="Rewrites of each prompt."),
    df: bool = typer.Option(False, "--df", help="Keep spans already written in TEXT."),
    reward: list[str] = typer.Option([], "--reward", metavar="R", help=REWARD_HELP + " none: no scores."),
    judge: list[str] = typer.Option(
        [], "--judge", metavar="J", help="A score that is only watched, named like a reward; repeatable."
    ),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting of the reward; repeatable."
    ),
    allow_code: bool = typer.Option(False, "--allow-code", help="Let a recipe import Python code."),
    dialect: str = typer.Option(
        "native", "--dialect", help="How --with is written: native, a1111, comfyui, compel, pae."
    ),
    plain: bool = typer.Option(False, "--plain", help="Take every character of --with as words."),
    strict: bool = typer.Option(False, "--strict", help="Make warnings about other tools' control errors."),
    output: Path | None = typer.Option(
        None, "--output", metavar="DIR", help="Where to write; default: dfprompt-out/<date>-<words>."
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with the comparison in --output: what is drawn is not drawn again."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite files that exist."),
    no_metadata: bool = typer.Option(False, "--no-metadata", help="Write no recipe into the pictures."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Draw plain words and rewrites of them from the same seeds; prints scores, grid and report.

    \b
    Examples:
      dfprompt compare "a red house in the snow"
      dfprompt compare "a red cat on a hill" "a blue boat at night" --seeds 8 --candidates 2 --output out
      dfprompt compare --with "a red house in the snow, [film grain:late:1.25]" --pipeline models/sd15
    """
    if not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds counts pictures per prompt, 1 to {_MOST_SEEDS}, not {seeds}")
    settings = flags.settings()
    read = _reader(dialect, plain=plain, strict=strict, steps=settings.num_inference_steps)
    own = [*(read(each, None) for each in written), *_read_file(with_file, read)]
    options: dict[str, Any] = {
        "written": own,
        "policy": policy,
        "seeds": range(seed, seed + seeds),
        "candidates": candidates,
        "df": df,
        "rewards": reward,
        "judges": judge,
        "assignments": changes,
        "settings": settings,
        "negative_prompt": flags.negative,
        "metadata": not no_metadata,
        "force": force,
        "resume": resume,
        "device": flags.device,
        "dtype": flags.dtype,
        "allow_code": allow_code,
        "progress": True,
    }
    texts = text or []
    if texts == ["-"]:
        _answer_lines(flags, output, options)
        return
    run = _run(flags, texts, output, options)
    _say_what_is_missing(flags, policy, texts)
    if as_json:
        console.write_json(run.to_json())
    else:
        _print(run)


def _run(
    flags: RenderFlags, texts: Sequence[str], output: Path | None, options: dict[str, Any]
) -> ComparisonRun:
    from dfprompt.api.comparison import check_comparison, compare_prompts

    check_comparison(texts, options["written"], flags.pipeline, options["policy"])
    return compare_prompts(texts, output, pipeline=flags.load(), **options)


def _reader(
    dialect: str, *, plain: bool, strict: bool, steps: int | None
) -> Callable[[str, str | None], Written]:
    def read(text: str, beside: str | None) -> Written:
        from dfprompt.api.comparison import Written
        from dfprompt.prompt.reading import read_prompt

        prompt = read_prompt(text, dialect=dialect, plain=plain, strict=strict, num_inference_steps=steps)
        return Written(prompt, beside)

    return read


def _read_file(source: Path | None, read: Callable[[str, str | None], Written]) -> list[Written]:
    if source is None:
        return []
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {source}: {error}") from error
    found, problems = [], []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                found.append(read(*_parts(line, json_lines=source.suffix == ".jsonl")))
        except DFPromptError as error:
            problems.append(f"{source}, line {number}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    if not found:
        raise InputError(f"{source}: no prompts")
    return found


def _parts(line: str, *, json_lines: bool) -> tuple[str, str | None]:
    if not json_lines:
        return line.strip(), None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {quote(line)}") from error
    if not isinstance(row, dict) or not isinstance(row.get("df_prompt"), str):
        raise InputError(f'expected {{"prompt": "...", "df_prompt": "..."}}, got {quote(line)}')
    plain = row.get("prompt")
    if plain is not None and not (isinstance(plain, str) and plain.strip()):
        raise InputError('"prompt" must be the plain words')
    return row["df_prompt"], plain


def _answer_lines(flags: RenderFlags, output: Path | None, options: dict[str, Any]) -> None:
    """Compare each line of stdin by itself into one folder, answering with one line of JSON."""
    from dfprompt.api.comparison import compare_prompts
    from dfprompt.api.gallery import choose_folder

    pipeline, folder = flags.load(), choose_folder(output, "stdin")
    numbers = itertools.count(1)
    console.for_each_line(
        lambda line: compare_prompts(
            [line], folder, pipeline=pipeline, number=next(numbers), **options
        ).to_json()
    )


def _say_what_is_missing(flags: RenderFlags, policy: str | None, texts: Sequence[str]) -> None:
    from dfprompt.api.comparison import HOW_TO_GET_A_POLICY, is_mini

    if policy is None and not is_mini(flags.pipeline):
        console.note(f"only what --with says was drawn beside plain: {HOW_TO_GET_A_POLICY}")


def _print(run: ComparisonRun) -> None:
    from rich.table import Table

    answer = run.to_json()
    for prompt in answer["prompts"]:
        console.write(prompt["prompt"])
        for rewrite in prompt["rewrites"][1:]:
            console.write(f"  {rewrite['label']}: {rewrite['df_prompt']}")
    if answer["scores"]:
        shown = Table(box=None)
        shown.add_column("score")
        shown.add_column("prompt")
        for head in ("mean", "plain", "to plain", "95 % interval", "won", "tied", "lost"):
            shown.add_column(head, justify="right")
        several = len(answer["prompts"]) > 1
        for each in answer["overall"] if several else answer["prompts"][0]["standings"]:
            shown.add_row(*_cells(each))
        console.rich_console().print(shown)
    console.write(f"grid: {run.grid}")
    console.write(f"report: {run.report}")


def _cells(each: Mapping[str, Any]) -> list[str]:
    from dfprompt.table import format_number

    mean = "-" if each["mean"] is None else format_number(each["mean"])
    found = each["to_plain"]
    if found is None:
        return [each["score"], each["label"], mean, *[""] * 6]
    interval = "too few"
    if found["interval"] is not None:
        interval = " to ".join(format_number(end, sign=True) for end in found["interval"])
    difference = format_number(found["difference"], sign=True)
    counts = [str(found[name]) for name in ("won", "tied", "lost")]
    plain = format_number(found["baseline_mean"])
    return [each["score"], each["label"], mean, plain, difference, interval, *counts]
