"""Contests and their report: same noise, true numbers, and a page that asks for nothing and runs nothing."""

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
from dfprompt.errors import ConfigError
from dfprompt.evaluation.contest import Contender, Contest, Match, draw_contests, rank, relabel
from dfprompt.evaluation.report import make_comparison_grid, make_report
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.scoreboard import Scoreboard
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


@pytest.fixture(scope="module")
def match(sd: ImagePipeline) -> Match:
    nasty = DFPrompt.from_plain(NASTY).append(Span("<b onload=x>", "late", 1.5))
    contests = [
        Contest(
            PlainPrompt("a red house"), (Contender("with", parse_prompt("a red house, [old film:late]")),)
        ),
        Contest(PlainPrompt(NASTY), relabel([Contender("with", nasty), Contender("with", nasty)])),
    ]
    board = Scoreboard({"light": brightness, "boom": _boom}, {"red": redness})
    return draw_contests(sd, contests, [3, 4, 5], board, SETTINGS)


@pytest.fixture(scope="module")
def files(match: Match) -> dict[tuple[int, str, int], str]:
    return {
        (shot.contest, shot.contender.label, shot.seed): f"{number} #{shot.contender.label}.png"
        for number, shot in enumerate(match.shots)
    }


@pytest.fixture(scope="module")
def page(match: Match, files: dict[tuple[int, str, int], str]) -> str:
    return make_report(match, files, note="A note & more.")


def test_all_contenders_of_a_seed_share_its_noise(sd: ImagePipeline, match: Match) -> None:
    assert len(match.shots) == 2 * 3 + 3 * 3
    for shot in match.shots:
        alone = sd.draw(shot.contender.prompt, shot.seed, SETTINGS).images[0]
        assert (shot.image - alone).abs().max() < 2e-5
        assert shot.scored.scores["light"] == pytest.approx(alone.mean().item(), abs=1e-5)
        assert shot.recipe.seed == shot.seed
        assert shot.recipe.scores == shot.scored.scores
        assert "RuntimeError" in shot.scored.failed["boom"]
    assert match.pictures.saved > 0  # a late span shares the first half with plain


def test_standings_are_paired_over_seeds_or_prompts(match: Match) -> None:
    def values(label: str, contests: tuple[int, ...]) -> dict[tuple[str, int], float]:
        return {
            (str(number), shot.seed): shot.scored.scores["red"]
            for number in contests
            for shot in match.of(number, label)
        }

    one = {(each.label, each.score): each for each in rank(match, 0)}
    assert one["with", "red"].comparison == compare_scores(values("with", (0,)), values("plain", (0,)))
    assert one["with", "red"].comparison.units == "seeds"  # type: ignore[union-attr]
    assert one["with", "boom"].mean is None
    every = {(each.label, each.score): each for each in rank(match)}
    plain = values("plain", (0, 1))
    assert every["plain", "red"].mean == pytest.approx(sum(plain.values()) / 6)
    assert every["with 1", "red"].comparison == compare_scores(values("with 1", (1,)), plain)


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


def test_the_page_runs_nothing_and_asks_for_nothing(
    page: str, files: dict[tuple[int, str, int], str]
) -> None:
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
        assert target == "data:," or unquote(target) in files.values()
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "//" not in style[1]
    linked = [unquote(attributes["href"]) for tag, attributes in reader.tags if tag == "a"]
    assert sorted(linked) == sorted(files.values())
    policy = next(a for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    assert NASTY in reader.text
    assert "<b onload=x>" in reader.text
    assert "A note & more." in reader.text
    assert "boom: " in reader.text  # the failed score is named
    assert "<script" not in page


def test_the_numbers_on_the_page_are_those_of_the_match(page: str, match: Match) -> None:
    for shot in match.shots:
        assert f"light {format_number(shot.scored.scores['light'])}" in page
    shot = match.of(0, "with")[1]
    difference = shot.scored.scores["red"] - match.of(0, "plain")[1].scored.scores["red"]
    assert f"({format_number(difference, sign=True)})" in page
    for standing in rank(match):
        if standing.comparison:
            assert f"<td>{format_number(standing.comparison.difference, sign=True)}</td>" in page
    assert "red (judge)" in page


def test_pictures_in_the_page_open(page: str, match: Match) -> None:
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(match.shots)
    opened = [Image.open(io.BytesIO(base64.b64decode(data))) for data in pictures]
    assert {picture.size for picture in opened} == {(SIZE, SIZE)}
    plans = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(plans) == 3
    for data in plans:
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "old film" in base64.b64decode(plans[0]).decode()


def test_large_pictures_become_thumbnails() -> None:
    from dfprompt.evaluation.report import THUMBNAIL, _thumbnail

    source, small = _thumbnail(torch.rand(3, 300, 600))
    assert not small
    kind, data = source.split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (THUMBNAIL, THUMBNAIL // 2)


def test_the_grid_has_a_row_per_rewrite_and_a_column_per_seed(match: Match) -> None:
    grid = make_comparison_grid(match)
    cell, gap, margin = 256, 16, 24  # 16 pixels are enlarged 16 times
    assert grid.width == 3 * cell + 2 * gap + 2 * margin
    pixels = np.asarray(grid)
    at = 0
    for shot in match.shots:
        column = shot.seed - 3
        left = margin + column * (cell + gap)
        drawn = to_pil(shot.image[None])[0].resize((cell, cell), Image.Resampling.LANCZOS)
        first = np.asarray(drawn)[0]
        rows = [y for y in range(at, grid.height) if (pixels[y, left : left + cell] == first).all()]
        assert rows, "this picture is not at its place"
        at = rows[0] + cell if column == 2 else rows[0]


def test_nothing_to_compare(sd: ImagePipeline) -> None:
    board = Scoreboard({"light": brightness})
    contest = Contest(PlainPrompt("a"), (Contender("plain", DFPrompt(["b"])),))
    for contests, seeds in (
        ([], [1]),
        ([contest], []),
        ([contest], [1]),
        ([Contest(PlainPrompt("a"), ())], [1, 1]),
    ):
        with pytest.raises(ConfigError):
            draw_contests(sd, contests, seeds, board, SETTINGS)
