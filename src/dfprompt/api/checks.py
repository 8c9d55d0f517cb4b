"""What can be refused before anything heavy is loaded: one check per request, without torch or diffusers."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.api.companions import HOW_TO_GET_A_POLICY, MINI, choose_lexicon, companions_of, writer_of
from dfprompt.api.method_names import check_methods
from dfprompt.api.world import MINI_POLICIES, mini_folder
from dfprompt.api.written import plain_of, read_base, read_written
from dfprompt.config.recipes import find_recipe
from dfprompt.endpoint import check_url, is_url
from dfprompt.errors import ConfigError, DFPromptWarning, ImageFileError, InputError, LoadError
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, read_plain_prompts
from dfprompt.modelfiles import read_small_json
from dfprompt.pipeline.weight_files import refuse_pickle
from dfprompt.policy.tastes import parse_taste, strengths_of
from dfprompt.prompt.keeping import check_keep
from dfprompt.prompt.reading import NATIVE, read_prompt
from dfprompt.published import USUAL_SCORES, check_reward_names, check_weights
from dfprompt.search.budget import Budget
from dfprompt.search.candidates import SpanSpace
from dfprompt.search.starter import NAME as STARTER
from dfprompt.search.styles import find_style
from dfprompt.sources import DTYPES, check_device, is_hub_id, looks_like_file, peek_cached
from dfprompt.storage import check_free, check_writable

if TYPE_CHECKING:  # each command imports its own request alone
    from dfprompt.requests.base import Request
    from dfprompt.requests.compare import CompareRequest, TuneRequest
    from dfprompt.requests.evaluate import (
        AblateModifiersRequest,
        AblateRequest,
        AttributionRequest,
        EvaluateRequest,
        MeasureRequest,
    )
    from dfprompt.requests.learn import CalibrateRequest, CurateRequest, LearnRequest, RunRequest
    from dfprompt.requests.render import DeviceRequest, GenerateRequest, RenderRequest
    from dfprompt.requests.score import JudgeCheckRequest, ScoreImagesRequest, ScoreRequest
    from dfprompt.requests.start import StartRequest
    from dfprompt.requests.studio import StudioRequest
    from dfprompt.requests.taste import TasteRequest
    from dfprompt.requests.write import InspectRequest, OptimizeRequest

STDIN = ["-"]


def check(request: Request) -> None:
    """Raise InputError, ConfigError or LoadError for a request that cannot be met, in a moment.

    What only a loaded model can tell is left to it.
    """
    for kind in type(request).__mro__:
        if kind.__name__ in _CHECKS:
            _CHECKS[kind.__name__](request)
            return


def _check_generate(request: GenerateRequest) -> None:
    if list(request.texts) != STDIN and request.dialect == NATIVE:
        check_prompts(request.texts, plain=request.plain)
    check_drawing(request)
    check_output(request.output)


def _check_comparison(request: CompareRequest) -> None:
    check_drawing(request)
    check_scores(request)
    check_output(request.output)
    _check_style(request)
    writer = writer_of(request, companions_of(request.pipeline))
    check_taste(request.taste, writer)
    texts = [] if list(request.texts) == STDIN else list(request.texts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        written = read_written(request)
        plain = [read_prompt(text, plain=not request.df).plain_text for text in texts]
    for each in written if texts or not request.texts else ():
        plain_of(each, plain)
    if not written and not request.vary and writer is None:
        raise InputError(f"nothing to compare with plain: {HOW_TO_GET_A_POLICY}")


def _check_studio(request: StudioRequest) -> None:
    check_drawing(request)
    check_scores(request)
    check_output(request.output)


def _check_search(request: TuneRequest) -> None:
    check_keep(request.keep)
    Budget(request.images, request.minutes, request.best_of_n)
    choose_lexicon(request.modifiers, companions_of(request.pipeline))
    if request.only is not None and request.text != STDIN[0]:
        SpanSpace(read_prompt(request.text), request.only)
    _check_drawn_and_scored(request)


def _check_evaluation(request: EvaluateRequest) -> None:
    check_methods([each for each in request.methods if isinstance(each, str)])
    own = companions_of(request.pipeline).policy if request.policy is None else request.policy
    named = [str(method).partition("=") for method in request.methods if isinstance(method, str)]
    others = [source for _, _, source in named if source and Path(source).is_dir()]
    check_taste(request.taste, next((each for each in others if known_tastes(each)), own))
    if not isinstance(request.prompts, str | Path):
        _check_rewrites(request.methods, as_prompts(request.prompts))
    elif str(request.prompts) != MINI:
        _check_rewrites(request.methods, read_plain_prompts(request.prompts))
    choose_lexicon(request.modifiers, companions_of(request.pipeline))
    check_keep(request.keep)
    _check_rows(request)
    _check_reference(request)
    _check_drawn_and_scored(request)


def _check_reference(request: EvaluateRequest) -> None:
    """Refuse, before hours of drawing, what distances between sets of pictures cannot be measured with."""
    if request.reference is not None:
        from dfprompt.images.reading import list_image_files

        list_image_files(request.reference)
    folder = request.embedder
    if isinstance(folder, str | Path) and folder != MINI and not (Path(folder) / "config.json").is_file():
        raise LoadError(
            f"{folder}: no config.json; a CLIP model is a folder written by CLIPModel.save_pretrained"
        )


def _check_rows(request: MeasureRequest) -> None:
    """Refuse to go on where nothing was begun: such a folder is mistyped."""
    if request.resume and not (Path(request.output) / ROWS).is_file():
        raise InputError(f"{request.output} holds no {ROWS} to go on with; leave --resume out to begin there")


def _check_rewrites(methods: Sequence[object], prompts: Sequence[PlainPrompt]) -> None:
    """Refuse files of rewrites that cannot be read or lack prompts."""
    specs = [each.partition("=") for each in methods if isinstance(each, str)]
    for name, _, source in specs:
        if source and Path(source).is_file():
            from dfprompt.evaluation.methods import FileMethod, check_complete

            check_complete(FileMethod(source, name), prompts)


def _check_ablation(request: AblateModifiersRequest) -> None:
    if isinstance(request.prompts, str | Path) and str(request.prompts) != MINI:
        read_plain_prompts(request.prompts)
    choose_lexicon(request.modifiers, companions_of(request.pipeline))
    _check_rows(request)
    _check_drawn_and_scored(request)


def _check_attribution(request: AttributionRequest) -> None:
    _check_rows(request)
    if isinstance(request.df_prompt, str) and request.dialect == NATIVE:
        check_prompts([request.df_prompt], plain=False)
    _check_drawn_and_scored(request)


def _check_drawn_and_scored(request: TuneRequest | EvaluateRequest | AblateRequest) -> None:
    check_output(request.output)
    check_scores(request)
    check_drawing(request)
    if not request.rewards and not companions_of(request.pipeline).rewards:
        check_weights(USUAL_SCORES)


def _check_calibration(request: CalibrateRequest) -> None:
    check_free([Path(request.output)], force=request.force, name="choose another name")
    check_device_name(request.device)
    check_dtype(request)


def _check_run(request: RunRequest) -> None:
    check_output(request.output)
    if request.recipe is not None:
        find_recipe(request.recipe)


def _check_curation(request: CurateRequest) -> None:
    _check_run(request)
    check_device_name(request.device)
    check_dtype(request)
    if request.pipeline is not None:
        check_pipeline(request.pipeline)


def _check_rewriting(request: OptimizeRequest) -> None:
    if list(request.texts) != STDIN:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DFPromptWarning)  # said when the words are really read
            for text in request.texts:
                read_base(text, df=request.df)
    check_device(request.device)
    check_taste(request.taste, request.writer)
    _check_style(request)


def _check_style(request: OptimizeRequest | CompareRequest) -> None:
    """Refuse a look nobody knows, and say that a policy named beside one does not write."""
    if request.style is None:
        return
    find_style(request.style)
    if request.policy not in (type(request).model_fields["policy"].default, STARTER):
        warnings.warn(
            f"--style {request.style} writes by rules, so --policy {request.policy} does not write here",
            DFPromptWarning,
            stacklevel=3,
        )


def _check_start(request: StartRequest) -> None:
    check_device_name(request.device)
    check_dtype(request)
    check_output(request.output)
    check_reward_names([each for each in (*request.rewards, *request.judges) if isinstance(each, str)])
    if request.pipeline is not None:
        check_pipeline(request.pipeline)


def _check_inspection(request: InspectRequest) -> None:
    check_device_name(request.device)
    check_dtype(request)
    if request.output is not None:
        check_free([request.output], force=request.force, name="choose another name")
    if request.pipeline is not None:
        check_pipeline(request.pipeline)


def _check_place(request: TasteRequest | LearnRequest) -> None:
    check_output(request.output)


def _check_judging(request: JudgeCheckRequest) -> None:
    check_device_name(request.device)
    check_sources(request.judges, allow_code=request.allow_code)
    check_output(request.output)


def _check_scoring(request: ScoreImagesRequest) -> None:
    for image in () if list(request.images) == STDIN else request.images:
        with contextlib.suppress(ValueError, OSError):  # what else is wrong with a file is said on reading it
            if not Path(image).exists():
                raise ImageFileError(f"{image}: no such file")
    check_device_name(request.device)
    check_scores(request)


def check_taste(taste: str | None, policy: object) -> None:
    """Refuse what is no taste, and one the policy has not learnt; only loading tells that of a hub id."""
    if taste is None:
        return
    mix = parse_taste(taste)
    if policy is None:
        raise InputError("--taste says whom a policy writes for, and none writes here; name one by --policy")
    names = known_tastes(policy)
    if names is not None:
        strengths_of(mix, names, str(getattr(policy, "name", policy)))


def known_tastes(policy: object) -> list[str] | None:
    """The tastes a policy's own config names; None where only loading it can tell."""
    if not isinstance(policy, str | Path):
        return list(getattr(policy.model.config, "tastes", ())) if hasattr(policy, "model") else []
    name = str(policy)
    folder = mini_folder(MINI_POLICIES[name]) if name in MINI_POLICIES else Path(policy)
    if not folder.is_dir():
        return [] if name.partition(":")[0] == STARTER else None
    configs = [each for each in (folder / "config.json", folder / "policy" / "config.json") if each.is_file()]
    found = read_small_json(configs[0]).get("tastes", []) if configs else []
    return [str(each) for each in found] if isinstance(found, list) else []


