"""`dfprompt parse` and `dfprompt plan`: what a DF-Prompt says, and what it does at each step."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import DFPromptWarning, InputError
from dfprompt.excerpt import printable
from dfprompt.requests.write import PlanRequest

if TYPE_CHECKING:
    from dfprompt.prompt import DFPrompt, Plan

DEFAULT_STEPS = 10

_TEXT = typer.Argument(
    ..., metavar="TEXT", help="The prompt; - reads one per line and answers in JSON lines."
)
_DIALECT = typer.Option(
    "native", "--dialect", help="How TEXT is written: native, a1111, comfyui, swarmui, compel, pae."
)
_PLAIN = typer.Option(False, "--plain", help="Take every character as words; nothing is control.")
_STRICT = typer.Option(False, "--strict", help="Make warnings about other tools' control errors.")


def register(app: typer.Typer) -> None:
    """Put the commands on the app."""
    app.command("parse")(parse)
    app.command("plan")(plan)


def parse(
    text: str = _TEXT,
    dialect: str = _DIALECT,
    plain: bool = _PLAIN,
    strict: bool = _STRICT,
    as_json: bool = JSON,
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


@takes(PlanRequest)
def plan(request: PlanRequest, as_json: bool = JSON) -> None:
    """Show which text runs with which weights at each step.

    \b
    Examples:
      dfprompt plan "a red horse, [anime style:early:1.5]" --steps 10
      dfprompt plan "a red horse, [neon:1->0:0.5->1.5]" --steps 20 --json
      dfprompt plan "a red horse, [film grain:late]" --steps 20 --strength 0.5
      dfprompt plan "a red horse, [snow:late]" --clock timestep --timesteps 999,749,499,249
    """

    if request.text == "-":
        console.for_each_line(lambda line: _make_plan(line, request).to_json())
        return
    made = _make_plan(request.text, request)
    if request.svg is not None:
        from dfprompt.prompt.picture import draw_plan

        console.write_file(request.svg, draw_plan(made), force=request.force)
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


def _make_plan(line: str, request: PlanRequest) -> Plan:
    from dfprompt.prompt import make_plan
    from dfprompt.prompt.formatter import explain_silence
    from dfprompt.prompt.reading import read_prompt

    run = _run(request)
    prompt = read_prompt(
        line,
        dialect=request.dialect,
        plain=request.plain,
        strict=request.strict,
        num_inference_steps=run["num_inference_steps"],
        second_pass=request.second == 2,
    )
    _name_two_colons(prompt, request.dialect)
    made = make_plan(prompt, **run)
    for span in made.never_active:
        warnings.warn(explain_silence(made, span), DFPromptWarning, stacklevel=2)
    return made


def _name_two_colons(prompt: DFPrompt, dialect: str) -> None:
    """Name once what most tools write for "until": [x::0.5] is a weight here."""
    gentle = (
        span for span in prompt.controls if span.effect_range.arrow == "1->0" and not span.weight.is_ramp
    )
    span = next((span for span in gentle if _looks_like_until(span.weight.first)), None)
    if span is not None and dialect == "native" and span.weight.first > 1:
        console.note(
            f"note: {span} is the weight {span.weight}; in most tools it says until step {span.weight}, for "
            f"which write a range, such as {span.with_weight(1).with_range('early')}"
        )
    elif span is not None and dialect == "native":
        from dfprompt.prompt import EffectRange

        until = span.with_weight(1).with_range(EffectRange(1, 1 - span.weight.first))
        console.note(
            f"note: {span} is the weight {span.weight}; for words until {span.weight} of the run write "
            f"{until}"
        )


def _looks_like_until(weight: Decimal) -> bool:
    """Whether it may be a share of the steps, or the number of one: nobody writes 8 for a weight."""
    return 0 < weight < 1 or (weight >= 2 and weight == weight.to_integral_value())


def _run(request: PlanRequest) -> dict[str, Any]:
    """Return make_plan's arguments for the run that the options describe."""
    run: dict[str, Any] = {
        "num_inference_steps": DEFAULT_STEPS if request.steps is None else request.steps,
        "clock": request.clock,
        "strength": request.strength,
    }
    if request.timesteps:
        run["timesteps"] = _numbers(request.timesteps)
        if request.steps is None:
            run["num_inference_steps"] = len(run["timesteps"])
    elif request.pipeline:
        from dfprompt.api.checks import check_pipeline
        from dfprompt.api.companions import MINI
        from dfprompt.api.world import mini_folder
        from dfprompt.pipeline.timesteps import load_timesteps

        check_pipeline(request.pipeline)
        source = str(mini_folder("pipeline")) if request.pipeline == MINI else request.pipeline
        run |= load_timesteps(source, run["num_inference_steps"])._asdict()
    return run


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--timesteps takes numbers with commas, such as 999,749,499,249, not {text!r}"
        ) from error
