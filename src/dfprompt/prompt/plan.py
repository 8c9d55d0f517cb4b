"""A DF-Prompt laid out over the steps of a run: which text, with which weights, at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span
from dfprompt.prompt.clocks import Clock, Evaluation, first_step_run, make_evaluations
from dfprompt.prompt.effect import tick
from dfprompt.prompt.jsonform import VERSION
from dfprompt.prompt.layout import Layout, lay_out

Absence = Literal["delete", "mask"]
_ONE, _ZERO = Fraction(1), Fraction(0)


@dataclass(frozen=True, slots=True)
class WeightedText:
    """Words of a step's text whose weight is not 1; offsets count characters of the step's text."""

    text: str
    start: int
    end: int
    weight: Fraction


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One denoiser evaluation: its step (0..N-1), the time left, the text encoded and its weights.

    `hidden` lists the stretches of the text that are masked; it is empty unless absence="mask".
    """

    step: int
    time_left: Fraction
    text: str
    weights: tuple[WeightedText, ...]
    hidden: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One span over the evaluations that run: its weight at each, 0 where it is absent."""

    span: Span
    weights: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs: one PlannedStep per denoiser evaluation, one Track per span."""

    prompt: DFPrompt
    num_inference_steps: int
    clock: Clock
    steps: tuple[PlannedStep, ...]
    tracks: tuple[Track, ...]

    @property
    def never_active(self) -> tuple[Span, ...]:
        """The spans that act at no step that runs."""
        return tuple(track.span for track in self.tracks if not any(track.weights))

    def steps_of(self, track: Track) -> tuple[int, ...]:
        """Return the steps (0..N-1) at which a span acts."""
        acting = (
            planned.step
            for planned, weight in zip(self.steps, track.weights, strict=True)
            if weight is not _ZERO and weight
        )
        return tuple(dict.fromkeys(acting))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object: dfprompt, steps, clock, plan, never_active."""
        return {
            "dfprompt": VERSION,
            "steps": self.num_inference_steps,
            "clock": self.clock,
            "plan": [_step_json(planned) for planned in self.steps],
            "never_active": [str(span) for span in self.never_active],
        }


def make_plan(
    prompt: DFPrompt,
    num_inference_steps: int,
    *,
    clock: Clock = "steps",
    timesteps: Sequence[float] | None = None,
    num_train_timesteps: int = 1000,
    strength: float = 1.0,
    order: int = 1,
    absence: Absence = "delete",
    step_of_evaluation: Sequence[int] | None = None,
    first_step: int | None = None,
) -> Plan:
    """Lay a prompt out over a run of N steps; raises PromptValueError for arguments no run can have.

    `timesteps` are the scheduler's for the whole run, `strength` the share image-to-image runs at the
    end. `first_step` overrides where that tail begins, for pipelines that round otherwise; it counts
    steps, or evaluations where `step_of_evaluation` is given. `order` is the scheduler's,
    `step_of_evaluation` its own table if it has one. `absence="mask"` keeps the
    whole text at every step and hides what is absent.

    >>> from dfprompt.prompt import parse_prompt
    >>> plan = make_plan(parse_prompt("a cat, [snow:late:1.5]"), 2)
    >>> [step.text for step in plan.steps]
    ['a cat', 'a cat, snow']
    """
    if absence not in ("delete", "mask"):
        raise PromptValueError(f"absence must be delete or mask, not {quote(absence)}")
    evaluations = make_evaluations(
        num_inference_steps,
        clock=clock,
        timesteps=timesteps,
        num_train_timesteps=num_train_timesteps,
        order=order,
        step_of_evaluation=step_of_evaluation,
    )
    # Evaluations are cut by their number, as diffusers cuts the scheduler's timesteps.
    cut = _first_evaluation(num_inference_steps, strength, first_step, order, step_of_evaluation)
    if not 0 <= cut < len(evaluations):
        raise PromptValueError(f"no step is left to run when the first one is {first_step}")
    tracks = [Track(track.span, track.weights[cut:]) for track in _whole_tracks(prompt, evaluations)]
    steps = _planned_steps(prompt, evaluations[cut:], tracks, mask=absence == "mask")
    return Plan(prompt, num_inference_steps, clock, steps, tuple(tracks))


def _first_evaluation(
    steps: int, strength: float, first_step: int | None, order: int, table: Sequence[int] | None
) -> int:
    if first_step is None:
        return first_step_run(steps, strength) * order
    return first_step * order if table is None else first_step


def _whole_tracks(prompt: DFPrompt, evaluations: Sequence[Evaluation]) -> list[Track]:
    """Return each span's weight at every evaluation of the whole run, where ramps are defined."""
    acting: dict[EffectRange, tuple[bool, ...]] = {}
    ticks = [tick(evaluation.time_left) for evaluation in evaluations]
    tracks = []
    for span in prompt.controls:
        if span.effect_range not in acting:
            acting[span.effect_range] = tuple(span.effect_range.among(ticks))
        tracks.append(Track(span, _weights(span, evaluations, acting[span.effect_range])))
    return tracks


def _weights(span: Span, evaluations: Sequence[Evaluation], acting: Sequence[bool]) -> tuple[Fraction, ...]:
    weight = span.weight
    if not weight.is_ramp:
        constant = _shared(Fraction(weight.first))
        return tuple(constant if here else _ZERO for here in acting)
    steps = [evaluation.step for evaluation, here in zip(evaluations, acting, strict=True) if here]
    first, length = (steps[0], steps[-1] - steps[0]) if steps else (0, 0)
    return tuple(
        _shared(weight.at(Fraction(evaluation.step - first, length) if length else _ZERO)) if here else _ZERO
        for evaluation, here in zip(evaluations, acting, strict=True)
    )


def _shared(weight: Fraction) -> Fraction:
    """Return the one 0 and the one 1 for theirs, so that they are told by what they are: most weights are."""
    return _ONE if weight == 1 else weight or _ZERO


def _planned_steps(
    prompt: DFPrompt, evaluations: Sequence[Evaluation], tracks: Sequence[Track], *, mask: bool
) -> tuple[PlannedStep, ...]:
    pieces = prompt.words
    layouts: dict[tuple[bool, ...], Layout] = {}
    planned = []
    for at, evaluation in enumerate(evaluations):
        column = iter([track.weights[at] for track in tracks])
        weights = [_ONE if isinstance(piece, str) else next(column) for piece in prompt.spans]
        present = tuple(
            weight is not _ZERO and bool(piece) for weight, piece in zip(weights, pieces, strict=True)
        )
        if present not in layouts:
            layouts[present] = lay_out(pieces, present, mask=mask)
        layout = layouts[present]
        weighted = tuple(_weighted(layout, weights))
        planned.append(PlannedStep(*evaluation, layout.text, weighted, layout.hidden))
    return tuple(planned)


def _weighted(layout: Layout, weights: Sequence[Fraction]) -> list[WeightedText]:
    return [
        WeightedText(layout.text[start:end], start, end, weight)
        for (start, end), weight in zip(layout.places, weights, strict=True)
        if weight is not _ZERO and weight is not _ONE and layout.text[start:end].strip()
    ]


def _step_json(planned: PlannedStep) -> dict[str, Any]:
    step: dict[str, Any] = {
        "step": planned.step,
        "time_left": float(planned.time_left),
        "text": planned.text,
        "weights": [
            {"text": part.text, "start": part.start, "end": part.end, "weight": float(part.weight)}
            for part in planned.weights
        ],
    }
    if planned.hidden:
        step["hidden"] = [list(interval) for interval in planned.hidden]
    return step
