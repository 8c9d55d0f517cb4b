"""The report of a comparison: one HTML file that carries its pictures and asks nobody for anything.

No script, no address outside the file and its folder; a content policy in the page holds the browser to
that. Every text is escaped: prompts are untrusted input.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote as quote_url

from PIL import Image
from torch import Tensor

from dfprompt.evaluation.contest import Match, Shot, Standing, rank
from dfprompt.evaluation.tables import format_number
from dfprompt.excerpt import printable
from dfprompt.images.grid import make_grid
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.rows import PLAIN
from dfprompt.prompt.picture import draw_plan

THUMBNAIL = 256  # pixels of the longer side
_MAX_COLUMNS = 8  # of the grid; the report shows every seed
_CAPTION_SCORES = 3

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --pale: #5d6679; --line: #d9dee8; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9f0; --pale: #9aa4b8; --line: #333b4d; --paper: #151922; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 ui-sans-serif, system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin-bottom: .4rem; }
p.note, figcaption, th { color: var(--pale); } .scroll { overflow-x: auto; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 256px; }
figure img { width: 256px; height: auto; border-radius: 6px; display: block; }
figure img.small { image-rendering: pixelated; } figcaption { font-size: .85rem; }
img.plan { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { text-align: right;
  padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""


def make_report(match: Match, files: Mapping[tuple[int, str, int], str], *, note: str = "") -> str:
    """Return the page; `files` are the pictures' names, relative to it, by (contest, label, seed)."""
    request = match.pictures.request
    settings = request.settings
    drawn = (
        f"{match.pictures.pipeline.name}: {settings.num_inference_steps} steps of {settings.scheduler}, "
        f"guidance {settings.guidance_scale:g}"
        if settings.guidance_scale is not None
        else f"{match.pictures.pipeline.name}: {settings.num_inference_steps} steps of {settings.scheduler}"
    )
    size = f"{match.pictures.images.shape[3]}x{match.pictures.images.shape[2]}"
    head = [
        f"<p>{_text(drawn)}, pictures of {size} pixels, seeds {_text(_numbers(match.seeds))}. "
        "The pictures of one column start from the same noise. Scores are taken on the plain words.</p>",
        *([f'<p class="note">{_text(note)}</p>'] if note else []),
    ]
    body = [line for number in range(len(match.contests)) for line in _contest(match, number, files)]
    overall = []
    if len(match.contests) > 1:
        overall = ["<h2>All prompts together</h2>", *_standings(match, rank(match))]
    return _page("Plain and optimised, from the same seeds", [*head, *body, *overall, *_failures(match)])


def _contest(match: Match, number: int, files: Mapping[tuple[int, str, int], str]) -> list[str]:
    contest = match.contests[number]
    lines = [f"<h2>{_text(contest.plain.text)}</h2>"]
    for contender in contest.contenders:
        lines.append(f"<h3>{_text(contender.label)}</h3>")
        if contender.label != PLAIN:
            lines.append(f"<p><code>{_text(str(contender.prompt))}</code></p>")
            lines.append(_timeline(match, number, contender.label))
        figures = [_figure(match, shot, files) for shot in match.of(number, contender.label)]
        lines.append(f'<div class="row">{"".join(figures)}</div>')
    return [*lines, "<h3>Scores</h3>", *_standings(match, rank(match, number))]


def _timeline(match: Match, number: int, label: str) -> str:
    contender = next(each for each in match.contests[number].contenders if each.label == label)
    drawing = draw_plan(match.plan_of(contender.prompt)).encode("utf-8", "replace")
    return (
        f'<img class="plan" alt="When each part of {_text(label)} acts" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}">'
    )


def _figure(match: Match, shot: Shot, files: Mapping[tuple[int, str, int], str]) -> str:
    name = quote_url(files[shot.contest, shot.contender.label, shot.seed])
    source, small = _thumbnail(shot.image)
    kind = ' class="small"' if small else ""
    plain = next(each for each in match.of(shot.contest, PLAIN) if each.seed == shot.seed)
    scores = "<br>".join(_text(line) for line in _score_lines(match, shot, plain))
    return (
        f'<figure><a href="{name}"><img{kind} alt="{_text(shot.contender.label)}, seed {shot.seed}" '
        f'src="{source}"></a><figcaption>seed {shot.seed}<br>{scores}</figcaption></figure>'
    )


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


def _standings(match: Match, standings: Sequence[Standing]) -> list[str]:
    heads = ("score", "prompt", "mean", "difference to plain", "95 % interval", "won", "pairs")
    rows = [_standing_row(match, each) for each in standings]
    units = {each.comparison.units for each in standings if each.comparison}
    over = "seeds: they say nothing about other prompts" if units == {"seeds"} else "prompts"
    return [
        '<div class="scroll"><table>',
        f"<tr>{''.join(f'<th>{_text(head)}</th>' for head in heads)}</tr>",
        *(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows),
        "</table></div>",
        f'<p class="note">Intervals over {over}.</p>' if units else "",
    ]


def _standing_row(match: Match, each: Standing) -> tuple[str, ...]:
    role = match.scoreboard.columns()[each.score]
    name = f"{each.score} (judge)" if role == "judge" else each.score
    mean = "-" if each.mean is None else format_number(each.mean)
    found = each.comparison
    if found is None:
        return name, each.label, mean, "", "", "", ""
    interval = "too few"
    if not math.isnan(found.interval.low):
        interval = " to ".join(format_number(end, sign=True) for end in found.interval)
    difference = format_number(found.difference, sign=True)
    return name, each.label, mean, difference, interval, f"{100 * found.win_rate:.0f} %", str(found.pairs)


def _failures(match: Match) -> list[str]:
    messages = dict.fromkeys(
        f"{name}: {message}" for shot in match.shots for name, message in shot.scored.failed.items()
    )
    if not messages:
        return []
    return ["<h2>Failed</h2><ul>", *(f"<li>{_text(message)}</li>" for message in messages), "</ul>"]


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _text(text: str) -> str:
    return escape(printable(text))


def _page(title: str, body: Sequence[str]) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            *body,
            "</body></html>",
            "",
        ]
    )


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
