"""The report of a comparison: one HTML file that carries its pictures, without any script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote as quote_url

from PIL import Image

from dfprompt.evaluation.pages import drawing, render_page, thumbnail
from dfprompt.evaluation.side_by_side import Compared, Rewrite, SideBySide, make_plans
from dfprompt.evaluation.strips import draw_strip, max_weight
from dfprompt.evaluation.summary import ScoreLine
from dfprompt.images.grid import make_grid
from dfprompt.images.reading import read_image
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.prompt.picture import draw_plan
from dfprompt.table import ABSENT, Table, format_ends, format_number

TEMPLATE = "report.html"
_MAX_COLUMNS = 8  # of the grid; the report shows every seed
_CAPTION_SCORES = 3


def make_report(shown: SideBySide, *, note: str = "") -> str:
    """Return the page; it lies beside the pictures."""
    settings, (height, width) = shown.settings, shown.size()
    drawn = f"{shown.pipeline.name}: {settings.num_inference_steps} steps of {settings.scheduler}"
    if settings.guidance_scale is not None:
        drawn += f", guidance {settings.guidance_scale:g}"
    return render_page(
        TEMPLATE,
        title="Plain and optimised, from the same seeds",
        drawn=drawn,
        size=f"{width}x{height}",
        seeds=_numbers(shown.seeds),
        note=note,
        prompts=[_prompt(shown, prompt) for prompt in shown.prompts],
        overall=_table(shown.lines()) if len(shown.prompts) > 1 else None,
        failures=_failures(shown),
    )


def _prompt(shown: SideBySide, prompt: Compared) -> dict[str, Any]:
    rewrites = []
    for each in prompt.all:
        rewritten, same = each.label != PLAIN, shown.same_as(prompt, each)
        beside = [] if same else _beside_plain(shown, prompt, each)
        figures = [_figure(shown, row, plain) for row, plain in beside]
        rewrites.append(
            {
                "label": each.label,
                "prompt": str(each.prompt) if rewritten else None,
                "plan": _timeline(shown, each) if rewritten and not each.unchanged else None,
                "remark": describe_same(each, same) if same else "",
                "figures": figures,
            }
        )
    return {"text": prompt.plain.text, "rewrites": rewrites, "standings": _table(shown.lines(prompt))}


def describe_same(rewrite: Rewrite, same: str) -> str:
    """Say why a rewrite has no pictures of its own.

    >>> from dfprompt.prompt import parse_prompt
    >>> describe_same(Rewrite("late", parse_prompt("a cat")), "plain")
    'says the same as plain at every step: the same pictures, drawn once'
    """
    return rewrite.unchanged or f"says the same as {same} at every step: the same pictures, drawn once"


def _beside_plain(shown: SideBySide, prompt: Compared, rewrite: Rewrite) -> Iterator[tuple[Row, Row]]:
    """Yield a rewrite's rows, each with the plain one of its seed."""
    return zip(shown.of(prompt, rewrite.label), shown.of(prompt, PLAIN), strict=True)


def _timeline(shown: SideBySide, rewrite: Rewrite) -> str:
    return drawing(draw_plan(shown.plan_of(rewrite.prompt)))


def _figure(shown: SideBySide, row: Row, plain: Row) -> dict[str, Any]:
    image, small = thumbnail(_picture(shown, row))
    file, scores = quote_url(str(row.picture)), _score_lines(shown, row, plain)
    return {"seed": row.seed, "file": file, "image": image, "small": small, "scores": scores}


def _picture(shown: SideBySide, row: Row) -> Image.Image:
    return to_pil(read_image(shown.folder / str(row.picture)).pixels[None])[0]


def _score_lines(shown: SideBySide, row: Row, plain: Row) -> list[str]:
    """A line per score: its number, and for a rewrite the difference to the plain picture of the seed."""
    lines = []
    for name in shown.columns:
        if name not in row.scores:
            continue
        line = f"{name} {format_number(row.scores[name])}"
        if row.method != PLAIN and name in plain.scores:
            line += f" ({format_number(row.scores[name] - plain.scores[name], sign=True)})"
        lines.append(line)
    return lines


def _table(lines: Sequence[ScoreLine]) -> tuple[Table, str]:
    """The table of scores, and over what its intervals are."""
    heads = "score,prompt,mean,plain,difference to plain,95 % interval,won,tied,lost".split(",")
    table = Table(*heads, rows=[_row(line) for line in lines])
    units = {line.comparison.units for line in lines if line.comparison}
    over = "seeds: they say nothing about other prompts" if units == {"seeds"} else "prompts"
    return table, over if units else ""


def _row(line: ScoreLine) -> tuple[str, ...]:
    name = f"{line.score} (judge)" if line.role == "judge" else line.score
    found = line.comparison
    if found is None:
        return name, line.method, _number(line.mean), "", "", "", "", "", ""
    return (
        name,
        line.method,
        _number(line.mean),
        _number(found.baseline_mean),
        format_number(found.difference, sign=True),
        format_ends(found.interval.to_json()),
        *map(str, (found.won, found.tied, found.lost)),
    )


def _number(value: float | None) -> str:
    return ABSENT if value is None else format_number(value)


def _failures(shown: SideBySide) -> list[str]:
    said = (f"{name}: {message}" for row in shown.rows for name, message in row.failed.items())
    return list(dict.fromkeys(said))


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _caption(shown: SideBySide, row: Row, plain: Row) -> str:
    """A few scores with few digits: what was optimised and what was only watched, then parts."""
    columns = shown.columns
    order = sorted(columns, key=lambda name: ("reward", "judge", "part").index(columns[name]))
    parts = []
    for name in [name for name in order if name in row.scores][:_CAPTION_SCORES]:
        value = row.scores[name]
        part = f"{name} {value:.3g}"
        if row.method != PLAIN and name in plain.scores:
            part += f" ({value - plain.scores[name]:+.2g})"
        parts.append(part)
    return ", ".join(parts)


def make_comparison_grid(shown: SideBySide) -> Image.Image:
    """Return one picture: a row per prompt and rewrite, a column per seed, scores under each picture.

    Under each row stand the bars of when its words act. What shares its pictures with a row above is named
    in that row's title.
    """
    columns = min(len(shown.seeds), _MAX_COLUMNS)
    every = [(prompt, each) for prompt in shown.prompts for each in prompt.all]
    drawn = [(prompt, each) for prompt, each in every if shown.same_as(prompt, each) is None]
    rows = [pair for each in drawn for pair in list(_beside_plain(shown, *each))[:columns]]
    height, width = shown.size()
    plans = make_plans(shown.pipeline, shown.settings, [each.prompt for _, each in drawn])
    heaviest = max_weight(plans)
    captions = [_caption(shown, row, plain) for row, plain in rows]
    return make_grid(
        [_picture(shown, row) for row, _ in rows],
        captions if any(captions) else None,
        columns=columns,
        row_titles=[_row_title(shown, *each) for each in drawn],
        column_titles=[f"seed {seed}" for seed in shown.seeds[:columns]],
        strips=lambda row, across: draw_strip(plans[row], across, heaviest, axis=row == 0),
        title=f"{shown.pipeline.name}, {width}x{height}",
    )


def _row_title(shown: SideBySide, prompt: Compared, rewrite: Rewrite) -> str:
    title = f"{rewrite.label}: {rewrite.prompt}"
    for each in prompt.rewrites:
        if shown.same_as(prompt, each) == rewrite.label:
            title += f" ({each.label}: {each.unchanged or 'the same'})"
    return title