def check_prompts(texts: Sequence[str], *, plain: bool) -> None:
    """Refuse what is no prompt; what is only remarkable is said when the prompt is read for drawing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        for text in texts:
            read_prompt(text, plain=plain)


def check_drawing(request: RenderRequest) -> None:
    """Refuse a device that is not there, a precision nobody knows, a pipeline that is no file or folder."""
    check_device_name(request.device)
    check_dtype(request)
    check_pipeline(request.pipeline)


def check_device_name(device: object) -> None:
    """Refuse the name of a device that cannot be there."""
    if isinstance(device, str):
        check_device(device)


def check_dtype(request: DeviceRequest) -> None:
    """Refuse a precision that is none of the three."""
    if isinstance(request.dtype, str) and request.dtype not in ("auto", *DTYPES):
        raise ConfigError(f"there is no dtype {quote(request.dtype)}; use auto, {', '.join(DTYPES)}")


def check_pipeline(pipeline: object) -> None:
    """Refuse the name of a pipeline that is neither mini, a file, a folder, nor may be on the hub."""
    if not isinstance(pipeline, str | Path) or str(pipeline) == MINI:
        return
    refuse_pickle(Path(pipeline))
    if Path(pipeline).exists():
        return
    name = str(pipeline).removeprefix("hub:")
    if not is_hub_id(name) or looks_like_file(name):
        raise LoadError(f"{quote(name)} is neither a folder, nor a file, nor a hub id (owner/name)")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true") and not peek_cached(name):
        raise LoadError(
            f"{quote(name)} is no folder here, and as a hub id it is not in the local cache, which "
            "HF_HUB_OFFLINE forbids to fill; name a folder, or unset HF_HUB_OFFLINE"
        )


def check_output(output: str | Path | None) -> None:
    """Refuse a folder that cannot be made or written into."""
    if output is not None:
        check_writable(Path(output))


def check_scores(request: ScoreRequest) -> None:
    """Refuse rewards and judges whose files or weights are not there, and code without permission."""
    check_sources((*request.rewards, *request.judges), allow_code=request.allow_code)


def check_sources(sources: Sequence[object], *, allow_code: bool) -> None:
    """Refuse scores whose files or weights are not there, no addresses, and code without permission."""
    named = [each for each in sources if isinstance(each, str)]
    check_reward_names(named)
    check_weights(named)
    for source in named:
        if is_url(source):
            check_url(source)
            continue
        if source.endswith(".toml") and not Path(source.removeprefix("taste:")).is_file():
            raise ConfigError(f"cannot read the recipe {source}: there is no such file")
        file, colon, _ = source.rpartition(":")
        if colon and file.endswith(".py"):
            if not Path(file).is_file():
                raise LoadError(f"{source}: there is no file {file}")
            if not allow_code:
                raise ConfigError(
                    f"the reward {source} is code, which would be run; pass --allow-code if you trust it"
                )


# By name, so that a check imports no other command's request.
_CHECKS: dict[str, Callable[[Any], None]] = {
    "GenerateRequest": _check_generate,
    "CompareRequest": _check_comparison,
    "TuneRequest": _check_search,
    "StudioRequest": _check_studio,
    "EvaluateRequest": _check_evaluation,
    "AblateModifiersRequest": _check_ablation,
    "AttributionRequest": _check_attribution,
    "CalibrateRequest": _check_calibration,
    "TasteRequest": _check_place,
    "LearnRequest": _check_place,
    "RunRequest": _check_run,
    "CurateRequest": _check_curation,
    "OptimizeRequest": _check_rewriting,
    "InspectRequest": _check_inspection,
    "StartRequest": _check_start,
    "ScoreImagesRequest": _check_scoring,
    "JudgeCheckRequest": _check_judging,
}
