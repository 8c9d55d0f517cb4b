"""The first pictures on somebody's own model: look what is there, say what it costs, then draw.

Nothing heavy is imported or loaded before the plan is made; no weights of any score are needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.api.checks import check_device_name, check_pipeline
from dfprompt.api.companions import MINI, companions_of
from dfprompt.api.world import mini_folder
from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.conditioning.identify import INDEX, read_class
from dfprompt.conditioning.reach import read_results
from dfprompt.errors import LoadError, UnsupportedPipelineError
from dfprompt.pipeline.weight_files import read_header
from dfprompt.published import USUAL_SCORES, missing_weights
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.render import GenerateRequest, Offload, RenderRequest
from dfprompt.requests.spoken import command_line, quote_word
from dfprompt.requests.start import StartRequest
from dfprompt.sources import Download, check_device, hub_id_of, measure_download

if TYPE_CHECKING:
    from dfprompt.api.comparison import ComparisonRun
    from dfprompt.prompt import DFPrompt

TEXT, VARY = "a red house in the snow", "watercolor"
_ROWS = 5  # plain, all the time, early, late, late and gently
_ROOM = 2.0  # GB that drawing one picture takes beside the weights, generously
_PLACES = ("", "models")
_ALWAYS = ("vary", "seeds", "rewards", "pipeline")  # said even where they are the defaults


@dataclass(frozen=True)
class Model:
    """What draws, as far as can be told without loading it. Sizes are GB of weights in half precision."""

    source: str
    what: str
    weighs: float = 0.0
    largest: float = 0.0
    download: Download | None = None


@dataclass(frozen=True)
class StartPlan:
    """What will happen: the model, where it fits, the request that draws, and a line per step."""

    model: Model
    memory: float
    offload: Offload
    request: CompareRequest
    steps: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return model, what, gigabytes, download (GB), memory, offload, steps, command."""
        return {
            "model": self.model.source,
            "what": self.model.what,
            "gigabytes": round(self.model.weighs, 3),
            "download": None if self.model.download is None else self.model.download.gigabytes,
            "memory": self.memory,
            "offload": self.offload,
            "steps": list(self.steps),
            "command": self.command,
        }

    @property
    def command(self) -> str:
        """The command that draws the same without any question."""
        offload = self.request.offload if self.request.offload != "none" else self.offload
        return command_line("compare", self.request.model_copy(update={"offload": offload}), _ALWAYS)

    def next_commands(self, late: DFPrompt) -> list[str]:
        """What may be asked now: four times the noises, the late picture by itself, and elsewhere."""
        several = min(4 * len(self.request.numbers), CompareRequest.most_seeds)
        goes_on = self.request.output is not None
        more = self.request.model_copy(update={"seeds": several, "resume": goes_on, "force": False})
        shared = {name: getattr(self.request, name) for name in RenderRequest.model_fields}
        alone = GenerateRequest(texts=[str(late)], seed=self.request.seed, **shared)
        return [
            command_line("compare", more, _ALWAYS),
            command_line("generate", alone, ("pipeline",)),
            f"dfprompt convert {quote_word(str(late))} --to comfyui",
        ]


def find_models(around: Path = Path()) -> list[str]:
    """Return the models that lie here: mini, folders and files in . and models/, and the hub's cache."""
    found = []
    for place in _PLACES:
        folder = around / place
        if folder.is_dir():
            here = sorted(folder.iterdir())
            found += [str(path) for path in here if (path / INDEX).is_file()]
            found += [str(path) for path in here if path.suffix == ".safetensors"]
    cache = hub_cache()
    if cache.is_dir():
        indices = sorted(cache.glob(f"models--*/snapshots/*/{INDEX}"))
        names = [path.parents[2].name.removeprefix("models--").replace("--", "/") for path in indices]
        found += [f"hub:{name}" for name in dict.fromkeys(names)]
    return [MINI, *found]


def hub_cache() -> Path:
    """Return the folder where downloads from the hub are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def look_at_model(source: str) -> Model:
    """Return what can be told of a model without loading it; only a hub id that is not here is asked for.

    Raises LoadError for what is none, UnsupportedPipelineError for a pipeline that no word can steer.
    """
    check_pipeline(source)
    folder = mini_folder("pipeline") if source == MINI else Path(source)
    if folder.is_file():
        weighs = _weigh([folder])
        return Model(source, "a single file; its family is found when it is loaded", weighs, weighs)
    download = None
    if not folder.is_dir():
        hub_id = hub_id_of(source)
        if hub_id is None:
            raise LoadError(f"{source} is neither a folder, nor a file, nor a hub id (hub:owner/name)")
        snapshots = sorted(
            (hub_cache() / f"models--{hub_id.replace('/', '--')}").glob(f"snapshots/*/{INDEX}")
        )
        if not snapshots:
            from dfprompt.pipeline.hub import choose_files

            download = measure_download(hub_id, choose_files)
            return Model(source, "a model of the hub", download.gigabytes, download.gigabytes, download)
        folder = snapshots[-1].parent
    what = describe_class(read_class(folder / INDEX))
    parts = [_weigh(_plain_files(part)) for part in sorted(folder.iterdir()) if part.is_dir()]
    return Model(source, what, sum(parts), max(parts, default=0.0))


def describe_class(name: str) -> str:
    """Return what a pipeline class can do with a DF-Prompt, by what is stored of it.

    >>> describe_class("StableDiffusionXLPipeline")
    'Stable Diffusion XL: ranges and weights'
    """
    known = find_capabilities([name])
    if known is not None:
        return f"{known.title}: ranges and weights"
    found = read_results()["classes"].get(name, {})
    if found.get("verdict") in ("refused", "differs"):
        why = found.get("reason", "it differs from a switch by hand")
        raise UnsupportedPipelineError(
            f"no word of a {name} can be steered ({why}); dfprompt capabilities --classes lists what can"
        )
    return f"{name}: ranges, by what its denoiser hears"


def _plain_files(part: Path) -> list[Path]:
    files = sorted(part.glob("*.safetensors"))
    plain = [path for path in files if path.name.count(".") == 1]
    return plain or files


def _weigh(files: Sequence[Path]) -> float:
    """GB of weights in half precision, read off the files' headers."""
    total = 0.0
    for path in files:
        for tensor in read_header(path).values():
            start, end = tensor["data_offsets"]
            total += (end - start) / (2 if tensor.get("dtype") == "F32" else 1)
    return total / 1e9


