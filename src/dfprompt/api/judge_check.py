"""`dfprompt judge-check`: judges against choices between two pictures, and the pairs they get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.rewards import score_images
from dfprompt.api.scoring import load_judges
from dfprompt.errors import ConfigError, EvaluationError
from dfprompt.evaluation.judge_check import (
    JudgeCheck,
    Pair,
    check_judge,
    describe_share,
    digest_pairs,
    pair_agreement,
    read_pairs,
    write_checks,
)
from dfprompt.evaluation.pages import render_page, thumbnail
from dfprompt.images.reading import check_pictures, read_image
from dfprompt.images.tensors import to_pil
from dfprompt.requests.doors import front_door
from dfprompt.requests.score import JudgeCheckRequest
from dfprompt.rewards import Score
from dfprompt.storage import check_free, write_text, writing_into
from dfprompt.table import Table, format_number, number

CHECKS, PAGE = "judge-check.json", "judge-check.html"
_MOST_SHOWN = 24
Scores = list[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class JudgeCheckRun:
    """How often each judge agrees, and the files that say so (none without an output folder)."""

    checks: tuple[JudgeCheck, ...]
    files: tuple[Path, ...]

    def to_markdown(self) -> str:
        """Return a table: a row per judge."""
        heads = ("agrees, 95 % interval", "one generator", "two generators", "choices", "its ties", "order")
        table = Table("judge", *map(number, heads))
        for check in self.checks:
            parts = (None if each is None else describe_share(each) for each in (check.same, check.different))
            count = check.agreement.count
            table.add(check.judge, describe_share(check.agreement), *parts, count, check.ties, check.order)
        return table.markdown()

    def to_json(self) -> dict[str, Any]:
        """Return every number and the files."""
        return {
            "judges": [check.to_json() for check in self.checks],
            "files": [str(file) for file in self.files],
        }


@front_door(JudgeCheckRequest, "pairs", "judges")
def check_judges(request: JudgeCheckRequest) -> JudgeCheckRun:
    """Measure how often judges agree with the choices of a file of pairs (see `read_pairs`).

    Every pair is judged in both orders. With `output`, judge-check.json (for `evaluate --checks`) and a page
    of the pairs that are judged otherwise are written there. Raises InputError for files of these names
    without `force`, for a file that cannot be read and for pictures that are none, RewardError where a judge
    fails: an accuracy over what is left would be another one.

    >>> # check_judges("pairs.jsonl", ["hps", "http://127.0.0.1:8642/"]).checks[0].agreement
    """
    if request.output is not None:
        check_free([request.output / CHECKS, request.output / PAGE], force=request.force)
    if not request.judges:
        raise ConfigError("name a judge to check: --judge NAME")
    path = Path(request.pairs)
    pairs = read_pairs(path)
    check_pictures(dict.fromkeys(file for pair in pairs for file in (pair.a, pair.b)))
    options: dict[str, Any] = {
        "device": request.device,
        "dtype": request.dtype,
        "allow_code": request.allow_code,
    }
    loaded = load_judges(request.judges, assignments=request.assignments, **options)
    found: dict[str, tuple[JudgeCheck, Scores, Scores]] = {}
    for label, score in loaded.items():
        forth, back = _judge(score, pairs), _judge(score, pairs, swapped=True)
        check = check_judge(label, pairs, forth, back, pairs_file=path.name, digest=digest_pairs(path))
        found[label] = check, forth, back
    checks = tuple(check for check, _, _ in found.values())
    return JudgeCheckRun(checks, _write(request.output, pairs, found))


def _judge(score: Score, pairs: Sequence[Pair], *, swapped: bool = False) -> Scores:
    """Return a judge's scores of (a, b), the pictures of each pair beside each other in this order."""
    ordered = [(pair.b, pair.a) if swapped else (pair.a, pair.b) for pair in pairs]
    files = [file for both in ordered for file in both]
    prompts = [pair.prompt for pair in pairs for _ in range(2)]
    records = [pair.record for pair in pairs for _ in range(2)]
    values = score_images(files, prompts, [score], records=records)[score.name].tolist()
    both = list(zip(values[::2], values[1::2], strict=True))
    return [(b, a) for a, b in both] if swapped else both


def _write(
    output: str | Path | None, pairs: Sequence[Pair], found: Mapping[str, tuple[JudgeCheck, Scores, Scores]]
) -> tuple[Path, ...]:
    if output is None:
        return ()
    folder = Path(output)
    page = render_page("judge_check.html", judges=[_shown(pairs, *each) for each in found.values()])
    with writing_into(folder, EvaluationError):
        write_checks([check for check, _, _ in found.values()], folder / CHECKS)
        write_text(folder / PAGE, page)
    return folder / CHECKS, folder / PAGE


def _shown(pairs: Sequence[Pair], check: JudgeCheck, forth: Scores, back: Scores) -> dict[str, Any]:
    """Return what a page says of a judge: its agreement and the pairs it gets wrong, the surest first."""
    spread = {row: abs(a - b) for row, (a, b) in enumerate(forth)}
    wrong = [
        row
        for row, pair in enumerate(pairs)
        if (value := pair_agreement(pair, forth[row], back[row])) is not None and value < 0.5
    ]
    wrong.sort(key=lambda row: -spread[row])
    detail = (
        f"{check.undecided} pairs in which nobody chose are left out; to {check.ties} the judge gave one "
    )
    detail += f"score (counted half), {check.order} it judged otherwise with the pictures swapped."
    return {
        "name": check.judge,
        "sentence": check.sentence(),
        "detail": detail,
        "wrong": [_pair(pairs[row], forth[row]) for row in wrong[:_MOST_SHOWN]],
        "left_out": max(0, len(wrong) - _MOST_SHOWN),
    }


def _pair(pair: Pair, scores: tuple[float, float]) -> dict[str, Any]:
    figures = []
    for side, file, score in zip("ab", (pair.a, pair.b), scores, strict=True):
        image, small = thumbnail(to_pil(read_image(file).pixels[None])[0])
        said = "chosen, " if pair.choice == side else ""
        figures.append({"image": image, "small": small, "said": f"{said}judged {format_number(score)}"})
    generators = " and ".join(dict.fromkeys(pair.generators)) if pair.generators else ""
    return {"prompt": pair.prompt, "generators": generators, "figures": figures}
