"""`dfprompt evaluate`: methods compared on many prompts, resumable, with tables that carry intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dfprompt.api.baselines import RECORD, BaselineSearch
from dfprompt.api.checks import check
from dfprompt.api.companions import HOW_TO_GET_A_POLICY, MINI, choose_lexicon, companions_of
from dfprompt.api.comparison import budgeted
from dfprompt.api.methods import MethodChoices, load_methods
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.api.scoring import require_scoreboard
from dfprompt.api.workers import drawing_elsewhere, workers_for
from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.evaluation.cmmd import Embedder
from dfprompt.evaluation.evaluation_report import REPORT, list_facts, make_evaluation_report
from dfprompt.evaluation.judge_check import JudgeCheck, read_checks
from dfprompt.evaluation.methods import Method
from dfprompt.evaluation.picture_sets import measure_distances
from dfprompt.evaluation.run import PICTURES, REWRITES, TABLES, Outcome, Plan, run_evaluation
from dfprompt.evaluation.summary import Summary, summarize
from dfprompt.evaluation.tables import format_markdown, write_tables
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS, read_head
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, read_plain_prompts
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shards import Shard
from dfprompt.measurement.shots import Elsewhere, Progress
from dfprompt.pipeline.companions import Companions
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.vendor import find_vendor
from dfprompt.policy import Policy, SamplingSettings
from dfprompt.policy.tastes import parse_taste
from dfprompt.requests.doors import front_door
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.render import RenderSettings
from dfprompt.storage import check_ours, lock_folder, write_text

VALIDATION_IMAGES: int = EvaluateRequest.model_fields["validation_images"].default
_MINI_VALIDATION = 24  # prompts; each has several pictures of every arm that lasts


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """What came out: the rows, the numbers, the tables' files and what stands above them."""

    outcome: Outcome
    summary: Summary
    tables: tuple[Path, ...]
    title: str
    note: str

    def to_markdown(self) -> str:
        """Return the page of tables."""
        return format_markdown(self.summary, title=self.title, note=self.note)

    def to_json(self) -> dict[str, Any]:
        """Return output, tables, prompts, seeds, scores and methods with their numbers, and failures."""
        values = _without_nan(asdict(self.summary))
        for line, written in zip(self.summary.scores, values["scores"], strict=True):
            written["comparison"] = None if line.comparison is None else line.comparison.to_json()
        return {
            "output": str(self.outcome.folder),
            "rows": len(self.outcome.rows),
            "tables": [str(path) for path in self.tables],
            **values,
        }


@front_door(EvaluateRequest, "prompts", "methods", "output")
def evaluate(
    request: EvaluateRequest,
    *,
    sampling: SamplingSettings | None = None,
    progress: Progress | None = None,
) -> EvaluationRun:
    """Compare methods on the same prompts and noise; run again with the same output, it goes on.

    `prompts` is a file as `read_plain_prompts` takes it, "mini" (`count` held-out prompts), or a list;
    `methods` are names as `load_methods` takes them, or objects. The best fixed suffix and the best constant
    control are found on `validation` prompts (a file or a list; the mini world has its own), each search with
    `validation_images` pictures, 0 for no search. `reference` is a folder of pictures the
    methods' distance (CMMD) is measured to, with `embedder` (a CLIPModel folder). Writes rows.jsonl,
    pictures and tables into `output`. Raises EvaluationError for a folder with another evaluation,
    InputError and LoadError for what cannot be read; failures of single methods, pictures and scores
    are rows.

    >>> # run = evaluate("prompts.jsonl", ["plain", "policy"], "out", pipeline="models/sd15")
    """
    check(request)
    human = any(_words_of(method) == "human" for method in request.methods)
    listed = _read_prompts(request.prompts, request.count, human=human)
    if human:
        _check_human(listed)
    folder = Path(request.output)
    validation = companions_of(request.pipeline).prompts if request.validation is None else request.validation
    held_out = _read_validation(validation if request.validation_images else None, listed)
    checks = _read_checks(request.checks)
    check_ours(folder, (TABLES, PICTURES, REWRITES, REPORT), ROWS)
    shard = None if request.shard is None else Shard.parse(request.shard)
    with workers_for(request) as workers:
        here = drawing_elsewhere(request, workers)
        loaded = open_pipeline(here)
        companions = companions_of(loaded)
        board = require_scoreboard(here, companions)
        baselines = _baselines(request, loaded, board, held_out, workers)
        methods = _prepare_methods(request, loaded, companions, sampling, baselines)
        seeds = request.numbers
        plan = Plan(listed, methods, seeds, board, request.settings, request.negative_prompt, seeds[0])
        vectors = None if request.reference is None else _embedder(request.embedder, companions)
        with lock_folder(folder):
            outcome = run_evaluation(
                loaded,
                plan,
                folder,
                retry_failed=request.retry_failed,
                progress=progress,
                elsewhere=workers,
                shard=shard,
            )
            distances = {}
            if request.reference is not None and vectors is not None:
                distances = measure_distances(outcome, Path(request.reference), vectors)
            summary = summarize(outcome, distances=distances, checks=checks)
            return _write_out(outcome, summary, loaded, companions.note)


