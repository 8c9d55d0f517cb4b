"""The report of a comparison: one HTML file that carries its pictures and asks nobody for anything.

No script, no address outside the file and its folder; a content policy in the page holds the browser to
that. Every text is escaped: prompts are untrusted input.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote as quote_url

import jinja2
from PIL import Image
from torch import Tensor

from dfprompt.evaluation.contest import Contender, Match, Shot, Standing, rank
from dfprompt.excerpt import printable
from dfprompt.images.grid import make_grid
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.rows import PLAIN
from dfprompt.prompt.picture import draw_plan
from dfprompt.table import Table, format_ends, format_number

TEMPLATE = "report.html"
THUMBNAIL = 256  # pixels of the longer side
_MAX_COLUMNS = 8  # of the grid; the report shows every seed
_CAPTION_SCORES = 3


def make_report(match: Match, names: Mapping[tuple[int, str, int], str], *, note: str = "") -> str:
    """Return the page; `names` are the pictures' names, relative to it, by (contest, label, seed)."""
    request = match.pictures.request
    settings = request.settings
    drawn = (
        f"{match.pictures.pipeline.name}: {settings.num_inference_steps} steps of {settings.scheduler}, "
        f"guidance {settings.guidance_scale:g}"
        if settings.guidance_scale is not None
        else f"{match.pictures.pipeline.name}: {settings.num_inference_steps} steps of {settings.scheduler}"
    )
    size = f"{match.pictures.images.shape[3]}x{match.pictures.images.shape[2]}"
    several = len(match.contests) > 1
    return _template().render(
        title="Plain and optimised, from the same seeds",
        drawn=drawn,
        size=size,
        seeds=_numbers(match.seeds),
        note=note,
        contests=[_contest(match, number, names) for number in range(len(match.contests))],
        overall=_standings(match, rank(match)) if several else None,
        failures=_failures(match),
    )


def _template() -> jinja2.Template:
    """The page with its holes. Whatever fills one is escaped, and has no character that prints as nothing."""
    found = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return found.from_string(files("dfprompt.evaluation").joinpath(TEMPLATE).read_text(encoding="utf-8"))


def _contest(match: Match, number: int, names: Mapping[tuple[int, str, int], str]) -> dict[str, Any]:
    contest = match.contests[number]
    contenders = []
    for contender in contest.contenders:
        rewritten = contender.label != PLAIN
        contenders.append(
            {
                "label": contender.label,
                "prompt": str(contender.prompt) if rewritten else None,
                "plan": _timeline(match, contender) if rewritten else None,
                "figures": [_figure(match, shot, names) for shot in match.of(number, contender.label)],
            }
        )
    standings = _standings(match, rank(match, number))
    return {"text": contest.plain.text, "contenders": contenders, "standings": standings}


def _timeline(match: Match, contender: Contender) -> str:
    drawing = draw_plan(match.plan_of(contender.prompt)).encode("utf-8", "replace")
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"


def _figure(match: Match, shot: Shot, names: Mapping[tuple[int, str, int], str]) -> dict[str, Any]:
    plain = next(each for each in match.of(shot.contest, PLAIN) if each.seed == shot.seed)
    image, small = _thumbnail(shot.image)
    file = quote_url(names[shot.contest, shot.contender.label, shot.seed])
    scores = _score_lines(match, shot, plain)
    return {"seed": shot.seed, "file": file, "image": image, "small": small, "scores": scores}


def _thumbnail(image: Tensor) -> tuple[str, bool]:
    """Return a data URI of at most THUMBNAIL pixels, and whether the picture is smaller than that."""
    picture = to_pil(image[None])[0]
    small = max(picture.size) <= THUMBNAIL
    if not small:
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if small:
        picture.save(stream, format="PNG")
    else:
        picture.save(stream, format="JPEG", quality=88)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", small


def _score_lines(match: Match, shot: Shot, plain: Shot) -> list[str]:
    """A line per score: its number, and for a rewrite the difference to the plain picture of the seed."""
    lines = []
    for name in match.scoreboard.columns():
        if name not in shot.scored.scores:
            continue
        value = shot.scored.scores[name]
        line = f"{name} {format_number(value)}"
        if shot.contender.label != PLAIN and name in plain.scored.scores:
            line += f" ({format_number(value - plain.scored.scores[name], sign=True)})"
        lines.append(line)
    return lines


def _standings(match: Match, standings: Sequence[Standing]) -> tuple[Table, str]:
    """The table of scores, and over what its intervals are."""
    heads = ("score", "prompt", "mean", "difference to plain", "95 % interval", "won", "pairs")
    table = Table(*heads, rows=[_standing_row(match, each) for each in standings])
    units = {each.comparison.units for each in standings if each.comparison}
    over = "seeds: they say nothing about other prompts" if units == {"seeds"} else "prompts"
    return table, over if units else ""


def _standing_row(match: Match, each: Standing) -> tuple[str, ...]:
    role = match.scoreboard.columns()[each.score]
    name = f"{each.score} (judge)" if role == "judge" else each.score
    mean = "-" if each.mean is None else format_number(each.mean)
    found = each.comparison
    if found is None:
        return name, each.label, mean, "", "", "", ""
    interval = format_ends(found.interval.to_json())
    difference = format_number(found.difference, sign=True)
    return name, each.label, mean, difference, interval, f"{100 * found.win_rate:.0f} %", str(found.pairs)


def _failures(match: Match) -> list[str]:
    return list(
        dict.fromkeys(
            f"{name}: {message}" for shot in match.shots for name, message in shot.scored.failed.items()
        )
    )


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _caption(match: Match, shot: Shot, plain: Shot) -> str:
    """A few scores with few digits: what was optimised and what was only watched, then parts."""
    columns = match.scoreboard.columns()
    order = sorted(columns, key=lambda name: ("reward", "judge", "part").index(columns[name]))
    parts = []
    for name in [name for name in order if name in shot.scored.scores][:_CAPTION_SCORES]:
        value = shot.scored.scores[name]
        part = f"{name} {value:.3g}"
        if shot.contender.label != PLAIN and name in plain.scored.scores:
            part += f" ({value - plain.scored.scores[name]:+.2g})"
        parts.append(part)
    return ", ".join(parts)


def make_comparison_grid(match: Match) -> Image.Image:
    """Return one picture: a row per prompt and rewrite, a column per seed, scores under each picture."""
    seeds = match.seeds[:_MAX_COLUMNS]
    shots = [shot for shot in match.shots if shot.seed in seeds]
    plains = {(shot.contest, shot.seed): shot for shot in match.shots if shot.contender.label == PLAIN}
    captions = [_caption(match, shot, plains[shot.contest, shot.seed]) for shot in shots]
    rows = list(
        dict.fromkeys((shot.contest, shot.contender.label, str(shot.contender.prompt)) for shot in shots)
    )
    height, width = match.pictures.images.shape[2:]
    return make_grid(
        to_pil(match.pictures.images[[match.shots.index(shot) for shot in shots]]),
        captions,
        columns=len(seeds),
        row_titles=[f"{label}: {text}" for _, label, text in rows],
        column_titles=[f"seed {seed}" for seed in seeds],
        title=f"{match.pictures.pipeline.name}, {width}x{height}",
    )