def gpu_memory() -> float:
    """Return the GB of the largest GPU the driver names, 0 where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0.0
    try:
        said = subprocess.run(
            [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout
        return max((float(line) for line in said.split()), default=0.0) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0.0


def choose_offload(model: Model, memory: float) -> tuple[Offload, str]:
    """Return the --offload that fits and one line that says why; sizes in GB.

    >>> choose_offload(Model("x", "", 6.9, 5.1), 8.0)[0]
    'model'
    """
    large = model.weighs >= 0.1
    size = f"{model.weighs:.1f} GB of weights" if large else f"{1000 * model.weighs:.0f} MB of weights"
    if not memory:
        pace = "; minutes per picture with a large model" if large else ""
        return "none", f"no GPU: drawn on the CPU ({size}){pace}"
    if memory >= model.weighs + _ROOM:
        return "none", f"{size} fit into {memory:g} GB of GPU memory"
    if memory >= model.largest + _ROOM:
        return "model", f"{size} do not fit into {memory:g} GB at once: parts take turns (--offload model)"
    return "sequential", f"{size} in {memory:g} GB: layer by layer, slowly (--offload sequential)"


def plan_start(request: StartRequest) -> StartPlan:
    """Look what is there and return what will be done; nothing is loaded, drawn or downloaded.

    Raises LoadError for a model that is not there, with what to do.
    """
    check_device_name(request.device)
    model = look_at_model(str(request.pipeline or MINI))
    memory = gpu_memory() if request.memory is None else request.memory
    if request.device == "cpu":
        memory = 0.0
    offload, fits = choose_offload(model, memory)
    rewards = request.rewards or ("none",)
    drawing = CompareRequest(
        **{name: getattr(request, name) for name in _SHARED},
        pipeline=model.source,
        texts=[request.text or TEXT],
        vary=[request.vary or VARY],
        rewards=rewards,
        offload=offload if request.offload == "none" and _gpu_is_there() else request.offload,
    )
    steps = [f"model: {model.source}, {model.what}; {_download_of(model)}", f"memory: {fits}"]
    pictures = _ROWS * len(request.numbers)
    count = f" of {request.num_inference_steps} steps" if request.num_inference_steps else ""
    steps.append(
        f"pictures: {pictures}{count}, {_ROWS} rows on the same {len(request.numbers)} noises; no policy; "
        f"time on this machine not measured"
    )
    steps.append(_scores_of(rewards, str(request.pipeline or MINI)))
    return StartPlan(model, memory, offload, drawing, tuple(steps))


_SHARED = [
    name
    for name in StartRequest.model_fields
    if name in CompareRequest.model_fields and name not in ("pipeline", "vary", "rewards", "offload", "texts")
]


def _download_of(model: Model) -> str:
    if model.download is None:
        return "no download"
    return f"download {model.download.gigabytes:.2f} GB, licence {model.download.licence}"


def _scores_of(rewards: Sequence[Any], pipeline: str) -> str:
    named = [each for each in rewards if isinstance(each, str) and each != "none"]
    if not named:
        if companions_of(pipeline).rewards:
            return "scores: none asked for; --reward mini scores these pictures, without a download"
        missing = missing_weights(USUAL_SCORES)
        if missing:
            return (
                f"scores: none, and none are needed; --reward clip would fetch {missing[0].size} "
                f"({missing[0].hub_id}, licence {missing[0].licence})"
            )
        return "scores: none asked for; --reward clip would download nothing, its weights are here"
    missing = missing_weights(named)
    if not missing:
        return f"scores: {', '.join(named)}; no download"
    listed = ", ".join(f"{each.hub_id} ({each.size}, licence {each.licence})" for each in missing)
    return f"scores: {', '.join(named)}; download {listed}"


def _gpu_is_there() -> bool:
    from dfprompt.errors import ConfigError

    try:
        check_device("cuda")
    except ConfigError:
        return False
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all") != ""


def start_drawing(plan: StartPlan, *, progress: bool = False) -> ComparisonRun:
    """Fetch what is missing (the caller has the user's yes) and draw the plan's pictures."""
    named = [each for each in plan.request.rewards if isinstance(each, str)]
    if missing := missing_weights(named):
        from dfprompt.rewards.weights import find_source

        for each in missing:
            find_source(f"hub:{each.hub_id}", Path(), each.files)
    from dfprompt.api.comparison import compare_prompts

    return compare_prompts(plan.request, progress=progress)
