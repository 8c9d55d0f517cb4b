"""What a command will draw, said before anything heavy is loaded: pictures, denoiser evaluations, disk."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.companions import MINI, companions_of, writer_of
from dfprompt.api.world import mini_folder
from dfprompt.api.written import plain_of, read_base, read_written
from dfprompt.errors import DFPromptError, DFPromptWarning
from dfprompt.measurement.prompts import read_plain_prompts
from dfprompt.measurement.shards import Shard
from dfprompt.requests.compare import CompareRequest, TuneRequest
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.learn import CurateRequest
from dfprompt.storage import read_json

MANY = 100  # pictures from which on the cost is said unasked
_DEFAULTS = "dfprompt.json"  # where a pipeline's folder keeps steps and size of its own
_ROW = 700  # bytes of a row in a log
_SEARCHES = ("suffix", "suffix-controls", "constant")


@dataclass(frozen=True)
class Cost:
    """Pictures to draw at the most, with so many steps each; `kept` of them become files of this size.

    >>> print(Cost(200, steps=10, size=(512, 512), kept=200))
    200 pictures, at most 2,000 denoiser evaluations (10 steps each), at most 157 MB on disk
    """

    pictures: int
    steps: int | None = None
    size: tuple[int, int] | None = None
    kept: int = 0
    beside: str = ""

    @property
    def evaluations(self) -> int | None:
        """Denoiser evaluations where nothing is shared; None where the pipeline chooses the steps."""
        return None if self.steps is None else self.pictures * self.steps

    @property
    def disk(self) -> int | None:
        """Bytes of pictures that no compression makes smaller, and rows; None for an unknown size."""
        rows = self.pictures * _ROW
        if not self.kept:
            return rows
        return None if self.size is None else rows + self.kept * 3 * self.size[0] * self.size[1]

    def to_json(self) -> dict[str, Any]:
        """Return pictures, evaluations, disk_bytes (null where only the pipeline knows) and beside."""
        known = {"pictures": self.pictures, "evaluations": self.evaluations, "disk_bytes": self.disk}
        return {**known, "beside": self.beside}

    def __str__(self) -> str:
        told = [f"{self.pictures:,} pictures"]
        if self.evaluations is None:
            told.append("the pipeline's own number of steps each")
        else:
            told.append(f"at most {self.evaluations:,} denoiser evaluations ({self.steps} steps each)")
        told.append(
            "size of pictures unknown" if self.disk is None else f"at most {_bytes(self.disk)} on disk"
        )
        return ", ".join(told) + (f"; {self.beside}" if self.beside else "")


def estimate_evaluation(request: EvaluateRequest) -> Cost:
    """What `evaluate` draws where nothing of it is there yet; one shard's share with `shard`."""
    prompts = request.count if str(request.prompts) == MINI else _count(request.prompts)
    methods = [each if isinstance(each, str) else each.name for each in request.methods]
    own = sum(_pictures_of(name) for name in methods) + ("plain" not in methods)
    kept = prompts * len(request.numbers) * len({*methods, "plain"})
    pictures = prompts * len(request.numbers) * own
    if request.shard is not None:
        part = Shard.parse(request.shard)
        pictures, kept = -(-pictures // part.of), -(-kept // part.of)
    given = {"suffix": request.suffix, "suffix-controls": None, "constant": request.constant}
    has_validation = request.pipeline == MINI or request.validation is not None
    searches = [
        name for name in methods if name in _SEARCHES and not (name != "suffix-controls" and given[name])
    ]
    if searches and has_validation and request.validation_images:
        pictures += request.validation_images * len(searches)
    return Cost(pictures, *_drawing(request), kept)


def estimate_comparison(request: CompareRequest) -> Cost:
    """What `compare` draws: rewrites that turn out the same are drawn once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)  # said when the words are read for drawing
        texts = [read_base(each, df=request.df).plain_text for each in request.texts]
        written = read_written(request)
    plain = {*texts, *(plain_of(each, texts) for each in written)}
    writes = writer_of(request, companions_of(request.pipeline)) is not None
    rewrites = writes * request.candidates + 4 * len(request.vary)
    pictures = (len(plain) + len(texts) * rewrites + len(written)) * len(request.numbers)
    return Cost(pictures, *_drawing(request), pictures)


def estimate_search(request: TuneRequest) -> Cost:
    """What `tune` draws: the pictures it was given."""
    return Cost(request.images, *_drawing(request), request.images)


def estimate_curation(request: CurateRequest) -> Cost:
    """What `curate` draws: the text is cleaned to know it; pictures are scored and not kept."""
    from dfprompt.api.curation import read_curation, records_of
    from dfprompt.data.cleaning import iter_pairs
    from dfprompt.data.records import Pair

    settings = read_curation(request.source, request.recipe, request.changes)
    if not settings.confidence.enabled:
        return Cost(0)
    found = iter_pairs(records_of(request.source, settings), settings.short_form, settings.cleaning)
    pairs = {pair.measured_as: pair for pair in found if isinstance(pair, Pair)}
    drawn = sum(pair.record.image is None for pair in pairs.values())
    plain = {pair.short for pair in pairs.values() if pair.record.plain_image is None}
    pictures = (drawn + len(plain)) * settings.confidence.seeds
    if request.shard is not None:
        pictures = -(-pictures // Shard.parse(request.shard).of)
    steps, size = _own(settings.confidence.pipeline)
    return Cost(pictures, steps, size, beside="a plain picture more where two batches share a prompt")


def estimate_reinforcement(settings: Any) -> Cost:
    """What a stage 2 draws by its resolved recipe: rollouts, and its validations."""
    rollouts, steps = settings.rollout, settings.optimizer.steps
    groups = rollouts.rows // settings.rows_per_prompt
    checked = -(-steps // settings.validation.interval) + 1
    pictures = steps * (rollouts.rows + settings.draws_plain * groups) + checked * settings.validation.rows
    pages = (checked - 1) * settings.validation.samples * 2
    beside = "a plain picture per prompt and rollout more where the reward compares with it"
    return Cost(pictures + pages, *_drawing(settings.pictures), beside=beside)


def estimate_training(algorithm: str, recipe: Any, changes: Sequence[str]) -> Cost:
    """What `train ppo` or `train grpo` draws by a recipe."""
    from dfprompt.api.reinforcement import SETTINGS_OF
    from dfprompt.config import load_config

    return estimate_reinforcement(load_config(SETTINGS_OF[algorithm], recipe, changes))


def _count(prompts: Any) -> int:
    return len(read_plain_prompts(prompts)) if isinstance(prompts, str | Path) else len(prompts)


def _pictures_of(method: str) -> int:
    found = re.match(r"best-of-(\d+)", method)
    return int(found[1]) if found else 1


def _drawing(request: Any) -> tuple[int | None, tuple[int, int] | None]:
    """Return steps and size as asked for, or as the pipeline's folder says."""
    steps, size = _own(request.pipeline)
    if request.height is not None and request.width is not None:
        size = request.height, request.width
    return request.num_inference_steps or steps, size


def _own(pipeline: Any) -> tuple[int | None, tuple[int, int] | None]:
    if not isinstance(pipeline, str | Path):
        return None, None
    place = Path(mini_folder("pipeline") if pipeline == MINI else pipeline) / _DEFAULTS
    try:
        values = read_json(place)
        return values.get("num_inference_steps"), (values["height"], values["width"])
    except (OSError, ValueError, KeyError, AttributeError, DFPromptError):
        return None, None


def _bytes(count: int) -> str:
    """Say a size.

    >>> _bytes(1_500_000), _bytes(2_400_000_000), _bytes(900)
    ('1.5 MB', '2.4 GB', '1 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{max(1, round(count / 1e3))} kB"
