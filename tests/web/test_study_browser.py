"""A study in a real browser: by keyboard alone, on a phone, interrupted, declined, refused, overheard."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browsing import Hosted, browser, hosting, page_at
from dfprompt.study.journal import Participant
from dfprompt.study.sealing import unseal
from dfprompt.study.study import Study
from tiny_study import make_study, write_evaluation

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
AXE = Path(__file__).parent / "axe.min.js"
METHODS = ("tangerine", "zebrafish")
WHERE = "document.querySelector('.top p')?.innerText"
CODE = "C1A2B3C4"
CONSENT = """# What you are asked

Look at **two pictures**; see [the page](https://study.example/) or [this](javascript:alert(1)).

- <script>document.title = "taken"</script>
- <img src=x onerror="document.title = 'taken'">
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def study(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    place = tmp_path_factory.mktemp("study")
    evaluation = write_evaluation(place / "the-evaluation", methods=METHODS, size=32)
    made = make_study(
        place / "the-study", evaluation, methods=METHODS, participants=12, per_participant=4, gold=1
    )
    (made.folder / "consent.md").write_text(CONSENT)
    return made


@pytest.fixture(scope="module")
def hosted(study: Study) -> Iterator[Hosted]:
    links = study.folder.parent / "links.txt"
    with hosting(
        study.folder, "--completion", CODE, "--platform", "prolific", "--links", str(links)
    ) as running:
        yield running


def ready(page: Any) -> str:
    """Wait until a pair can be answered, and return which one it is."""
    page.wait_for_selector(".pair[aria-busy=false]")
    where: str = page.evaluate(WHERE)
    return where


def begin(page: Any) -> None:
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Practise").click()
    ready(page)


def onward(page: Any, where: str) -> None:
    page.wait_for_function(f"(where) => {WHERE} !== where", arg=where)


def person(study: Study, number: int) -> Participant:
    return study.enrol(token=study.tokens[number])


def test_where_it_is_found_is_told_and_written(hosted: Hosted, study: Study) -> None:
    links = study.folder.parent / "links.txt"
    assert links.read_text().splitlines() == hosted.links
    assert hosted.links == [f"{hosted.base}/#{token}" for token in study.tokens]
    assert links.stat().st_mode & 0o077 == 0
    sent = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    assert hosted.told["platform"] == f"{hosted.base}/?{sent}"
    assert (hosted.told["begun"], hosted.told["planned"]) == (0, 12)


def test_a_whole_visit_by_keyboard_alone(chromium: Any, hosted: Hosted, study: Study) -> None:
    focused = "document.activeElement.innerText || document.activeElement.tagName"
    with page_at(chromium, hosted.links[0]) as page:
        press = page.keyboard.press

        def tab_to(words: str) -> None:
            for _ in range(20):
                press("Tab")
                if words in page.evaluate(focused):
                    return
            raise AssertionError(f"no Tab leads to {words}")

        page.wait_for_selector(".acts")
        tab_to("I agree")
        press("Enter")
        page.wait_for_selector("select")
        page.wait_for_function("document.activeElement.tagName === 'H1'")
        press("Tab")
        press("ArrowDown")
        press("ArrowDown")
        tab_to("Continue")
        press("Enter")
        page.get_by_role("button", name="Practise").wait_for()
        tab_to("Practise")
        press("Enter")
        said = [("1", "2"), ("ArrowRight", "ArrowLeft"), ("0", "ArrowDown"), ("2", "0")]
        for place in range(study.plan.trials):
            where = ready(page)
            first, second = said[place % len(said)]
            press("2" if first == "1" else "1")  # and corrected
            press("ArrowUp")
            press(first)
            press(second)
            press("Enter")
            onward(page, where)
        page.get_by_text(CODE).wait_for()
        mine = person(study, 0)
        assert mine.id in page.inner_text("main")
    assert mine.finished
    assert mine.about == {"age": "25-34"}
    meant = {"1": "left", "ArrowLeft": "left", "2": "right", "ArrowRight": "right", "0": "neither"}
    wanted = [(meant.get(one, "neither"), meant.get(two, "neither")) for one, two in said]
    chosen = [(each.choices["shows"], each.choices["prefer"]) for each in mine.answers]
    assert chosen == [wanted[place % len(said)] for place in range(study.plan.trials)]
    assert all(0 < each.seconds < 60 for each in mine.answers)
    assert not mine.simulated


def test_on_a_phone_nothing_is_cut_off_and_a_reload_goes_on(
    chromium: Any, hosted: Hosted, study: Study
) -> None:
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    with page_at(chromium, hosted.links[1], **PHONE) as page:
        page.wait_for_selector(".acts")
        assert page.evaluate(wide) <= 0
        begin(page)
        for _ in range(3):
            where = ready(page)
            assert page.evaluate(wide) <= 0
            boxes = [box.bounding_box() for box in page.locator(".picture").all()]
            assert all(
                box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["width"] >= 165 for box in boxes
            )
            for button in page.locator(".choices button").all():
                assert button.bounding_box()["height"] >= 44
            page.get_by_role("button", name="Left", exact=True).first.tap()
            page.get_by_role("button", name="No difference").last.tap()
            page.locator(".go").tap()
            onward(page, where)
        where = ready(page)
        page.reload()
        assert ready(page) == where
        page.locator(".picture").first.tap()
        page.wait_for_selector("dialog[open] img")
        assert page.locator("dialog img").bounding_box()["width"] > 300
        page.get_by_role("button", name="Back").tap()
        page.wait_for_selector("dialog", state="detached")
        page.goto(hosted.base)
        assert ready(page) == where
    assert len(person(study, 1).answers) == 3


def test_who_declines_leaves_nothing(chromium: Any, hosted: Hosted, study: Study) -> None:
    before = sorted(study.folder.rglob("*"))
    sent: list[str] = []
    with page_at(chromium, hosted.links[2]) as page:
        page.on("request", lambda request: sent.append(request.url))
        page.get_by_role("button", name="I do not").click()
        page.get_by_text("Nothing was stored").wait_for()
    assert sent == []
    assert sorted(study.folder.rglob("*")) == before
    assert not person(study, 2).has_consented


def test_the_researchers_text_is_shown_and_never_run(chromium: Any, hosted: Hosted) -> None:
    with page_at(chromium, hosted.links[2]) as page:
        page.wait_for_selector(".acts")
        assert page.title() == "Comparing pictures"
        assert page.locator("main li").count() == 2
        assert "<script>" in page.inner_text("main")
        assert "[this](javascript:alert(1))" in page.inner_text("main")
        assert page.locator("main a").evaluate_all("all => all.map((one) => one.href)") == [
            "https://study.example/"
        ]
        assert page.locator("main b").inner_text() == "two pictures"


@pytest.mark.nightly
def test_prolifics_address_is_a_way_in_and_leaves_the_address_bar(
    chromium: Any, hosted: Hosted, study: Study
) -> None:
    ids = "PROLIFIC_PID=5f3c77aa&STUDY_ID=61&SESSION_ID=8899aabb"
    with page_at(chromium, f"{hosted.base}/?{ids}") as page:
        begin(page)
        assert page.url == f"{hosted.base}/"
        page.reload()
        page.get_by_role("button", name="Practise").wait_for()
    assert study.enrol(platform_id="5f3c77aa").has_consented
    stored = b"".join(path.read_bytes() for path in study.folder.rglob("*") if path.is_file())
    assert not any(word in stored for word in (b"5f3c77aa", b"8899aabb", b"Mozilla", b"127.0.0.1"))


@pytest.mark.parametrize("way", ["", "#0123456789abcdef0123456789abcdef", "?PROLIFIC=5f"])
@pytest.mark.few(1)
def test_without_a_link_of_this_study_there_is_one_message(chromium: Any, hosted: Hosted, way: str) -> None:
    with page_at(chromium, f"{hosted.base}/{way}", ("status of 409",)) as page:
        page.get_by_role("alert").wait_for()
        assert "link" in page.inner_text("[role=alert]")
        assert page.locator("button").count() == 0


def test_an_answer_that_was_not_sent_is_sent_later_even_after_a_reload(
    chromium: Any, hosted: Hosted, study: Study
) -> None:
    with page_at(chromium, hosted.links[3], ("ERR_FAILED",)) as page:
        begin(page)
        where = ready(page)
        page.route("**/api/answer", lambda route: route.abort())
        for key in ("2", "1", "Enter"):
            page.keyboard.press(key)
        page.get_by_text("cannot be reached").wait_for()
        assert page.locator(".choices [aria-pressed=true]").count() == 2
        page.unroute("**/api/answer")
        page.reload()
        onward(page, where)
        ready(page)
    assert [dict(each.choices) for each in person(study, 3).answers] == [{"shows": "right", "prefer": "left"}]


def test_a_lost_reply_is_asked_for_again_and_kept_once(chromium: Any, hosted: Hosted, study: Study) -> None:
    with page_at(chromium, hosted.links[4], ("ERR_FAILED",)) as page:
        begin(page)
        where, lost = ready(page), []

        def lose(route: Any) -> None:
            route.fetch()  # it reaches the server, and the reply does not come back
            lost.append(1)
            route.abort()

        page.route("**/api/answer", lose, times=1)
        for key in ("2", "1", "Enter"):
            page.keyboard.press(key)
        onward(page, where)
    assert lost == [1]
    assert len(person(study, 4).answers) == 1


@pytest.mark.nightly
def test_two_windows_cannot_answer_one_pair_differently(chromium: Any, hosted: Hosted, study: Study) -> None:
    with page_at(chromium, hosted.links[5], ("status of 409",)) as page:
        begin(page)
        where = ready(page)
        other = page.context.new_page()
        other.goto(hosted.base)
        other.get_by_role("button", name="Practise").click()
        ready(other)
        for window, keys in ((other, "11"), (page, "22")):
            for key in keys:
                window.keyboard.press(key)
            window.keyboard.press("Enter")
        page.get_by_text("answered already").wait_for()
        page.get_by_role("button", name="Go on").click()
        onward(page, where)
        ready(page)
    assert [dict(each.choices) for each in person(study, 5).answers] == [{"shows": "left", "prefer": "left"}]


@pytest.mark.parametrize("fault", ["disk", "plan"])
@pytest.mark.nightly
def test_what_the_study_cannot_keep_is_told_and_sent_again(
    chromium: Any, study: Study, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(study.folder, folder, ignore=shutil.ignore_patterns("*.jsonl.*", "participants"))
    (folder / "participants").mkdir()
    with hosting(folder) as hosted, page_at(chromium, hosted.links[0], ("status of 503",)) as page:
        begin(page)
        for key in ("1", "2", "Enter"):
            page.keyboard.press(key)
        onward(page, "Practice 1 of 1")
        where = ready(page)
        with disturbed(hosted, fault):
            for key in ("1", "2", "Enter"):
                page.keyboard.press(key)
            page.locator("div.problem").wait_for()
            told = page.inner_text("div.problem")
            assert ("disk" in told) == (fault == "disk")
            assert "All that you answered before is kept" in told
            assert str(folder) not in page.content()
        page.get_by_role("button", name="Try again").click()
        onward(page, where)
        ready(page)
        assert [len(each.answers) for each in Study.open(folder).participants()] == [2]


@contextmanager
def disturbed(hosted: Hosted, fault: str) -> Iterator[None]:
    """The system writes no more of any file for the server, or somebody edits the plan."""
    if fault == "disk":
        limits = resource.prlimit(hosted.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(hosted.process.pid, resource.RLIMIT_FSIZE, (10, limits[1]))
        yield
        resource.prlimit(hosted.process.pid, resource.RLIMIT_FSIZE, limits)
        return
    plan = hosted.folder / "plan.json"
    kept = plan.read_text()
    plan.write_text(kept.replace("Which picture?", "Another title"))
    yield
    plan.write_text(kept)


@pytest.mark.nightly
def test_time_counts_only_while_the_page_is_in_front(chromium: Any, hosted: Hosted) -> None:
    with page_at(chromium, hosted.links[6]) as page:
        begin(page)
        sent: list[dict[str, Any]] = []
        page.on(
            "request", lambda each: sent.append(json.loads(each.post_data)) if "answer" in each.url else None
        )
        where = ready(page)
        hide = """(hidden) => {
          Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
        page.evaluate(hide, True)
        page.wait_for_timeout(3000)  # what is measured is time
        page.evaluate(hide, False)
        for key in ("1", "2", "Enter"):
            page.keyboard.press(key)
        onward(page, where)
    assert 0 < sent[0]["seconds"] < 2.9


def test_a_browser_receives_nothing_that_tells_a_method(chromium: Any, hosted: Hosted, study: Study) -> None:
    received: list[tuple[str, bytes]] = []

    def pass_on(route: Any) -> None:  # read on the way: later the browser may have dropped the bytes
        response = route.fetch()
        headers = json.dumps(response.headers).encode()
        received.append((route.request.url, headers + b"\n" + response.body()))
        route.fulfill(response=response)

    with page_at(chromium, hosted.links[7]) as page:
        page.route("**/*", pass_on)
        page.reload()
        begin(page)
        for _ in range(study.plan.trials):
            where = ready(page)
            for key in ("1", "2", "Enter"):
                page.keyboard.press(key)
            onward(page, where)
        page.get_by_text(CODE).wait_for()
    assert {url.partition("/api/")[2].partition("/")[0] for url, _ in received} >= {
        "enter",
        "consent",
        "answer",
    }
    pictures = [content for url, content in received if "/api/pictures/" in url]
    assert len(pictures) == 2 * study.plan.trials
    assert len({len(content.partition(b"\n")[2]) for content in pictures}) == 1
    sealed = unseal(study.folder)
    secrets = [
        *METHODS,
        *sealed["pictures"],
        *sealed["gold"],
        str(study.folder),
        "the-evaluation",
        "prompt_id",
    ]
    for url, content in received:
        text = (url + content.decode("latin-1")).casefold()
        assert [word for word in secrets if word.casefold() in text] == [], url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.few("light")
def test_axe_finds_nothing_serious_on_any_page(chromium: Any, hosted: Hosted, scheme: str) -> None:
    link = hosted.links[8 if scheme == "light" else 9]
    with page_at(chromium, link, color_scheme=scheme, bypass_csp=True, **PHONE) as page:
        page.add_init_script(path=str(AXE))
        page.reload()

        def grave() -> list[Any]:
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            return [
                (each["id"], [node["html"][:100] for node in each["nodes"]])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]

        for name in ("I do not", "Back to the text", "I agree", "Continue", "Practise"):
            page.get_by_role("button", name=name).wait_for()
            assert grave() == [], name
            page.get_by_role("button", name=name).click()
        ready(page)
        page.keyboard.press("1")
        assert grave() == []
        page.locator(".picture").first.click()
        page.wait_for_selector("dialog[open]")
        assert grave() == []
        page.get_by_role("button", name="Back").click()
        while page.locator(".pair").count():
            where = ready(page)
            page.keyboard.press("1")
            page.keyboard.press("2")
            page.locator(".go").click()
            onward(page, where)
        page.get_by_text(CODE).wait_for()
        assert grave() == []