def _baselines(
    request: EvaluateRequest,
    loaded: ImagePipeline,
    board: Scoreboard,
    held_out: list[PlainPrompt],
    workers: Elsewhere | None,
) -> BaselineSearch | None:
    """What finds the best fixed suffix and constant control, where there are validation prompts for it."""
    if not held_out:
        return None
    return BaselineSearch(
        loaded,
        board,
        held_out,
        request.validation_images,
        Path(request.output) / RECORD,
        request.settings,
        request.negative_prompt,
        elsewhere=workers,
    )


def _prepare_methods(
    request: EvaluateRequest,
    loaded: ImagePipeline,
    companions: Companions,
    sampling: SamplingSettings | None,
    baselines: BaselineSearch | None,
) -> list[Method]:
    """The methods asked for, their policies loaded; raises ConfigError where none writes for the taste."""
    tasted: list[str] = []
    choices = MethodChoices(
        load_policy=_policy_loader(request.policy, companions, device=request.device),
        companions=companions,
        suffix=request.suffix,
        lexicon=[entry.text for entry in choose_lexicon(request.modifiers, companions).entries],
        constant=request.constant,
        sampling=lambda writer: budgeted(_for_taste(sampling, request.taste, writer, tasted), writer, loaded),
        num_inference_steps=loaded.resolve(request.settings).num_inference_steps,
        baselines=baselines,
        pipe=loaded.pipe,
        size=_size(loaded, request.settings),
        llm=request.llm,
        llm_model=request.llm_model,
        keep=tuple(request.keep),
    )
    methods = _load_methods(request.methods, choices)
    if request.taste and not tasted:
        raise ConfigError(f"no method here writes for the taste {quote(request.taste)}")
    return methods


def _write_out(outcome: Outcome, summary: Summary, loaded: ImagePipeline, note: str) -> EvaluationRun:
    """Write tables and page beside the rows."""
    title = f"Evaluation on {loaded.name}"
    tables = write_tables(summary, outcome.folder / TABLES, title=title, note=note)
    page = outcome.folder / REPORT
    vendor = find_vendor(loaded.pipe)
    write_text(page, _report(outcome, summary, title, note, "" if vendor is None else vendor.name))
    return EvaluationRun(outcome, summary, (page, *tables), title, note)


def _report(outcome: Outcome, summary: Summary, title: str, note: str, rewriter: str) -> str:
    head = read_head(outcome.folder / ROWS)
    provenance = head.get("provenance") or {}
    versions = {name: value for name, value in provenance.items() if isinstance(value, str | int)}
    facts = list_facts(head.get("asked") or {}, versions)
    return make_evaluation_report(outcome, summary, title=title, note=note, rewriter=rewriter, facts=facts)


def _size(pipeline: ImagePipeline, drawn: RenderSettings) -> tuple[int, int] | None:
    """Return height and width of the pictures, where they are known before one is drawn."""
    settings = pipeline.resolve(drawn)
    if settings.height is None or settings.width is None:
        return None
    return settings.height, settings.width


def _read_checks(files: Sequence[str | Path]) -> dict[str, JudgeCheck]:
    """Return what judges were checked on, by judge; of two files about one judge the later one counts."""
    return {name: found for file in files for name, found in read_checks(Path(file)).items()}


