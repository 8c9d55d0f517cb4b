"""Prompts side by side and their report: same noise, true numbers, a page that runs nothing."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_pipelines
from dfprompt.errors import ConfigError, InputError
from dfprompt.evaluation.report import make_comparison_grid, make_report
from dfprompt.evaluation.side_by_side import Compared, Rewrite, SideBySide, draw_side_by_side, relabel
from dfprompt.images.metadata import find_metadata
from dfprompt.images.reading import read_image
from dfprompt.images.tensors import to_pil, to_tensor
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import HowToDraw
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt, Span, parse_prompt
from dfprompt.statistics.comparison import compare_scores
from dfprompt.table import format_number
from runs import SIZE
from tiny_evaluation import SETTINGS, brightness, redness

NASTY = '<script>alert("x")</script> & a "dog" https://example.com/x.png'


def _boom(images: torch.Tensor, prompts: list[str], records: object = None) -> torch.Tensor:
    raise RuntimeError("<img src=x>")


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


def _name(prompt: Compared, label: str, seed: int) -> str:
    return f"{prompt.plain.id} #{label} {seed}.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("side-by-side")


@pytest.fixture(scope="module")
def shown(sd: ImagePipeline, folder: Path) -> SideBySide:
    nasty = DFPrompt.from_plain(NASTY).append(Span("<b onload=x>", "late", 1.5))
    brief = DFPrompt.from_plain(NASTY).append(Span("<b onload=x>", "early", 1.5))
    prompts = [
        Compared(
            PlainPrompt("a red house"), (Rewrite("with", parse_prompt("a red house, [old film:late]")),)
        ),
        Compared(PlainPrompt(NASTY), relabel([Rewrite("with", nasty), Rewrite("with", brief)])),
    ]
    board = Scoreboard({"light": brightness, "boom": _boom}, {"red": redness})
    return draw_side_by_side(sd, prompts, [3, 4, 5], board, HowToDraw(SETTINGS), folder / "rows.jsonl", _name)


@pytest.fixture(scope="module")
def page(shown: SideBySide) -> str:
    return make_report(shown, note="A note & more.")


def _pixels(shown: SideBySide, row: Row) -> torch.Tensor:
    return read_image(shown.folder / str(row.picture)).pixels


def test_all_rewrites_of_a_seed_share_its_noise(sd: ImagePipeline, shown: SideBySide) -> None:
    assert len(shown.rows) == 2 * 3 + 3 * 3
    words = {(p.plain.id, each.label): each.prompt for p in shown.prompts for each in p.all}
    for row in shown.rows:
        alone = to_tensor(to_pil(sd.draw(words[row.prompt_id, row.method], row.seed, SETTINGS).images))
        assert (_pixels(shown, row) - alone[0]).abs().max() < 1.5 / 255
        assert row.scores["light"] == pytest.approx(alone.mean().item(), abs=1e-4)
        recipe = find_metadata(read_image(shown.folder / str(row.picture)).text)
        assert (recipe.seed, recipe.scores) == (row.seed, row.scores)
        assert "RuntimeError" in row.failed["boom"]
    assert sum(row.spared for row in shown.rows) > 0  # a late span shares the first half with plain


def test_lines_are_paired_over_seeds_or_prompts_and_means_are_of_the_pairs(shown: SideBySide) -> None:
    def values(label: str, prompts: tuple[int, ...]) -> dict[tuple[str, int], float]:
        rows = (row for at in prompts for row in shown.of(shown.prompts[at], label))
        return {(row.prompt_id, row.seed): row.scores["red"] for row in rows}

    one = {(each.method, each.score): each for each in shown.lines(shown.prompts[0])}
    assert one["with", "red"].comparison == compare_scores(values("with", (0,)), values("plain", (0,)))
    assert one["with", "red"].comparison.units == "seeds"  # type: ignore[union-attr]
    assert one["with", "boom"].mean is None
    every = {(each.method, each.score): each for each in shown.lines()}
    plain = values("plain", (0, 1))
    assert every["plain", "red"].mean == pytest.approx(sum(plain.values()) / 6)
    found = every["with 1", "red"]
    assert found.comparison == compare_scores(values("with 1", (1,)), plain)
    assert found.comparison is not None
    assert found.mean == pytest.approx(sum(values("with 1", (1,)).values()) / 3)
    assert found.comparison.baseline_mean == pytest.approx(sum(values("plain", (1,)).values()) / 3)


def test_a_comparison_goes_on_and_another_is_refused(
    sd: ImagePipeline, shown: SideBySide, folder: Path
) -> None:
    board = Scoreboard({"light": brightness, "boom": redness}, {"red": redness})
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    how, log = HowToDraw(SETTINGS), folder / "rows.jsonl"
    with pytest.raises(InputError, match="add --resume"):
        draw_side_by_side(sd, shown.prompts, [3, 4, 5], board, how, log, _name)
    other = HowToDraw(SETTINGS.model_copy(update={"num_inference_steps": 3}))
    with pytest.raises(InputError, match="holds another comparison: settings differ"):
        draw_side_by_side(sd, shown.prompts, [3], board, other, log, _name, resume=True)
    again = draw_side_by_side(sd, shown.prompts, [3, 4, 5, 6], board, how, log, _name, resume=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is drawn twice"
    assert len(again.rows) == 5 * 4
    assert all(row.scores["boom"] == row.scores["red"] for row in again.rows), "the failed score is made"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines()[:16]))


class _Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they close in order."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def test_the_page_runs_nothing_and_asks_for_nothing(page: str, shown: SideBySide) -> None:
    files = [str(row.picture) for row in shown.rows]
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    allowed = set(
        "html head meta link title style body h1 h2 h3 p code div figure a img figcaption br".split()
    )
    assert {tag for tag, _ in reader.tags} <= allowed | set("table tr th td ul li".split())
    for tag, attributes in reader.tags:
        assert not any(name.startswith("on") or name in ("style", "srcset") for name in attributes)
        assert (
            attributes.get("src", "data:").startswith("data:image/")
            if tag == "img"
            else "src" not in attributes
        )
        target = attributes.get("href", "data:,")
        assert target == "data:," or unquote(target) in files
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "//" not in style[1]
    linked = [unquote(attributes["href"]) for tag, attributes in reader.tags if tag == "a"]
    assert sorted(linked) == sorted(files)
    policy = next(a for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    assert NASTY in reader.text
    assert "<b onload=x>" in reader.text
    assert "A note & more." in reader.text
    assert "boom: " in reader.text  # the failed score is named
    assert "<script" not in page


def test_the_numbers_on_the_page_are_those_of_the_rows(page: str, shown: SideBySide) -> None:
    for row in shown.rows:
        assert f"light {format_number(row.scores['light'])}" in page
    first = shown.prompts[0]
    difference = shown.of(first, "with")[1].scores["red"] - shown.of(first, "plain")[1].scores["red"]
    assert f"({format_number(difference, sign=True)})" in page
    for line in shown.lines():
        if line.comparison:
            assert f"<td>{format_number(line.comparison.difference, sign=True)}</td>" in page
            assert f"<td>{format_number(line.comparison.baseline_mean or 0)}</td>" in page
    assert "red (judge)" in page


def test_pictures_in_the_page_open(page: str, shown: SideBySide) -> None:
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(shown.rows)
    opened = [Image.open(io.BytesIO(base64.b64decode(data))) for data in pictures]
    assert {picture.size for picture in opened} == {(SIZE, SIZE)}
    plans = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(plans) == 3
    for data in plans:
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "old film" in base64.b64decode(plans[0]).decode()


def test_large_pictures_become_thumbnails() -> None:
    from dfprompt.evaluation.pages import THUMBNAIL, thumbnail

    source, small = thumbnail(Image.new("RGB", (600, 300)))
    assert not small
    kind, data = source.split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (THUMBNAIL, THUMBNAIL // 2)


def test_the_grid_has_a_row_per_rewrite_and_a_column_per_seed(shown: SideBySide) -> None:
    grid = make_comparison_grid(shown)
    cell, gap, margin = 256, 16, 24  # 16 pixels are enlarged 16 times
    assert grid.width == 3 * cell + 2 * gap + 2 * margin
    pixels = np.asarray(grid)
    at = 0
    rows = [row for prompt in shown.prompts for each in prompt.all for row in shown.of(prompt, each.label)]
    for row in rows:
        column = row.seed - 3
        left = margin + column * (cell + gap)
        drawn = to_pil(_pixels(shown, row)[None])[0].resize((cell, cell), Image.Resampling.LANCZOS)
        first = np.asarray(drawn)[0]
        places = [y for y in range(at, grid.height) if (pixels[y, left : left + cell] == first).all()]
        assert places, "this picture is not at its place"
        at = places[0] + cell if column == 2 else places[0]


def test_nothing_to_compare(sd: ImagePipeline, tmp_path: Path) -> None:
    board = Scoreboard({"light": brightness})
    twice = Compared(PlainPrompt("a"), (Rewrite("plain", DFPrompt(["b"])),))
    for prompts, seeds in (
        ([], [1]),
        ([twice], []),
        ([twice], [1]),
        ([Compared(PlainPrompt("a"), ())], [1, 1]),
    ):
        with pytest.raises(ConfigError):
            draw_side_by_side(sd, prompts, seeds, board, HowToDraw(SETTINGS), tmp_path / "rows.jsonl", _name)
    assert not list(tmp_path.iterdir())
