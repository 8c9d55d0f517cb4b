"""What the studio holds while it runs: the pipeline, the scores, the history, and the work it is asked for.

Everything that needs a model is a job, and jobs run one after the other. Texts are read at once, by the
pipeline's own schedule as soon as it is loaded.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.api.companions import companions_of, usual_lexicon
from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.pipeline.companions import Companions
from dfprompt.prompt import DFPrompt, Plan, make_plan
from dfprompt.prompt.parser import read_back
from dfprompt.requests.base import make_request
from dfprompt.requests.render import RenderSettings
from dfprompt.requests.studio import StudioRequest
from dfprompt.web.document import PlanOf, plain_words, read_text
from dfprompt.web.history import Drawing, History
from dfprompt.web.jobs import Job, Jobs
from dfprompt.web.remarks import listen_to_warnings, remarks_in

if TYPE_CHECKING:
    from dfprompt.conditioning.schedule import Schedule
    from dfprompt.measurement.scoreboard import Scoreboard
    from dfprompt.pipeline.image_pipeline import ImagePipeline
    from dfprompt.policy import Policy

STEPS = 10  # of plans, until the pipeline says how many it takes
MOST_COLUMNS = 12
_SPOKEN = {"num_inference_steps": "steps", "guidance_scale": "guidance"}


class Studio:
    """One pipeline with its scores, one folder with its history, one queue."""

    def __init__(self, request: StudioRequest, history: History, jobs: Jobs) -> None:
        self.request, self.history, self.jobs = request, history, jobs
        self.companions: Companions = companions_of(request.pipeline)
        self.lexicon = usual_lexicon(self.companions)
        self.policy_name = request.policy or self.companions.policy or "starter"
        self.problem: str | None = None
        self._pipeline: ImagePipeline | None = None
        self._reader: ImagePipeline | None = None
        self._board: Scoreboard | None = None
        self._policies: dict[str, Policy] = {}
        self._schedules: dict[RenderSettings, Schedule] = {}

    def start(self) -> None:
        """Begin to load, and to listen to what is warned of while a job runs."""
        listen_to_warnings()
        self.jobs.start()
        self.jobs.submit("load", f"loading {self.request.pipeline}", self._load)

    # ---- reading -------------------------------------------------------------------------------------------

    def settings(self, given: Mapping[str, Any] | None) -> RenderSettings:
        """Return how to draw: what a page asks for over what the command line said."""
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"settings are an object, not {quote(given)}")
        asked = dict(given or {})
        base = {name: getattr(self.request, name) for name in RenderSettings.model_fields}
        return make_request(RenderSettings, {**base, **asked}, lambda name: _SPOKEN.get(name, name))

    def plan_of(self, given: Mapping[str, Any] | None) -> PlanOf:
        """Return what lays a prompt out over the steps that drawing with these settings takes."""
        settings = self.settings(given)
        if self._reader is None:
            steps = settings.num_inference_steps or STEPS
            return lambda prompt: make_plan(prompt, steps)
        from dfprompt.conditioning.compile import plan_prompts
        from dfprompt.conditioning.options import Options

        if settings not in self._schedules:
            self._schedules[settings] = self._reader.schedule(settings)
        schedule, options = self._schedules[settings], Options(absence=settings.absence)

        def plan(prompt: DFPrompt) -> Plan:
            return plan_prompts([prompt], None, schedule, options)[0][0]

        return plan

    def reader_of(self, given: Mapping[str, Any] | None) -> Callable[[str], DFPrompt]:
        """Return what reads a text for a drawing with these settings: words by turns need its steps."""
        return partial(read_back, num_inference_steps=self.plan_of(given)(DFPrompt()).num_inference_steps)

    def to_json(self) -> dict[str, Any]:
        """Return what a page needs before it shows anything."""
        return {
            "pipeline": str(self.request.pipeline),
            "ready": self._pipeline is not None,
            "problem": self.problem,
            "model": None if self._pipeline is None else self._pipeline.name,
            "family": None if self._pipeline is None else self._pipeline.family,
            "defaults": self._defaults(),
            "seed": self.request.seed,
            "seeds": self.request.seeds,
            "negative": self.request.negative_prompt or "",
            "policy": self.policy_name,
            "note": self.companions.note,
            "tour": str(self.request.pipeline) == "mini",
            "lexicon": {
                category: [{"words": entry.text, "span": str(entry.span)} for entry in entries]
                for category, entries in self.lexicon.categories().items()
            },
        }

    def _defaults(self) -> dict[str, Any]:
        if self._reader is None:
            return {}
        return self._reader.resolve(self.settings(None)).model_dump(mode="json", exclude_none=True)

    # ---- work ----------------------------------------------------------------------------------------------

    def _load(self, job: Job) -> None:
        try:
            with remarks_in(job):
                from dfprompt.api.pipelines import open_pipeline
                from dfprompt.api.scoring import choose_scoreboard

                pipeline = open_pipeline(self.request)
                self._reader, self._pipeline = pipeline.reader(), pipeline
                self.jobs.publish({"type": "state", "state": self.to_json()})
                self._board = choose_scoreboard(self.request, companions_of(pipeline))
        except BaseException as error:
            self.problem = str(error)
            raise

    def _loaded(self) -> tuple[ImagePipeline, Scoreboard]:
        if self._pipeline is None or self._board is None:
            raise InputError(f"the pipeline is not loaded: {self.problem or 'it failed'}")
        return self._pipeline, self._board

    def draw(self, values: Mapping[str, Any]) -> tuple[Drawing, Job]:
        """Write down what is to be drawn and put it into the queue.

        `text` is the prompt, `columns` what is drawn beside its plain words (label and text; by default the
        prompt itself), `seeds` their noise. Raises InputError for what cannot be drawn.
        """
        text = read_text(values)
        read = self.reader_of(values.get("settings"))
        read(text)
        plain = str(values.get("plain") or plain_words(text)).strip()
        if not plain:
            raise InputError("there is nothing to draw: write what the picture shows")
        asked = values.get("columns", [{"label": "yours", "text": text}])
        settings = self.settings(values.get("settings"))
        drawing = self.history.add(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            text=text,
            plain=plain,
            columns=_columns(asked, plain, read),
            seeds=_seeds(values.get("seeds", [0])),
            kind=str(values.get("kind", "draw"))[:20],
            parent=None if values.get("parent") is None else str(values["parent"]),
            negative=_negative(values.get("negative"), read),
            settings=settings.model_dump(mode="json", exclude_defaults=True),
            policy=self.policy_name,
        )
        return drawing, self._submit(drawing)

    def resume(self, number: str) -> Job:
        """Go on with a drawing that was cut short or in which a score failed."""
        return self._submit(self.history.find(number))

    def _submit(self, drawing: Drawing) -> Job:
        job = self.jobs.submit("draw", drawing.text[:200], partial(self._draw, drawing=drawing))
        job.result = {"drawing": drawing.id}
        self.tell(drawing)
        return job

    def tell(self, drawing: Drawing) -> None:
        """Tell every page how a drawing stands."""
        self.jobs.publish({"type": "drawing", "drawing": self.history.card(drawing)})

    def _draw(self, job: Job, drawing: Drawing) -> dict[str, Any]:
        from dfprompt.web.drawing import draw

        pipeline, board = self._loaded()
        try:
            with remarks_in(job):
                draw(drawing, pipeline, board, self.history, job, self.settings(drawing.settings), self.tell)
        finally:
            self.tell(drawing)
        return {"drawing": drawing.id}

    def standings(self, drawing: Drawing) -> list[dict[str, Any]]:
        """Return a drawing's columns in every score, where the scores are loaded."""
        if self._board is None:
            return []
        from dfprompt.web.drawing import standings

        return standings(self.history.rows(drawing), self._board.columns())

    def export(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a prompt in the forms of other tools and as a command."""
        from dfprompt.web.exporting import export_all

        text, settings = read_text(values), values.get("settings")
        negative = _negative(values.get("negative"), self.reader_of(settings))
        steps = self.plan_of(settings)(DFPrompt()).num_inference_steps
        chosen = self.settings(settings)
        return export_all(
            text,
            negative,
            steps,
            chosen,
            str(self.request.pipeline),
            self.policy_name,
            _seeds(values.get("seeds", [0])),
        )

    def tune(self, values: Mapping[str, Any]) -> Job:
        """Search words, ranges and weights for a prompt by reward, and show each round as it comes."""
        from dfprompt.web.tuning import make_tuning

        prompt = self.reader_of(values.get("settings"))(read_text(values))
        request = make_tuning(prompt, values, self.request, self.settings(values.get("settings")))
        folder = self.history.folder / "searches"
        return self.jobs.submit("tune", str(prompt)[:200], lambda job: self._tune(job, request, folder))

    def _tune(self, job: Job, request: Any, folder: Path) -> dict[str, Any]:
        from dfprompt.web.tuning import tune

        with remarks_in(job):
            return tune(request, self._loaded()[0], folder, job)

    def strip_place(self, drawing: Drawing, label: str, seed: str) -> Path:
        """Return where the steps of a picture lie; raises InputError for a picture the drawing has not."""
        if label not in drawing.labels or seed not in map(str, drawing.seeds):
            raise InputError(f"drawing {drawing.id} has no picture {quote(label)} of seed {quote(seed)}")
        return self.history.place(drawing) / f"steps-{drawing.labels.index(label)}-seed{seed}.png"

    def strip(self, values: Mapping[str, Any]) -> Job:
        """Draw a picture again and keep what it looked like after every step."""
        drawing = self.history.find(str(values.get("drawing")))
        label, seed = str(values.get("label")), str(values.get("seed"))
        place = self.strip_place(drawing, label, seed)
        text = dict(drawing.columns).get(label)
        read = self.reader_of(drawing.settings)
        prompt = DFPrompt.from_plain(drawing.plain) if text is None else read(text)
        plan = self.plan_of(drawing.settings)(prompt)

        def work(job: Job) -> dict[str, Any]:
            from dfprompt.web.steps import draw_strip

            pipeline, _ = self._loaded()
            if not place.is_file():
                with remarks_in(job):
                    settings = self.settings(drawing.settings)
                    draw_strip(pipeline, prompt, int(seed), settings, drawing.negative, job.report, place)
            told = {"drawing": drawing.id, "label": label, "seed": int(seed)}
            return {**told, "texts": [step.text for step in plan.steps]}

        return self.jobs.submit("strip", f"steps of {label}, seed {seed}", work)

    def suggest(self, values: Mapping[str, Any]) -> Job:
        """Ask the policy for rewrites of a prompt, whose own words and spans stay."""
        from dfprompt.requests.write import OptimizeRequest

        text = read_text(values)
        prompt = self.reader_of(values.get("settings"))(text)
        given = {
            name: values[name] for name in ("candidates", "seed", "ban", "max_modifiers") if name in values
        }
        request = make_request(OptimizeRequest, {"texts": [str(prompt)], "policy": self.policy_name, **given})
        if not prompt.plain_text.strip():
            raise InputError("write what the picture shows first; then words can be suggested")
        return self.jobs.submit("suggest", text[:200], lambda job: self._suggest(job, text, prompt, request))

    def _suggest(self, job: Job, text: str, prompt: DFPrompt, request: Any) -> dict[str, Any]:
        from dfprompt.web.suggesting import suggest

        with remarks_in(job):
            pipeline, _ = self._loaded()
            if request.policy not in self._policies:
                from dfprompt.api.policies import load_policy

                self._policies[request.policy] = load_policy(
                    request.policy, device=self.request.device, companions=companions_of(pipeline)
                )
            return suggest(text, prompt, self._policies[request.policy], request, pipeline)


def _columns(asked: Any, plain: str, read: Callable[[str], DFPrompt]) -> tuple[tuple[str, str], ...]:
    """Return labels and prompts of what is drawn beside plain, without what is plain itself."""
    if not isinstance(asked, list) or len(asked) > MOST_COLUMNS:
        raise InputError(f"columns are a list of at most {MOST_COLUMNS}, not {quote(asked)}")
    found: dict[str, str] = {}
    for each in asked:
        if not isinstance(each, dict) or not isinstance(each.get("label"), str):
            raise InputError(f'a column has a "label" and a "text", not {quote(each)}')
        label, text = each["label"].strip()[:60], read_text(each)
        if not label or label == "plain" or label in found:
            raise InputError(f"the columns need different labels, not {quote(label)}")
        prompt = read(text)
        if prompt != DFPrompt.from_plain(plain) and prompt.plain_text.strip():
            found[label] = text
    return tuple(found.items())


def _seeds(given: Any) -> tuple[int, ...]:
    fits = isinstance(given, list) and 0 < len(given) <= StudioRequest.most_seeds
    if not fits or not all(type(seed) is int and 0 <= seed < 2**53 for seed in given):
        raise InputError(f"seeds are 1 to {StudioRequest.most_seeds} whole numbers, not {quote(given)}")
    if len(set(given)) < len(given):
        raise InputError(f"a seed stands twice among {quote(given)}")
    return tuple(given)


def _negative(given: Any, read: Callable[[str], DFPrompt]) -> str | None:
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    text = read_text({"text": given})
    read(text)
    return text


def folder_of(request: StudioRequest, default: str) -> Path:
    """Return where the history lies."""
    return Path(default if request.output is None else request.output)
