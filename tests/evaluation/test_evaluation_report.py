"""The page of an evaluation: the answer is that of the rows, everything foreign is escaped, nothing runs."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from dfprompt.evaluation.answers import make_answers, prompt_gains
from dfprompt.evaluation.checklist import fill_checklist
from dfprompt.evaluation.evaluation_report import make_evaluation_report
from dfprompt.evaluation.forest_plot import draw_forest
from dfprompt.evaluation.judge_check import Pair, check_judge
from dfprompt.evaluation.latex import format_latex
from dfprompt.evaluation.methods import BestOf, Method, Plain
from dfprompt.evaluation.pages import SLIDER, _resource, hash_script
from dfprompt.evaluation.rewrites import Rewrites
from dfprompt.evaluation.run import Outcome, Plan
from dfprompt.evaluation.summary import Summary, summarize
from dfprompt.evaluation.tables import format_markdown
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from tiny_evaluation import Styled, brightness, redness

NASTY = '</script><img src=x onerror=alert(1)>\u202e & "quoted"'
GAIN = {"up": 1.0, "down": -1.0, "flat": 0.0, "plain": 0.0}
PROMPTS = [PlainPrompt(f"{NASTY} {number}", f"p{number}") for number in range(12)]


class _Watch:
    """A judge of fidelity."""

    measures = "fidelity"
    __name__ = "shown"

    def __call__(self, images: Any, prompts: Any, records: Any = None) -> Any:
        return redness(images, prompts)


def _row(method: Method, prompt: PlainPrompt, seed: int) -> Row:
    """Scores that grow with the prompt's number, by the gain of the method's name."""
    number = PROMPTS.index(prompt)
    wobble = 0.2 * (-1) ** number if method.name == "flat" else 0.0
    gain = GAIN.get(method.name, 0.5) * (1 + 0.05 * number)
    lost = 0.02 * (number + 1) if method.name == "up" else 0.0
    return Row(
        method.name,
        prompt.id,
        prompt.text,
        seed,
        1,
        f"{prompt.text}, [x:late]",
        f"pictures/{method.name}/{prompt.id}-{seed}.png",
        {"light": 0.1 * number + 0.01 * seed + gain + wobble, "shown": 1.0 - lost},
        pictures=method.pictures,
        seconds=0.1 * method.pictures,
    )


def _outcome(folder: Path) -> Outcome:
    methods = [Plain(), *(Styled(name) for name in ("up", "down", "flat")), BestOf(4)]
    rows = [_row(method, prompt, seed) for prompt in PROMPTS for seed in (0, 1) for method in methods]
    for row in rows:
        if row.method in ("plain", "up"):
            picture = Image.new("RGB", (16, 16), (int(row.prompt_id[1:]) * 20, 0, 0))
            save_pictures([Entry(folder / str(row.picture), picture, None)])
    rewrites = {}
    for method in methods:
        written = zip(PROMPTS, method.rewrite(PROMPTS, 0), strict=True)
        rewrites[method.name] = Rewrites({prompt.id: each for prompt, each in written if each})
    board = Scoreboard({"light": brightness}, {"shown": _Watch()})
    return Outcome(Plan(PROMPTS, methods, [0, 1], board), folder, tuple(rows), rewrites)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return _outcome(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def summary(outcome: Outcome) -> Summary:
    return summarize(outcome)


@pytest.fixture(scope="module")
def page(outcome: Outcome, summary: Summary) -> str:
    return make_evaluation_report(outcome, summary, title=NASTY, note=NASTY, facts={"model": NASTY})


def test_verdicts_follow_from_the_intervals(outcome: Outcome, summary: Summary) -> None:
    answers = {answer.method: answer for answer in make_answers(summary, outcome.rows)}
    assert answers["up"].verdict == "helps, and loses some of what was asked"
    assert answers["down"].verdict == "makes it worse"
    assert answers["flat"].verdict == "no difference shown"
    lines = dict(answers["up"].lines)
    assert lines["prompts it helps"] == "12 of 12"
    assert lines["artefacts"] is None
    assert lines["fidelity (shown)"].startswith("-0.1300 (")
    assert (
        dict(answers["best-of-4"].lines)["cost"] == "4 pictures drawn for one kept, 4.0 times plain's seconds"
    )
    assert list(answers)[-1] == "best-of-4"  # baselines come last
    assert prompt_gains(outcome.rows, "up", "light")["p2"] == pytest.approx(1.1)


def test_one_seed_of_one_prompt_says_nothing(outcome: Outcome) -> None:
    few = tuple(row for row in outcome.rows if (row.prompt_id, row.seed) == ("p0", 0))
    cut = replace(outcome, rows=few, plan=replace(outcome.plan, prompts=PROMPTS[:1], seeds=[0]))
    found = make_answers(summarize(cut), few)
    assert {answer.verdict for answer in found} == {"too little was measured to say"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_runs_its_one_script_and_asks_for_nothing(page: str) -> None:
    reader = _Reader()
    reader.feed(page)
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert scripts == [_resource(SLIDER)]
    assert f"script-src '{hash_script(scripts[0])}'" in str(policy)
    assert str(policy).startswith("default-src 'none'")
    for tag, attributes in reader.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert str(attributes.get("src", "data:image/")).startswith("data:image/")
        assert not re.match(r"\w+:", str(attributes.get("href", ""))) or attributes["href"] == "data:,"
    assert not [a for t, a in reader.tags if t == "img" and a.get("src") == "x"]
    assert "\u202e" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_answer_stands_before_the_tables_and_the_pictures_are_pairs(page: str, outcome: Outcome) -> None:
    assert page.index("up: helps") < page.index("Methods and scores") < page.index("Every number")
    assert page.count('class="pair"') == 6  # three prompts at either end
    assert page.count('type="range"') == 6
    assert "up helped most" in page
    first = page.index("up helped most")
    assert page.index(" 11</h3>", first) < page.index(" 0</h3>", first)  # the gain grows with the number


def test_a_picture_that_is_gone_is_said(outcome: Outcome, summary: Summary, tmp_path: Path) -> None:
    page = make_evaluation_report(replace(outcome, folder=tmp_path), summary, title="t")
    assert page.count("is missing") == 6


def test_the_plot_draws_what_the_table_says(summary: Summary) -> None:
    drawn = dict(draw_forest(summary))
    assert list(drawn) == ["light", "shown"]
    root = ElementTree.fromstring(drawn["light"])
    rows = root.findall("g")
    assert [row.find("circle").get("class") for row in rows] == ["better", "worse", "unsure", "better"]
    zero = float(root.find("line").get("x1"))
    centres = [float(row.find("circle").get("cx")) for row in rows]
    assert centres[0] > zero > centres[1]
    scale = (centres[0] - zero) / summary.of("up", "light").comparison.difference
    best = summary.of("best-of-4", "light").comparison.difference
    assert centres[3] - zero == pytest.approx(scale * best, abs=0.2)


def test_the_list_says_what_is_there_and_what_is_missing(outcome: Outcome, summary: Summary) -> None:
    points = {p.what: p for p in fill_checklist(summary, outcome.plan.methods, outcome.plan.scoreboard)}
    assert [p.state for p in points.values()].count("present") == 8
    assert points["the pipeline's own rewriter, off and on"].state == "not needed"
    assert points["an atomic judge of fidelity"].detail == "shown"
    assert points["a check for artefacts or unlike pictures"].state == "missing"
    assert points["best-of-n of the plain prompt at equal pictures"].state == "present"
    accuracy = next(p for p in points.values() if "accuracy" in p.what)
    assert (accuracy.state, accuracy.detail) == ("missing", "shown: not checked")
    ours = fill_checklist(summary, outcome.plan.methods, outcome.plan.scoreboard, rewriter="upsample_prompt")
    assert ours[0].state == "missing"


def test_judges_carry_their_accuracy_under_every_table(outcome: Outcome, summary: Summary) -> None:
    assert "Not checked against anybody's choices" in format_markdown(summary)
    pairs = [Pair("p", Path("a"), Path("b"), "a", str(n), None, None, {}) for n in range(120)]
    scores = [(1.0, 0.0) if n % 4 else (0.0, 1.0) for n in range(120)]
    check = check_judge("shown", pairs, scores, scores, pairs_file="people.jsonl", digest="abcd")
    checked = summarize(outcome, checks={"shown": check})
    assert (
        "Agrees with 75 % (66 to 82 %) of 120 choices on 120 prompts (people.jsonl, abcd)."
        in format_markdown(checked)
    )
    assert "Agrees with 75 %" in make_evaluation_report(outcome, checked, title="t")
    points = fill_checklist(checked, outcome.plan.methods, outcome.plan.scoreboard)
    assert next(p for p in points if "accuracy" in p.what).state == "present"


def test_latex_prints_names_as_they_are(outcome: Outcome) -> None:
    methods = [Plain(), Styled("50%_{a}&\\b")]
    rows = [replace(row, method=methods[1].name) if row.method == "up" else row for row in outcome.rows]
    kept = tuple(row for row in rows if row.method in {m.name for m in methods})
    rewrites = {m.name: outcome.rewrites["plain"] for m in methods}
    text = format_latex(
        summarize(Outcome(replace(outcome.plan, methods=methods), outcome.folder, kept, rewrites))
    )
    assert r"50\%\_\{a\}\&\textbackslash{}b & $+1.2750$ [$" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body} == {3}


def test_the_written_rewrites_are_shown(page: str) -> None:
    assert "[x:late]" in page
