"""The studio's routes with mini in this process: drawn, cancelled, resumed, dropped, exported."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from asgi import Answer, call
from dfprompt.requests.studio import StudioRequest
from dfprompt.web.app import LARGER, make_studio
from dfprompt.web.guard import Rules
from dfprompt.web.history import History
from dfprompt.web.jobs import Jobs
from dfprompt.web.studio import Studio

TEXT = "a red house in the snow, [watercolor:late]"
TOKEN = {"x-dfprompt-token": "t"}


class Running:
    """A studio without a socket, as its page calls it."""

    def __init__(self, folder: Path, **asked: Any) -> None:
        self.history = History(folder)
        self.studio = Studio(StudioRequest(**asked), self.history, Jobs())
        self.app = make_studio(self.studio, Rules("t", larger=LARGER))

    def call(self, path: str, body: Any = None, method: str | None = None) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return call(self.app, method or ("GET" if body is None else "POST"), path, TOKEN, content)

    def wait(self) -> None:
        for _ in range(2400):
            if not self.studio.jobs.unfinished():
                return
            time.sleep(0.05)
        raise AssertionError("the queue never emptied")

    def draw(self, text: str, **more: Any) -> dict[str, Any]:
        answer = self.call("/api/draw", {"text": text, "seeds": [0], **more})
        assert answer.status == 200, answer.body
        self.wait()
        return self.call(f"/api/history/{answer.json['drawing']['id']}").json

    def close(self) -> None:
        self.studio.jobs.stop()
        self.history.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import warnings

    with warnings.catch_warnings():
        made = Running(tmp_path_factory.mktemp("studio") / "history")
        made.studio.start()
        made.wait()
        yield made
        made.close()


pytestmark = pytest.mark.slow


def test_plain_and_edited_share_their_noise_and_the_log_of_every_command(running: Running) -> None:
    shown = running.draw(TEXT, seeds=[3, 5])
    pictures = shown["drawing"]["pictures"]
    assert [(each["label"], each["seed"]) for each in pictures] == [
        ("plain", 3),
        ("yours", 3),
        ("plain", 5),
        ("yours", 5),
    ]
    rows = running.history.rows(running.history.find(shown["drawing"]["id"]))
    assert [row.noise for row in rows] == [3, 3, 5, 5]
    assert {line["score"] for line in shown["standings"]} >= {"reward", "fidelity"}
    files = [running.call(f"/api/pictures/{each['id']}") for each in pictures]
    assert len({file.body for file in files}) == 4
    for file in files:
        assert file.headers["content-type"] == "image/png"
        assert file.headers["content-disposition"].startswith("inline")
        assert file.headers["x-content-type-options"] == "nosniff"


def test_the_studio_draws_the_pictures_that_the_command_line_draws(running: Running, tmp_path: Path) -> None:
    from dfprompt.api.comparison import compare_prompts

    shown = running.draw(TEXT, seeds=[0])["drawing"]
    run = compare_prompts(
        [], tmp_path / "out", written=[TEXT], policy=None, seeds=1, pipeline=running.studio._pipeline
    )
    theirs = [Image.open(path).tobytes() for path in run.pictures]
    ours = [
        Image.open(io.BytesIO(running.call(f"/api/pictures/{each['id']}").body)).tobytes()
        for each in shown["pictures"]
    ]
    assert ours == theirs


def test_what_says_the_same_is_drawn_once_and_shown_everywhere(running: Running) -> None:
    shown = running.draw("a red house in the snow, [watercolor:late:0]")["drawing"]
    assert [each["label"] for each in shown["pictures"]] == ["plain", "yours"]
    assert shown["missing"] == 0


def test_the_plan_is_the_pipelines_own(running: Running) -> None:
    asked = {"text": TEXT, "settings": {"num_inference_steps": 7, "clock": "timestep", "scheduler": "euler"}}
    shown = running.call("/api/read", asked).json["document"]
    from dfprompt.evaluation.side_by_side import make_plans
    from dfprompt.prompt.parser import read_back
    from dfprompt.requests.render import RenderSettings

    pipeline = running.studio._pipeline
    assert pipeline is not None
    settings = pipeline.resolve(RenderSettings(**asked["settings"]))  # type: ignore[arg-type]
    (plan,) = make_plans(pipeline, settings, [read_back(TEXT)])
    assert shown["steps"] == 7
    assert [shown["texts"][at] for at in shown["step_texts"]] == [step.text for step in plan.steps]


def test_a_cancelled_drawing_keeps_what_is_drawn_and_goes_on(running: Running) -> None:
    seeds = list(range(100, 112))
    answer = running.call("/api/draw", {"text": TEXT, "seeds": seeds}).json
    number, job = answer["drawing"]["id"], answer["job"]["id"]
    while not running.call(f"/api/history/{number}").json["drawing"]["pictures"]:
        time.sleep(0.05)
    running.call(f"/api/jobs/{job}", method="DELETE")
    running.wait()
    kept = running.call(f"/api/history/{number}").json["drawing"]
    assert 0 < len(kept["pictures"]) < 24
    before = {each["id"]: running.call(f"/api/pictures/{each['id']}").body for each in kept["pictures"]}
    running.call(f"/api/history/{number}/resume", {})
    running.wait()
    whole = running.call(f"/api/history/{number}").json["drawing"]
    assert whole["missing"] == 0
    assert (
        before.items()
        <= {
            each["id"]: running.call(f"/api/pictures/{each['id']}").body for each in whole["pictures"]
        }.items()
    )


def test_suggestions_keep_the_users_own_words_and_heed_bans(running: Running) -> None:
    def ask(**more: Any) -> dict[str, Any]:
        job = running.call("/api/suggest", {"text": TEXT, "candidates": 3, **more}).json["job"]
        running.wait()
        return next(each for each in running.studio.jobs._listed() if each.id == job["id"]).result

    found = ask()
    assert all(each["text"].startswith(TEXT) for each in found["candidates"])
    banned = next(m["words"] for each in found["candidates"] for m in each["modifiers"])
    again = ask(ban=[banned])
    assert banned not in [m["words"] for each in again["candidates"] for m in each["modifiers"]]


def test_the_steps_of_a_picture_end_in_the_picture(running: Running) -> None:
    shown = running.draw(TEXT)["drawing"]
    asked = {"drawing": shown["id"], "label": "yours", "seed": 0}
    running.call("/api/strip", asked)
    running.wait()
    strip = running.call(f"/api/strip?drawing={shown['id']}&label=yours&seed=0")
    assert strip.status == 200
    frames = Image.open(io.BytesIO(strip.body))
    assert frames.size == (640, 64)
    last = frames.crop((576, 0, 640, 64))
    picture = Image.open(io.BytesIO(running.call(f"/api/pictures/{shown['id']}/1").body))
    apart = max(abs(a - b) for a, b in zip(last.tobytes(), picture.convert("RGB").tobytes(), strict=True))
    assert apart <= 2  # of 255: the lockstep loop and the stock call
    for wrong in ("label=other&seed=0", "label=yours&seed=9", "label=yours&seed=../0"):
        assert running.call(f"/api/strip?drawing={shown['id']}&{wrong}").status == 422


def png(**chunks: str) -> bytes:
    info, content = PngInfo(), io.BytesIO()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (4, 4)).save(content, "PNG", pnginfo=info)
    return content.getvalue()


A1111 = (
    "a red house, [film grain:0.5]\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 6.5, "
    "Seed: 7, Size: 512x768, Model: some"
)
GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            **{"seed": 5, "steps": 12, "cfg": 4.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
            **{"positive": ["6", 0], "negative": ["7", 0]},
        },
    },
    "6": {"class_type": "ConditioningSetMask", "inputs": {"conditioning": ["8", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog"}},
    "8": {"class_type": "PCLazyTextEncode", "inputs": {"text": "a red house, [film grain:0.5]"}},
}


@pytest.mark.parametrize(
    ("content", "source", "text", "seed", "settings"),
    [
        (
            png(parameters=A1111),
            "AUTOMATIC1111",
            "a red house, [film grain:0.45->0]",
            7,
            {
                **{"num_inference_steps": 20, "guidance_scale": 6.5, "width": 512, "height": 768},
                "scheduler": "euler_a",
            },
        ),
        (
            png(prompt=json.dumps(GRAPH)),
            "ComfyUI",
            "a red house, [film grain:late]",
            5,
            {"num_inference_steps": 12, "guidance_scale": 4.5, "scheduler": "dpmpp_2m_karras"},
        ),
    ],
)
def test_pictures_of_other_tools_are_read(
    running: Running, content: bytes, source: str, text: str, seed: int, settings: dict[str, Any]
) -> None:
    found = running.call("/api/inspect", content).json["found"]
    assert (found["source"], found["text"], found["negative"], found["seed"]) == (source, text, "fog", seed)
    assert found["settings"] == settings
    assert running.studio.settings(found["settings"]).scheduler == settings["scheduler"]


def test_what_cannot_be_taken_over_is_named(running: Running) -> None:
    lines = "a AND b\nSteps: 90000, Sampler: Restart, CFG scale: 7, Seed: 99999999999999999, Size: 1x64"
    found = running.call("/api/inspect", png(parameters=lines)).json["found"]
    assert (found["text"], found["seed"]) == ("a AND b", None)
    assert found["settings"] == {"guidance_scale": 7, "height": 64}
    for named in ("AND", "Restart", "num_inference_steps", "width"):
        assert any(named in remark for remark in found["remarks"]), found["remarks"]


def test_a_picture_of_ours_is_read_whole(running: Running) -> None:
    shown = running.draw(TEXT, seeds=[11], settings={"num_inference_steps": 6}, negative="mist")["drawing"]
    content = running.call(f"/api/pictures/{shown['pictures'][1]['id']}").body
    found = running.call("/api/inspect", content).json["found"]
    assert (found["source"], found["text"], found["negative"], found["seed"]) == (
        "dfprompt",
        TEXT,
        "mist",
        11,
    )
    again = running.draw(found["text"], seeds=[11], settings=found["settings"], negative=found["negative"])
    assert running.call(f"/api/pictures/{again['drawing']['pictures'][1]['id']}").body == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        png(),
        png(dfprompt="{}"),
        png(dfprompt="[" * 100_000),
        png(parameters="Steps: 20, Size: 1x1"),
        png(prompt="[]"),
        png(prompt="{}"),
        png(prompt=json.dumps({"1": {"inputs": {"positive": ["1", 0], "negative": ["1", 0]}}})),
        png(prompt=json.dumps({"1": {"inputs": {"positive": 1, "negative": [[]]}}})),
        png(prompt='{"1": 2, "3": {"inputs": 4}}'),
    ],
)
def test_what_is_no_picture_of_any_tool_is_refused_in_words(running: Running, content: bytes) -> None:
    answer = running.call("/api/inspect", content, method="POST")
    assert answer.status in (200, 422)
    if answer.status == 200:
        assert answer.json["found"]["settings"] == {}
    else:
        assert "fault" not in answer.json["error"]["message"]


def test_every_export_parses_back_or_says_why_not(running: Running) -> None:
    from dfprompt.prompt.dialects import import_prompt

    asked = {"text": TEXT, "negative": "[fog:early]", "seeds": [2, 3], "settings": {"num_inference_steps": 8}}
    forms = {form["name"]: form for form in running.call("/api/export", asked).json["forms"]}
    for name, dialect in [("AUTOMATIC1111, Forge", "a1111"), ("ComfyUI (prompt control)", "comfyui")]:
        assert str(import_prompt(forms[name]["text"], dialect, 8).prompt) == TEXT
        assert str(import_prompt(forms[name]["negative"], dialect, 8).prompt) == "[fog:early]"
    import shlex

    words = shlex.split(forms["Command line"]["text"])
    assert words[:4] == ["dfprompt", "compare", "a red house in the snow", "--with"]
    assert words[words.index("--seed") + 1] == "2"
    assert words[words.index("--seeds") + 1] == "2"
    assert words[words.index("--steps") + 1] == "8"
    assert words[words.index("--negative") + 1] == "[fog:early]"
    compile(forms["Python"]["text"], "export", "exec")


def test_styles_are_kept_beside_the_history(running: Running) -> None:
    before = running.call("/api/presets").json["presets"]
    assert all(not each["own"] for each in before)
    kept = running.call("/api/presets", {"name": "mine", "text": "a cat, [snow:late], [fog:early:0.5]"})
    assert kept.json["presets"][0] == {"name": "mine", "text": "[snow:late], [fog:early:0.5]", "own": True}
    assert running.call("/api/presets", {"name": "", "text": "[a:late]"}).status == 422
    assert running.call("/api/presets", {"name": "x", "text": "no span"}).status == 422
    assert running.call("/api/presets", {"name": "mine", "text": None}).json["presets"] == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/draw", {}),
        ("/api/draw", {"text": ""}),
        ("/api/draw", {"text": "[x:0-1]"}),
        ("/api/draw", {"text": "a", "seeds": []}),
        ("/api/draw", {"text": "a", "seeds": [1, 1]}),
        ("/api/draw", {"text": "a", "seeds": list(range(100))}),
        ("/api/draw", {"text": "a", "seeds": ["1"]}),
        ("/api/draw", {"text": "a", "settings": {"steps": 4}}),
        ("/api/draw", {"text": "a", "settings": {"num_inference_steps": 0}}),
        ("/api/draw", {"text": "a", "columns": [{"label": "plain", "text": "b"}]}),
        ("/api/draw", {"text": "a", "columns": [{"label": "x", "text": "[y"}]}),
        ("/api/draw", {"text": "a", "negative": "[y"}),
        ("/api/read", {"text": "a", "settings": []}),
        ("/api/read", {"text": "a", "change": "x"}),
        ("/api/suggest", {"text": " "}),
        ("/api/suggest", {"text": "a", "candidates": 0}),
        ("/api/tune", {"text": ""}),
        ("/api/tune", {"text": "a", "images": "many"}),
        ("/api/tune", {"text": "a", "keep": 7}),
        ("/api/strip", {"drawing": "999", "label": "plain", "seed": 0}),
        ("/api/export", {"text": "a", "seeds": []}),
        ("/api/history/999/resume", {}),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(running: Running, path: str, body: Any) -> None:
    before = len(running.history.drawings)
    answer = running.call(path, body)
    assert answer.status == 422, answer.body
    assert "fault" not in answer.json["error"]["message"]
    assert len(running.history.drawings) == before


def test_a_full_disk_a_failing_score_and_too_little_memory_are_said_and_nothing_is_lost(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = running.draw(TEXT, seeds=[21])["drawing"]
    pipeline, board = running.studio._loaded()

    def last() -> Any:
        return running.studio.jobs._listed()[-1]

    def refuse(*args: Any, **named: Any) -> Any:
        raise OSError(28, "No space left on device", "disk")

    with monkeypatch.context() as patch:
        patch.setattr("dfprompt.images.saving.whole_files", refuse)
        failed = running.draw(TEXT, seeds=[22])["drawing"]
    assert (last().state, failed["missing"]) == ("failed", 2)
    assert "No space left on device" in last().message
    running.call(f"/api/history/{failed['id']}/resume", {})
    running.wait()
    assert running.call(f"/api/history/{failed['id']}").json["drawing"]["missing"] == 0

    def full(*args: Any, **named: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(pipeline), "draw_request", full)
        running.draw(TEXT, seeds=[23])
    assert last().state == "failed"
    assert "out of memory" in last().message
    from dfprompt.errors import RewardError

    def broken(*args: Any, **named: Any) -> Any:
        raise RewardError("the reward is broken")

    with monkeypatch.context() as patch:
        patch.setattr(type(board.scores["fidelity"]), "columns", broken)
        shown = running.draw(TEXT, seeds=[24])["drawing"]
    assert last().state == "done"
    assert shown["missing"] == 0
    assert {tuple(each["failed"].items()) for each in shown["pictures"]} == {
        (("fidelity", "the reward is broken"),)
    }
    assert running.call(f"/api/history/{whole['id']}").json["drawing"] == whole


def test_a_tuned_prompt_is_told_round_by_round(running: Running) -> None:
    told: list[dict[str, Any]] = []
    publish = running.studio.jobs.publish
    running.studio.jobs.publish = lambda event: (told.append(event or {}), publish(event))[1]  # type: ignore[method-assign]
    try:
        answer = running.call("/api/tune", {"text": "a red house in the snow", "images": 16})
        assert answer.status == 200, answer.body
        running.wait()
    finally:
        running.studio.jobs.publish = publish  # type: ignore[method-assign]
    job = running.studio.jobs._listed()[-1]
    assert job.state == "done", job.message
    assert job.result["sentence"]
    assert [each["text"] for each in job.result["best"]].count("plain") == 1
    assert len(list((running.history.folder / "searches").iterdir())) == 1


def test_words_can_be_kept_from_a_search(running: Running) -> None:
    running.call("/api/tune", {"text": "a red house", "images": 16, "keep": ["blue"]})
    running.wait()
    job = running.studio.jobs._listed()[-1]
    assert (job.state, "no such words" in job.message) == ("failed", True)


def test_another_program_waits_for_what_is_suggested(running: Running) -> None:
    answer = running.call("/api/suggest", {"text": TEXT, "candidates": 1, "wait": True})
    job = answer.json["job"]
    assert job["state"] == "done"
    assert job["result"]["candidates"][0]["text"].startswith(TEXT)


def test_words_by_turns_are_drawn_and_suggested_to(running: Running) -> None:
    text = "a [red|blue] house in the snow"
    drawing = running.draw(text, seeds=[4], negative="[fog|mist]")["drawing"]
    assert [each["label"] for each in drawing["pictures"]] == ["plain", "yours"]
    assert drawing["columns"] == [["yours", text]]
    found = running.call("/api/suggest", {"text": text, "wait": True}).json["job"]
    assert found["result"]["candidates"][0]["text"].startswith(text)
    asked = {"text": text, "seeds": [2], "settings": {"num_inference_steps": 2}}
    forms = {form["name"]: form for form in running.call("/api/export", asked).json["forms"]}
    assert "'a [red:early][blue:late] house in the snow'" in forms["Command line"]["text"]


def test_nothing_is_read_outside_the_folder(running: Running) -> None:
    for path in ("/api/pictures/../1", "/api/pictures/1/../../history.jsonl", "/api/pictures/%2e%2e/0"):
        assert running.call(path).status in (404, 422)
    for number in ("..", ".", "history.jsonl", "999"):
        assert running.call(f"/api/history/{number}").status in (404, 422)


def test_loading_that_fails_is_said_and_editing_goes_on(tmp_path: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        empty = tmp_path / "model"
        empty.mkdir()
        made = Running(tmp_path / "history", pipeline=str(empty))
        made.studio.start()
        made.wait()
        state = made.call("/api/state").json["state"]
        assert not state["ready"]
        assert str(empty) in state["problem"]
        assert made.call("/api/read", {"text": TEXT}).json["document"]["steps"] == 10
        made.call("/api/draw", {"text": TEXT, "seeds": [0]})
        made.wait()
        assert "not loaded" in made.studio.jobs._listed()[-1].message
        made.close()


def test_events_are_told_to_a_page(running: Running) -> None:
    async def first() -> bytes:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/events",
            "raw_path": b"/api/events",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"x-dfprompt-token", b"t")],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("localhost", 80),
            "root_path": "",
        }
        said: asyncio.Queue[bytes] = asyncio.Queue()
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await said.put(message["body"])

        task = asyncio.create_task(running.app(scope, receive, send))  # type: ignore[arg-type]
        line = await asyncio.wait_for(said.get(), 10)
        gone.set()
        await asyncio.wait_for(task, 10)
        return line

    line = asyncio.run(first())
    assert json.loads(line.removeprefix(b"data: "))["type"] == "jobs"
