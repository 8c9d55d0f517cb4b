"""`dfprompt optimize`: plain words to DF-Prompts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.errors import DFPromptWarning, InputError

if TYPE_CHECKING:
    from dfprompt.policy import Policy, Rewrite

_TARGETS = ("native", "a1111", "comfyui")


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("optimize")(optimize)


def optimize(
    text: list[str] = typer.Argument(
        ..., metavar="TEXT...", help="Plain words; - reads one prompt per line and answers in JSON lines."
    ),
    policy: str = typer.Option(
        "mini", "--policy", metavar="P", help="mini, mini-sft, starter, a folder (a run's too), or a hub id."
    ),
    candidates: int = typer.Option(1, "--candidates", metavar="C", help="Different rewrites of each prompt."),
    seed: int = typer.Option(0, "--seed", metavar="S", help="The same seed gives the same rewrites."),
    temperature: float = typer.Option(
        0.7, "--temperature", metavar="T", help="0 takes the likeliest words; higher is freer."
    ),
    control_temperature: float = typer.Option(
        0.0, "--control-temperature", metavar="T", help="The same of ranges and weights: 0, the likeliest."
    ),
    restraint: float = typer.Option(
        0.0, "--restraint", metavar="R", help="Share of the policy's gain to give up to append less, 0 to 1."
    ),
    ban: list[str] = typer.Option(
        [], "--ban", metavar="WORD", help="Never append this word or phrase; may be repeated."
    ),
    ban_substring: list[str] = typer.Option(
        [], "--ban-substring", metavar="TEXT", help="Never append a word with this in it."
    ),
    ban_artists: bool = typer.Option(False, "--ban-artists", help="Append no artists' names."),
    max_modifiers: int | None = typer.Option(
        None, "--max-modifiers", metavar="N", help="Append at most this many."
    ),
    target: str = typer.Option("native", "--to", metavar="D", help="Print as native, a1111 or comfyui."),
    steps: int | None = typer.Option(
        None, "--steps", metavar="N", help="Steps of the run, for dialects that count them."
    ),
    df: bool = typer.Option(False, "--df", help="Keep spans already written in TEXT."),
    device: str = typer.Option("auto", "--device", metavar="D", help="auto, cpu, cuda or mps."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Append modifiers to plain words, each with an effect range and a weight; prints the DF-Prompts.

    The words you give come first and stay as they are.

    \b
    Examples:
      dfprompt optimize "a red cat on a hill"
      dfprompt optimize "a red cat on a hill" --candidates 3 --seed 7 --ban "film grain"
      dfprompt optimize "a blue boat, [mist:early]" --df --to a1111 --steps 20
      dfprompt optimize "a castle by the sea" --policy runs/sft/policy --json
    """
    if target not in _TARGETS:
        raise InputError(f"--to {target} is none of {', '.join(_TARGETS)}")
    from dfprompt.api.policies import load_policy, optimize_prompt, read_base
    from dfprompt.policy import Bans, SamplingSettings

    settings = SamplingSettings(
        temperature=temperature,
        control_temperature=control_temperature,
        restraint=restraint,
        max_modifiers=max_modifiers,
        bans=Bans(words=ban, substrings=ban_substring, artists=ban_artists),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)  # said when the words are really read
        for each in text if text != ["-"] else ():
            read_base(each, df=df)  # a mistake is named before anything is loaded

    def work(texts: list[str], writer: Policy) -> list[dict[str, Any]]:
        found = optimize_prompt(texts, writer, candidates=candidates, seed=seed, sampling=settings, df=df)
        return [
            {"plain": each, "candidates": [_to_json(rewrite, target, steps) for rewrite in rewrites]}
            for each, rewrites in zip(texts, found, strict=True)
        ]

    loaded = load_policy(policy, device=device)
    if text == ["-"]:
        console.for_each_line(lambda line: work([line], loaded)[0])
        return
    rows = work(text, loaded)
    if policy == "starter":
        console.note(f"written by {loaded.name}")
    if as_json:
        console.write_json({"policy": loaded.name if policy == "starter" else policy, "prompts": rows})
        return
    for row in rows:
        for candidate in row["candidates"]:
            console.write_result(candidate["text"])
            for remark in candidate.get("lost", ()):
                console.note(f"lost in {target}: {remark}")
            for dropped in candidate["dropped"]:
                console.note(f"left out {dropped['text']!r}: {dropped['reason']}")


def _to_json(rewrite: Rewrite, target: str, steps: int | None) -> dict[str, Any]:
    """A rewrite as JSON, its text in the dialect asked for with what that could not express."""
    found = rewrite.to_json()
    if target != "native":
        from dfprompt.prompt.dialects import export_prompt

        exported = export_prompt(rewrite.prompt, target, steps)
        found |= {"text": exported.text, "assumed": list(exported.assumed), "lost": list(exported.lost)}
    return found
