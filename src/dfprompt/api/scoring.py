"""The scores of a comparison or an evaluation by name: rewards, judges, and what to do without weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dfprompt.api.mini_evaluation import MiniAtoms, MiniFidelity, MiniTaste
from dfprompt.api.rewards import RewardLike, about_servers, load_reward
from dfprompt.errors import ConfigError, DFPromptWarning, LoadError
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.companions import Companions
from dfprompt.published import NO_SCORES, USUAL_SCORES
from dfprompt.requests.score import ScoreRequest
from dfprompt.rewards import Reward, Score, as_score

FIDELITY = "mini"  # as a judge; as a reward, "mini" is the built-in composite
TASTE = "mini-taste"  # as a judge, the raters' formula
_MINI_JUDGES: dict[str, Callable[[], Reward]] = {
    FIDELITY: MiniFidelity,
    TASTE: MiniTaste,
    "mini-atoms": MiniAtoms,
}


def load_scoreboard(
    rewards: Sequence[RewardLike],
    judges: Sequence[RewardLike] = (),
    *,
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    assignments: Iterable[str] = (),
) -> Scoreboard:
    """Load rewards and judges as `load_reward` names them; the judge "mini" is the mini world's own.

    Columns carry the scores' names; where two have one name, the source stands behind it. Raises what
    `load_reward` raises.
    """
    changes = tuple(assignments)

    options: dict[str, Any] = {"device": device, "dtype": dtype, "allow_code": allow_code}
    board = [(each, load_reward(each, assignments=changes, **options), "reward") for each in rewards]
    options["assignments"] = about_servers(changes)
    board += [(source, _load_judge(source, options), "judge") for source in judges]
    labelled = _label([(source, score) for source, score, _ in board])
    kinds = [kind for *_, kind in board]
    chosen: dict[str, dict[str, Reward]] = {"reward": {}, "judge": {}}
    for (label, score), kind in zip(labelled, kinds, strict=True):
        chosen[kind][label] = score
    return Scoreboard(chosen["reward"], chosen["judge"])


def load_judges(
    judges: Sequence[RewardLike],
    *,
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    assignments: Iterable[str] = (),
) -> dict[str, Score]:
    """Load judges alone, by label; "mini" is the mini world's own, "mini-taste" its raters' formula."""
    options: dict[str, Any] = {"device": device, "dtype": dtype, "allow_code": allow_code}
    options["assignments"] = about_servers(assignments)
    return dict(_label([(source, _load_judge(source, options)) for source in judges]))


def _load_judge(source: RewardLike, options: dict[str, Any]) -> Score:
    if isinstance(source, str) and source in _MINI_JUDGES:
        return as_score(_MINI_JUDGES[source]())
    return load_reward(source, **options)


def _label(scores: Sequence[tuple[RewardLike, Score]]) -> list[tuple[str, Score]]:
    names = [score.name for _, score in scores]
    labels: list[tuple[str, Score]] = []
    for source, score in scores:
        several = names.count(score.name) > 1
        label = f"{score.name} ({Path(str(source)).name})" if several else score.name
        if label in dict(labels):
            raise ConfigError(f"the score {label} is asked for twice")
        labels.append((label, score))
    return labels


def _options(request: ScoreRequest) -> dict[str, Any]:
    return {
        "device": request.device,
        "dtype": request.dtype,
        "allow_code": request.allow_code,
        "assignments": request.assignments,
    }


def require_scoreboard(request: ScoreRequest, companions: Companions) -> Scoreboard:
    """Return the scores asked for; where none are, the pipeline's own, or CLIP and aesthetic.

    Raises what `load_reward` raises: an experiment without scores is none.
    """
    return load_scoreboard(
        request.rewards or companions.rewards or USUAL_SCORES,
        request.judges or companions.judges,
        **_options(request),
    )


def choose_scoreboard(request: ScoreRequest, companions: Companions) -> Scoreboard:
    """Return the scores asked for, or the pipeline's own, or the usual ones: CLIP and aesthetic.

    The usual scores may be missing on a machine; then a DFPromptWarning says so and nothing is scored.
    "none" as the only reward asks for that.
    """
    rewards, judges = request.rewards, request.judges
    options = _options(request)
    if list(rewards) == [NO_SCORES]:
        return load_scoreboard([], judges, **options)
    if rewards:
        return load_scoreboard(rewards, judges, **options)
    if companions.rewards:
        return load_scoreboard(companions.rewards, judges or companions.judges, **options)
    try:
        return load_scoreboard(USUAL_SCORES, judges, **options)
    except LoadError as error:
        warnings.warn(f"the pictures are not scored: {error}", DFPromptWarning, stacklevel=2)
        return load_scoreboard([], judges, **options)