def _read_prompts(
    prompts: str | Path | Sequence[str | PlainPrompt], count: int, *, human: bool
) -> list[PlainPrompt]:
    if not isinstance(prompts, str | Path):
        return as_prompts(prompts)
    if str(prompts) != MINI:
        return read_plain_prompts(prompts)
    return make_mini_prompts(count, human=human)


def _words_of(method: str | Method) -> str:
    """Return the method whose words a method takes: "human" of best-of-4:human."""
    name = method if isinstance(method, str) else method.name
    return name.rpartition(":")[2]


def _check_human(prompts: Sequence[PlainPrompt]) -> None:
    texts = (prompt.record.get("human") for prompt in prompts)
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigError(
            'the method human needs a prompt file in JSON lines with "human" texts, or one that '
            "`dfprompt curate` wrote"
        )


def _read_validation(
    source: str | Path | Sequence[str | PlainPrompt] | None, tested: Sequence[PlainPrompt]
) -> list[PlainPrompt]:
    """Return the validation prompts, none of which is tested; "mini" are the mini world's own."""
    texts = {prompt.text for prompt in tested}
    if source is None:
        return []
    if source == MINI:
        found = make_mini_prompts(_MINI_VALIDATION, part="validation")
        return [prompt for prompt in found if prompt.text not in texts]
    found = read_plain_prompts(source) if isinstance(source, str | Path) else as_prompts(source)
    if both := [prompt.text for prompt in found if prompt.text in texts]:
        raise InputError(
            f"{len(both)} validation prompts are tested too, such as {quote(both[0])}: what is found on them "
            "would be no baseline; leave them out of one of the files"
        )
    return found


def _load_methods(methods: Sequence[str | Method], choices: MethodChoices) -> list[Method]:
    named = iter(load_methods([each for each in methods if isinstance(each, str)], choices))
    return [next(named) if isinstance(each, str) else each for each in methods]


def _for_taste(
    sampling: SamplingSettings | None, taste: str | None, policy: Policy, tasted: list[str]
) -> SamplingSettings | None:
    """How a policy is drawn from: those with tastes write for the one asked for; `tasted` names them."""
    if taste is None or not getattr(policy.model.config, "tastes", ()):
        return sampling
    tasted.append(policy.name)
    return replace(sampling or SamplingSettings(), taste=parse_taste(taste))


def _policy_loader(policy: str | Path | Policy | None, companions: Companions, *, device: str) -> Any:
    """Return what gives the policy of a name; "policy" is the one asked for, or the pipeline's own."""

    def load(source: str) -> Policy:
        if source == "sft":
            if companions.sft is None:
                raise ConfigError("this pipeline has no method sft; name a policy of your own: sft=FOLDER")
            return _load_sft(companions.sft, device)
        if source != "policy":
            return load_policy(source, device=device, companions=companions)
        if isinstance(policy, Policy):
            return policy
        chosen = companions.policy if policy is None else policy
        if chosen is None:
            raise ConfigError(f"the method policy needs --policy; {HOW_TO_GET_A_POLICY}")
        return load_policy(chosen, device=device, companions=companions)

    return load


def _load_sft(source: str, device: str) -> Policy:
    try:
        return load_policy(source, device=device)
    except LoadError as error:
        raise LoadError(
            f"the pipeline's policy of stage 1 cannot be loaded ({error}); train one with "
            '"dfprompt train sft --recipe recipes/mini-sft.toml --output runs/mini" and name it: '
            "sft=runs/mini/policy"
        ) from error


def _embedder(embedder: Embedder | None, companions: Companions) -> Embedder:
    if embedder == MINI:
        return companions_of(MINI).embedder or MINI
    if embedder is not None:
        return embedder
    if companions.embedder is not None:
        return companions.embedder
    raise ConfigError(
        "CMMD needs --embedder: a folder with a CLIPModel, openai/clip-vit-large-patch14-336 for numbers "
        "that compare with published ones"
    )


def _without_nan(value: Any) -> Any:
    """Return a JSON-ready copy in which what does not exist is None."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value
