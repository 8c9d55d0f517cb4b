"""`dfprompt optimize`: plain words to DF-Prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.write import OptimizeRequest
from dfprompt.search.starter import NAME as STARTER
from dfprompt.search.styles import find_style

if TYPE_CHECKING:
    from dfprompt.api.ranking import Ranker
    from dfprompt.api.risk import Gate, Prober
    from dfprompt.policy import Policy, Rewrite, SamplingSettings


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("optimize")(optimize)


@takes(OptimizeRequest)
def optimize(request: OptimizeRequest, as_json: bool = JSON) -> None:
    """Append modifiers to plain words, each with an effect range and a weight; prints the DF-Prompts.

    The words you give come first and stay as they are.

    \b
    Examples:
      dfprompt optimize "a red house in the snow"
      dfprompt optimize "a red house in the snow" --candidates 3 --seed 7 --ban "film grain"
      dfprompt optimize "portrait of a fisherman" --style photo
      dfprompt optimize "a blue boat, [mist:early]" --df --to a1111 --steps 20
      dfprompt optimize "a castle by the sea" --policy runs/sft/policy --json
      dfprompt optimize "a red cat on a hill" --policy run/policy --taste painted:0.5,graphic:0.5
      dfprompt optimize "a red cat on a hill" --policy run/policy --max-risk 2%
      dfprompt optimize "a red cat on a hill" --candidates 4 --reward taste:my-taste
    """
    check(request)
    from dfprompt.api.policies import load_policy

    loaded, settings = load_policy(request.writer, device=request.device), _sampling(request)
    prober = None
    if request.max_risk is not None:
        from dfprompt.api.risk import Prober

        prober = Prober(request, loaded, settings)
    ranker = None
    if request.rewards:
        from dfprompt.api.ranking import Ranker

        ranker = Ranker(request, prober.pipeline if prober else None)
    if list(request.texts) == STDIN:
        console.for_each_line(lambda line: _rewrite([line], loaded, request, settings, prober, ranker)[0][0])
        return
    rows, gate = _rewrite(request.texts, loaded, request, settings, prober, ranker)
    by_rules = request.writer.partition(":")[0] == STARTER
    negative = find_style(request.style).negative if request.style else None
    if by_rules:
        console.note(f"written by {loaded.name}")
    if negative and not as_json:
        console.note(f'what to keep out, for --negative: "{negative}"')
    if gate is not None:
        console.note(gate.sentence())
    if as_json:
        named = loaded.name if by_rules else request.policy
        risk = {} if gate is None else {"risk": gate.to_json()}
        console.write_json({"policy": named, "negative": negative, "prompts": rows, **risk})
    else:
        _print(rows, request)


def _sampling(request: OptimizeRequest) -> SamplingSettings:
    from dfprompt.policy.bans import Bans
    from dfprompt.policy.settings import SamplingSettings
    from dfprompt.policy.tastes import parse_taste

    return SamplingSettings(
        temperature=request.temperature,
        control_temperature=request.control_temperature,
        restraint=request.restraint,
        taste=parse_taste(request.taste) if request.taste else (),
        max_modifiers=request.max_modifiers,
        min_modifiers=request.at_least,
        bans=Bans(words=request.ban, substrings=request.ban_substring, artists=request.ban_artists),
    )


def _rewrite(
    texts: Sequence[str],
    writer: Policy,
    request: OptimizeRequest,
    settings: SamplingSettings,
    prober: Prober | None,
    ranker: Ranker | None,
) -> tuple[list[dict[str, Any]], Gate | None]:
    from dfprompt.api.policies import optimize_prompt, read_base

    bases = [read_base(each, df=request.df) for each in texts]
    found = optimize_prompt(
        bases, writer, candidates=request.candidates, seed=request.seed, sampling=settings
    )
    gate = None
    if prober is not None:
        found, gate = prober.sift(bases, found)
    ranked: list[list[tuple[Rewrite, dict[str, float]]]] = [[(each, {}) for each in row] for row in found]
    if ranker is not None:
        ranked = [[(each, {"reward": value}) for each, value in row] for row in ranker.rank(bases, found)]
    return [
        {
            "plain": each,
            "candidates": [_to_json(one, request.target, request.steps) | more for one, more in rewrites],
        }
        for each, rewrites in zip(texts, ranked, strict=True)
    ], gate


def _print(rows: Sequence[Mapping[str, Any]], request: OptimizeRequest) -> None:
    for row in rows:
        for candidate in row["candidates"]:
            console.write_result(candidate["text"])
            if candidate["unchanged"]:
                forced = "" if candidate["dropped"] else "; --at-least 1 makes the policy add something"
                console.note(candidate["unchanged"] + forced)
            for remark in candidate.get("lost", ()):
                console.note(f"lost in {request.target}: {remark}")
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
