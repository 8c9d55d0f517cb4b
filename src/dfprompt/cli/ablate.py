"""`dfprompt ablate`: when modifiers act, how strongly, and what each one of a written prompt brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console, moved
from dfprompt.cli.render_flags import RenderFlags, with_flags
from dfprompt.errors import InputError

if TYPE_CHECKING:
    from dfprompt.api.ablations import AblationOptions, AblationRun

_MOST_SEEDS = 10_000

app = typer.Typer(
    name="ablate",
    help="Experiments of one command each, with a table, a plot and every picture kept.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_PROMPTS = typer.Option(
    ..., "--prompts", metavar="FILE", help="Plain prompts, one per line or JSON lines, or mini."
)
_MODIFIERS = typer.Option(
    [],
    "--modifiers",
    metavar="A,B,C",
    help="Words to append, one at a time; default: some of mini's, or one per category of the built-in list.",
)
_OUTPUT = typer.Option(..., "--output", metavar="DIR", help="Where to write; the same folder again goes on.")
_SEED = typer.Option(0, "--seed", metavar="S", help="The first seed.")
_SEEDS = typer.Option(2, "--seeds", metavar="K", help="Pictures per prompt and arm: seeds S to S+K-1.")
_PAIRS = typer.Option(8, "--seeds", metavar="K", help="Pictures per variant: seeds S to S+K-1.")
_COUNT = typer.Option(24, "--count", metavar="N", help="How many prompts --prompts mini makes.")
_REWARDS = typer.Option([], "--rewards", metavar="R,R", help="Scores, named as for --reward.")
_JUDGES = typer.Option(
    [], "--judges", metavar="J,J", help="Scores that nothing was optimised for; mini: its own judge."
)
_SET = typer.Option([], "--set", metavar="KEY=VALUE", help="Change a setting of the rewards; repeatable.")
_ALLOW_CODE = typer.Option(False, "--allow-code", help="Let a recipe import Python code.")
_RETRY = typer.Option(False, "--retry-failed", help="Make rows again in which something failed.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
    moved.register(app, "reward", "dfprompt ablate reward", "experiments.stage_two reward")
    parent.add_typer(app, name="ablate")


@app.command("range")
@with_flags
def ablate_range(
    prompts: str = _PROMPTS,
    output: Path = _OUTPUT,
    flags: RenderFlags = None,  # type: ignore[assignment]
    modifiers: list[str] = _MODIFIERS,
    seed: int = _SEED,
    seeds: int = _SEEDS,
    count: int = _COUNT,
    rewards: list[str] = _REWARDS,
    judges: list[str] = _JUDGES,
    changes: list[str] = _SET,
    allow_code: bool = _ALLOW_CODE,
    retry_failed: bool = _RETRY,
    as_json: bool = _JSON,
) -> None:
    """When modifiers act: first or last half, first or last 15 %, all; against plain on the same noise.

    Draws with 20 steps unless --steps says otherwise.

    \b
    Examples:
      dfprompt ablate range --prompts mini --output ranges
      dfprompt ablate range --prompts p.txt --modifiers "film grain, anime style" --pipeline models/sd15
          --rewards pickscore --judges clip --output ranges
    """
    words = _split(modifiers)
    chosen = {
        "seeds": _numbers(seed, seeds),
        "rewards": _split(rewards),
        "judges": _split(judges),
        "assignments": changes,
        "allow_code": allow_code,
        "retry_failed": retry_failed,
    }
    from dfprompt.api.ablations import ablate_ranges, check_ablation

    check_ablation(output, words)
    _run(
        lambda options: ablate_ranges(prompts, output, words, count=count, options=options),
        flags,
        chosen,
        as_json=as_json,
    )


@app.command("weight")
@with_flags
def ablate_weight(
    prompts: str = _PROMPTS,
    output: Path = _OUTPUT,
    flags: RenderFlags = None,  # type: ignore[assignment]
    modifiers: list[str] = _MODIFIERS,
    seed: int = _SEED,
    seeds: int = _SEEDS,
    count: int = _COUNT,
    rewards: list[str] = _REWARDS,
    judges: list[str] = _JUDGES,
    changes: list[str] = _SET,
    allow_code: bool = _ALLOW_CODE,
    retry_failed: bool = _RETRY,
    as_json: bool = _JSON,
) -> None:
    """How strongly modifiers act: weights 0.5 to 1.5 over the full range; the reward against the judge.

    \b
    Examples:
      dfprompt ablate weight --prompts mini --output weights
      dfprompt ablate weight --prompts p.txt --modifiers "film grain" --pipeline models/sd15
          --rewards pickscore --judges clip --output weights
    """
    words = _split(modifiers)
    chosen = {
        "seeds": _numbers(seed, seeds),
        "rewards": _split(rewards),
        "judges": _split(judges),
        "assignments": changes,
        "allow_code": allow_code,
        "retry_failed": retry_failed,
    }
    from dfprompt.api.ablations import ablate_weights, check_ablation

    check_ablation(output, words)
    _run(
        lambda options: ablate_weights(prompts, output, words, count=count, options=options),
        flags,
        chosen,
        as_json=as_json,
    )


@app.command("attribution")
@with_flags
def ablate_attribution(
    df_prompt: str = typer.Argument(
        ..., metavar="DFPROMPT", help="The prompt with its modifiers in brackets; only spans are looked at."
    ),
    output: Path = _OUTPUT,
    flags: RenderFlags = None,  # type: ignore[assignment]
    seed: int = _SEED,
    seeds: int = _PAIRS,
    rewards: list[str] = typer.Option(
        [], "--rewards", metavar="R,R", help="Scores, named as for --reward; the first one prunes."
    ),
    judges: list[str] = _JUDGES,
    changes: list[str] = _SET,
    allow_code: bool = _ALLOW_CODE,
    dialect: str = typer.Option(
        "native", "--dialect", help="How DFPROMPT is written: native, a1111, comfyui, compel, pae."
    ),
    strict: bool = typer.Option(False, "--strict", help="Make warnings about other tools' control errors."),
    retry_failed: bool = _RETRY,
    as_json: bool = _JSON,
) -> None:
    """What each modifier of a DF-Prompt brings to each score, and its range, and its weight.

    The prompt is drawn beside itself without one modifier, with its range full, with its weight 1. Pruned is
    every modifier whose mean effect on the first reward (the written prompt minus the same without it, over
    the seeds) is below 0; what is left is measured once more, on K fresh seeds.

    \b
    Examples:
      dfprompt ablate attribution "a red cat on a hill, [glossy:late:1.25], [golden hour:late]" --output out
      dfprompt ablate attribution "a cat, [snow:early], [mist::0.75]" --pipeline models/sd15 --seeds 16
          --rewards pickscore --judges clip --output out
    """
    chosen = {
        "seeds": _numbers(seed, seeds),
        "rewards": _split(rewards),
        "judges": _split(judges),
        "assignments": changes,
        "allow_code": allow_code,
        "retry_failed": retry_failed,
    }
    from dfprompt.prompt.reading import read_prompt

    written = read_prompt(df_prompt, dialect=dialect, strict=strict, num_inference_steps=flags.steps)
    from dfprompt.api.ablations import attribute_modifiers, check_attribution

    check_attribution(written, output)
    _run(
        lambda options: attribute_modifiers(written, output, options=options), flags, chosen, as_json=as_json
    )


def _run(
    experiment: Callable[[AblationOptions], AblationRun],
    flags: RenderFlags,
    chosen: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Load, run with a bar, print; exits with 1 where something failed."""
    settings = flags.settings()
    from dfprompt.api.ablations import AblationOptions
    from dfprompt.pipeline.progress import reporting

    with reporting(True, "rows") as report:
        options = AblationOptions(
            pipeline=flags.load(),
            settings=settings,
            negative_prompt=flags.negative,
            device=flags.device,
            dtype=flags.dtype,
            progress=report,
            **chosen,
        )
        run = experiment(options)
    if as_json:
        console.write_json(run.to_json())
    else:
        console.write(run.page)
        for path in run.files:
            console.write(f"written: {path}")
    if run.failures:
        failed = ", ".join(f"{each.method}: {each.what} ({each.rows} rows)" for each in run.failures)
        console.note(f"failed: {failed}; --retry-failed makes those rows again")
        raise typer.Exit(1)


def _numbers(seed: int, seeds: int) -> range:
    if not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds counts pictures per prompt, 1 to {_MOST_SEEDS}, not {seeds}")
    return range(seed, seed + seeds)


def _split(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
