"""`dfprompt parse` and `dfprompt plan`: what a DF-Prompt says, and what it does at each step."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.errors import DFPromptWarning, InputError
from dfprompt.excerpt import printable

if TYPE_CHECKING:
    from dfprompt.prompt import DFPrompt, Plan

DEFAULT_STEPS = 10
_STEPS_HELP = "Denoising steps; by default 10, or one per timestep given."
_DIALECT_HELP = "How TEXT is written: native, a1111, comfyui, swarmui, compel, pae."

_TEXT = typer.Argument(
    ..., metavar="TEXT", help="The prompt; - reads one per line and answers in JSON lines."
)
_DIALECT = typer.Option(
    "native", "--dialect", help="How TEXT is written: native, a1111, comfyui, swarmui, compel, pae."
)
_PLAIN = typer.Option(False, "--plain", help="Take every character as words; nothing is control.")
_STRICT = typer.Option(False, "--strict", help="Make warnings about other tools' control errors.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def register(app: typer.Typer) -> None:
    """Put the commands on the app."""
    app.command("parse")(parse)
    app.command("plan")(plan)


def parse(
    text: str = _TEXT,
    dialect: str = _DIALECT,
    plain: bool = _PLAIN,
    strict: bool = _STRICT,
    as_json: bool = _JSON,
) -> None:
    """Read a DF-Prompt and say what each span does.

    \b
    Examples:
      dfprompt parse "a red horse, [anime style:early:1.5]"
      dfprompt parse "a red horse, [snow:0.5]" --dialect a1111
      dfprompt parse "(a red horse:1.2)" --strict
    """

    def read(line: str) -> DFPrompt:
        from dfprompt.prompt.reading import read_prompt

        prompt = read_prompt(line, dialect=dialect, plain=plain, strict=strict)
        _name_two_colons(prompt, dialect)
        return prompt

    if text == "-":
        console.for_each_line(lambda line: _parsed(read(line)))
    elif as_json:
        console.write_json(_parsed(read(text)))
    else:
        _print_spans(read(text))


def plan(
    text: str = _TEXT,
    steps: int = typer.Option(0, "--steps", metavar="N", show_default=False, help=_STEPS_HELP),
    dialect: str = _DIALECT,
    plain: bool = _PLAIN,
    strict: bool = _STRICT,
    clock: str = typer.Option(
        "steps", "--clock", metavar="CLOCK", help="What time left counts: steps or timestep."
    ),
    timesteps: str = typer.Option("", "--timesteps", metavar="T,...", help="The scheduler's timesteps."),
    pipeline: str = typer.Option("", "--pipeline", metavar="X", help="Read the timesteps off this pipeline."),
    second: int = typer.Option(
        1, "--pass", metavar="N", min=1, max=2, help="Dialect a1111: 2 for the second (hires) pass."
    ),
    strength: float = typer.Option(
        1.0, "--strength", metavar="S", help="Image-to-image: the share that runs."
    ),
    svg: Path | None = typer.Option(
        None, "--svg", metavar="FILE", help="Also draw the plan into an SVG file."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite the SVG file if it exists."),
    as_json: bool = _JSON,
) -> None:
    """Show which text runs with which weights at each step.

    \b
    Examples:
      dfprompt plan "a red horse, [anime style:early:1.5]" --steps 10
      dfprompt plan "a red horse, [neon:1->0:0.5->1.5]" --steps 20 --json
      dfprompt plan "a red horse, [film grain:late]" --steps 20 --strength 0.5
      dfprompt plan "a red horse, [snow:late]" --clock timestep --timesteps 999,749,499,249
    """

    def make(line: str) -> Plan:
        run = _run(steps, clock, timesteps, pipeline, strength)
        if second == 2 and dialect != "a1111":
            raise InputError("--pass 2 is the second pass of the dialect a1111; add --dialect a1111")
        return _make_plan(line, run, dialect=dialect, plain=plain, strict=strict, second_pass=second == 2)

    if text == "-":
        if svg is not None:
            raise InputError("--svg draws one prompt, and - reads many; give the prompt itself")
        console.for_each_line(lambda line: make(line).to_json())
        return
    made = make(text)
    if svg is not None:
        from dfprompt.prompt.picture import draw_plan

        console.write_file(svg, draw_plan(made), force=force)
    if as_json:
        console.write_json(made.to_json())
    else:
        _print_plan(made)


def _parsed(prompt: DFPrompt) -> Mapping[str, Any]:
    return {**prompt.to_json(), "text": str(prompt)}


def _print_spans(prompt: DFPrompt) -> None:
    console.write_result(str(prompt))
    ascii_only = not console.prints_unicode(sys.stdout)
    for span in prompt.controls:
        effect, words = span.effect_range, printable(span.text.strip(), ascii_only=ascii_only)
        kind = "a network tag, not words; " if span.tag else ""
        console.write(f"  {words}: {kind}{effect.words} ({effect.arrow}), weight {span.weight}")
    if not prompt.controls:
        console.write("  no spans: every word acts at every step with weight 1")


def _print_plan(made: Plan) -> None:
    from dfprompt.cli.timeline import print_plan

    print_plan(console.rich_console(), made, unicode=console.prints_unicode(sys.stdout))


def _make_plan(
    line: str, run: Mapping[str, Any], *, dialect: str, plain: bool, strict: bool, second_pass: bool
) -> Plan:
    from dfprompt.prompt import make_plan
    from dfprompt.prompt.formatter import explain_silence
    from dfprompt.prompt.reading import read_prompt

    steps = run["num_inference_steps"]
    prompt = read_prompt(
        line,
        dialect=dialect,
        plain=plain,
        strict=strict,
        num_inference_steps=steps,
        second_pass=second_pass,
    )
    _name_two_colons(prompt, dialect)
    made = make_plan(prompt, **run)
    for span in made.never_active:
        warnings.warn(explain_silence(made, span), DFPromptWarning, stacklevel=2)
    return made


def _name_two_colons(prompt: DFPrompt, dialect: str) -> None:
    """Name once what most tools write for "until": [x::0.5] is a weight here."""
    gentle = (
        span for span in prompt.controls if span.effect_range.arrow == "1->0" and not span.weight.is_ramp
    )
    span = next((span for span in gentle if 0 < span.weight.first < 1), None)
    if span is not None and dialect == "native":
        from dfprompt.prompt import EffectRange

        until = span.with_weight(1).with_range(EffectRange(1, 1 - span.weight.first))
        console.note(
            f"note: {span} is the weight {span.weight}; for words until {span.weight} of the run write "
            f"{until}"
        )


def _run(steps: int, clock: str, timesteps: str, pipeline: str, strength: float) -> dict[str, Any]:
    """Return make_plan's arguments for the run that the options describe."""
    run: dict[str, Any] = {
        "num_inference_steps": steps or DEFAULT_STEPS,
        "clock": clock,
        "strength": strength,
    }
    if timesteps and pipeline:
        raise InputError("--timesteps and --pipeline both give the timesteps; leave one out")
    if timesteps:
        run["timesteps"] = _numbers(timesteps)
        run["num_inference_steps"] = steps or len(run["timesteps"])
    elif pipeline:
        from dfprompt.pipeline.timesteps import load_timesteps

        read = load_timesteps(pipeline, run["num_inference_steps"])
        run |= read._asdict()
    return run


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--timesteps takes numbers with commas, such as 999,749,499,249, not {text!r}"
        ) from error
