"""The studio in a real browser: typed, dragged, drawn, cancelled, reloaded, by keyboard alone, on a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import Served, browser, page_of, serving

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]
TEXT = "a red house in the snow, [watercolor:late]"
FIELD = "textarea"
FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def served(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "history") as running:
        yield running


@pytest.fixture
def page(chromium: Any, served: Served) -> Iterator[Any]:
    with page_of(chromium, served) as opened:
        write(opened, TEXT)
        yield opened


def write(page: Any, text: str) -> None:
    page.fill(FIELD, text)
    page.wait_for_function("() => !document.querySelector('.timeline.stale')")


def text_is(page: Any, text: str) -> None:
    """Wait until the field has this text and the bars are those of it."""
    page.wait_for_function(
        "(text) => document.querySelector('textarea').value === text"
        " && !document.querySelector('.timeline.stale')",
        arg=text,
    )


def bars(page: Any) -> list[str]:
    return page.locator(".row:not(.plain) .words").all_inner_texts()


def drag(page: Any, what: Any, dx: float, dy: float = 0.0) -> None:
    box = what.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2, steps=3)
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()


def step_width(page: Any) -> float:
    return page.locator(".row.plain .track").bounding_box()["width"] / 10


def draw(page: Any, served: Served, seeds: int | None = None) -> list[dict[str, Any]]:
    """Press Draw, wait until it is drawn, and return the drawings, newest first."""
    start_drawing(page, seeds)
    return settle(served)


def start_drawing(page: Any, seeds: int | None = None) -> None:
    if seeds is not None:
        page.get_by_label("Seeds", exact=True).fill(str(seeds))
        page.get_by_label("Seeds", exact=True).press("Enter")
    with page.expect_response("**/api/draw"):
        page.locator("button.go").click()


def settle(served: Served) -> list[dict[str, Any]]:
    """Wait until nothing is being drawn, and return the drawings, newest first."""
    for _ in range(1200):
        drawings = served.call("/api/history")["drawings"]
        if drawings and not served.call("/api/jobs")["jobs"]:
            return drawings
        time.sleep(0.1)
    raise AssertionError("the queue never emptied")


def test_typing_moves_bars_and_bars_rewrite_the_text(page: Any) -> None:
    assert bars(page) == ["watercolor"]
    page.locator(FIELD).press_sequentially(", [film grain:early:1.5]")
    page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 2")
    assert bars(page) == ["watercolor", "film grain"]
    width = step_width(page)
    drag(page, page.locator(".row:not(.plain)").first.locator(".edge.first"), -2 * width)
    text_is(page, "a red house in the snow, [watercolor:0.7->0], [film grain:early:1.5]")
    drag(page, page.locator("#bar-1"), 3 * width)
    text_is(page, "a red house in the snow, [watercolor:0.7->0], [film grain:0.7->0.2:1.5]")
    drag(page, page.locator("#bar-0"), 0, -30)
    text_is(page, "a red house in the snow, [watercolor:0.7->0:1.5], [film grain:0.7->0.2:1.5]")
    for expected in (
        "a red house in the snow, [watercolor:0.7->0], [film grain:0.7->0.2:1.5]",
        "a red house in the snow, [watercolor:0.7->0], [film grain:early:1.5]",
        "a red house in the snow, [watercolor:late], [film grain:early:1.5]",
    ):
        page.get_by_role("button", name="Undo").click()
        text_is(page, expected)
    page.get_by_role("button", name="Redo").click()
    text_is(page, "a red house in the snow, [watercolor:0.7->0], [film grain:early:1.5]")


@pytest.mark.nightly
def test_what_is_typed_before_the_server_answers_is_kept(chromium: Any, served: Served) -> None:
    with page_of(chromium, served) as page:
        held: list[Any] = []
        page.route("**/api/state", lambda route: held.append(route))
        page.evaluate("sessionStorage.clear(); localStorage.removeItem('dfprompt-draft')")
        page.reload()
        write(page, "a blue boat")
        page.get_by_label("Seeds", exact=True).fill("3")
        page.get_by_label("Seeds", exact=True).press("Enter")
        assert page.inner_text(".model").strip() == "\u2013 loading"
        held[0].continue_()
        page.wait_for_function("() => document.querySelector('.model').innerText.length > 12")
        page.wait_for_timeout(100)  # what could overwrite it comes with the answer
        assert page.input_value(FIELD) == "a blue boat"
        assert page.get_by_label("Seeds", exact=True).input_value() == "3"


@pytest.mark.nightly
def test_rows_are_carried_to_another_place_by_mouse_and_by_keyboard(page: Any) -> None:
    write(page, "a house, [one:early], [two:late], [three:0.3->0]")
    page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 3")
    height = page.locator(".row:not(.plain)").first.bounding_box()["height"] + 3
    drag(page, page.get_by_label("Place of one"), 0, 2 * height)
    text_is(page, "a house, [two:late], [three:0.3->0], [one:early]")
    assert bars(page) == ["two", "three", "one"]
    page.get_by_label("Place of one").focus()
    page.keyboard.press("ArrowUp")
    text_is(page, "a house, [two:late], [one:early], [three:0.3->0]")
    page.wait_for_function(f"() => ({FOCUSED}) === 'Place of one'")
    page.keyboard.press("ArrowUp")
    text_is(page, "a house, [one:early], [two:late], [three:0.3->0]")
    drag(page, page.get_by_label("Place of three"), 0, -2 * height)
    text_is(page, "a house, [three:0.3->0], [one:early], [two:late]")
    page.get_by_role("button", name="Undo").click()
    text_is(page, "a house, [one:early], [two:late], [three:0.3->0]")


@pytest.mark.nightly
def test_words_by_turns_have_a_bar_that_is_not_dragged(page: Any) -> None:
    write(page, "a [red|blue] house, [snow:late]")
    page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 2")
    assert bars(page) == ["red|blue", "snow"]
    for step, text in (("1", "a red house"), ("2", "a blue house"), ("9", "a red house, snow")):
        page.get_by_label("Step whose text is shown").fill(step)
        page.wait_for_function("(text) => document.querySelector('.readout q').innerText === text", arg=text)
    drag(page, page.locator("#bar-0"), 3 * step_width(page))
    drag(page, page.locator("#bar-1"), -2 * step_width(page))
    text_is(page, "a [red|blue] house, [snow:0.7->0.2]")


@pytest.mark.nightly
def test_a_number_half_typed_stays_while_the_page_is_drawn_again(page: Any) -> None:
    field = page.get_by_label("Seeds", exact=True)
    field.fill("7")
    page.locator(".row.plain .track").hover()  # the step under the pointer is shown
    page.wait_for_function("() => document.querySelector('.readout')?.innerText.length > 0")
    page.wait_for_timeout(100)
    assert field.input_value() == "7"
    field.press("Enter")
    page.locator(".row.plain .track").hover(position={"x": 5, "y": 5})
    assert field.input_value() == "7"
    field.fill("0")
    field.press("Enter")
    page.wait_for_function("() => document.querySelector('.seeds-of input').value === '1'")


def test_errors_are_told_in_place_with_corrections_that_work(page: Any) -> None:
    page.fill(FIELD, "a red house, [watercolor:0-0.5]")
    page.wait_for_selector(".problem")
    assert "has no arrow" in page.inner_text(".problem")
    assert page.locator(".mirror mark.wrong").inner_text() == "0-0.5"
    page.locator(".fixes button").first.click()
    text_is(page, "a red house, [watercolor:0.5->0]")
    page.wait_for_selector(".problem", state="detached")


@pytest.mark.nightly
def test_the_text_of_a_step_is_shown(page: Any) -> None:
    for step, text in (("3", "a red house in the snow"), ("9", "a red house in the snow, watercolor")):
        page.get_by_label("Step whose text is shown").fill(step)
        page.wait_for_function("(text) => document.querySelector('.readout q').innerText === text", arg=text)


def test_everything_goes_by_keyboard(page: Any) -> None:
    field = page.locator(FIELD)
    field.focus()
    page.evaluate("document.querySelector('textarea').setSelectionRange(2, 5)")
    page.keyboard.press("Control+ArrowUp")
    text_is(page, "a [red::1.1] house in the snow, [watercolor:late]")
    page.keyboard.press("Control+ArrowUp")
    text_is(page, "a [red::1.2] house in the snow, [watercolor:late]")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    text_is(page, TEXT)
    page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 1")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if seen[-1].startswith("watercolor, late half"):
            break
    assert seen[-1].startswith("watercolor, late half"), seen
    page.keyboard.press("ArrowLeft")
    text_is(page, "a red house in the snow, [watercolor:0.6->0.1]")
    page.keyboard.press("ArrowUp")
    text_is(page, "a red house in the snow, [watercolor:0.6->0.1:1.05]")
    page.keyboard.press("m")
    text_is(page, "a red house in the snow, [watercolor:0.6->0.1:0]")
    page.keyboard.press("m")
    text_is(page, "a red house in the snow, [watercolor:0.6->0.1:1.05]")
    page.keyboard.press("l")
    page.wait_for_selector(".row.locked")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    text_is(page, "a red house in the snow, [watercolor:0.5->0.1:1.05]")
    page.locator("#bar-0").focus()
    page.keyboard.press("Delete")
    text_is(page, "a red house in the snow")


def test_plain_and_edited_are_two_pictures_of_one_seed(page: Any, served: Served) -> None:
    page.get_by_label("Seeds", exact=True).fill("2")
    page.locator(FIELD).focus()
    with page.expect_response("**/api/draw"):
        page.keyboard.press("Control+Enter")
    drawing = settle(served)[0]
    page.wait_for_function("() => document.querySelectorAll('figure img').length === 2")
    drawn = [(each["label"], each["seed"]) for each in drawing["pictures"]]
    assert drawn == [("plain", 0), ("yours", 0), ("plain", 1), ("yours", 1)]
    place = served.folder / "drawings" / drawing["id"]
    files = [(place / f"{label}-seed0.png").read_bytes() for label in ("plain", "yours")]
    assert files[0] != files[1]
    sizes = page.evaluate("[...document.querySelectorAll('figure img')].map((img) => img.naturalWidth)")
    assert sizes == [64, 64]
    page.get_by_role("button", name="Slider").click()
    page.get_by_label("How much of plain is shown beside yours").fill("20")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.over')).clipPath")
        == "inset(0px 80% 0px 0px)"
    )
    page.get_by_role("tab", name="Seed 1").click()
    page.wait_for_selector(".stage img[alt='yours, seed 1']")


def test_cancelling_keeps_what_is_drawn_and_reloading_keeps_everything(page: Any, served: Served) -> None:
    before = settle(served)[0]["id"]
    start_drawing(page, 16)
    for _ in range(1200):  # the page still shows the drawing before, so the history is asked
        newest = served.call("/api/history")["drawings"][0]
        if newest["id"] != before and newest["pictures"]:
            break
        time.sleep(0.05)
    page.get_by_role("button", name="Cancel").first.click()
    drawing = settle(served)[0]
    assert drawing["id"] != before
    assert 0 < len(drawing["pictures"]) < 32
    assert drawing["missing"] == 32 - len(drawing["pictures"])
    page.wait_for_selector("text=not drawn")
    write(page, "a blue boat, [mist:early]")
    page.wait_for_timeout(300)
    page.reload()
    text_is(page, "a blue boat, [mist:early]")
    page.wait_for_selector("text=not drawn")
    assert page.get_by_label("Seeds", exact=True).input_value() == "16"
    assert bars(page) == ["mist"]


@pytest.mark.nightly
def test_the_history_restores_and_can_be_searched(page: Any, served: Served) -> None:
    settle(served)
    write(page, "a green tree at night, [vignette:early]")
    draw(page, served, 1)
    page.wait_for_selector(".card:has-text('green') ins")  # what changed in the words is marked
    page.get_by_label("Search the history").fill("red watercolor")
    page.wait_for_function("() => !document.querySelector('.history').innerText.includes('green')")
    card = page.locator(".card").first
    card.hover()
    card.get_by_role("button", name="Restore drawing").click()
    text_is(page, TEXT)
    page.locator(FIELD).focus()
    page.keyboard.press("Control+z")
    text_is(page, "a green tree at night, [vignette:early]")


@pytest.mark.nightly
def test_two_tabs_keep_apart_and_share_the_history(page: Any, served: Served) -> None:
    settle(served)
    other = page.context.new_page()
    other.goto(served.address)
    other.wait_for_selector(FIELD)
    write(other, "a white cat on a hill, [glossy:late]")
    assert page.input_value(FIELD) == TEXT
    start_drawing(other, 1)
    page.wait_for_selector(".card:has-text('white')")
    settle(served)
    other.close()


@pytest.mark.nightly
def test_sixty_brackets_are_sixty_bars(page: Any) -> None:
    spans = ", ".join(f"[word {n}:{1 - n / 100:g}->0.1:{1 + n / 100:g}]" for n in range(60))
    write(page, f"a red house, {spans}")
    page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 60")
    drag(page, page.locator("#bar-2"), 0, -30)
    page.wait_for_function(
        "() => document.querySelector('textarea').value.includes('[word 2:0.98->0.1:1.52]')"
    )


@pytest.mark.parametrize(("width", "height"), [(390, 844), (3840, 2160)])
@pytest.mark.few("390-844")
def test_phones_and_large_screens(chromium: Any, served: Served, width: int, height: int) -> None:
    options = {"viewport": {"width": width, "height": height}, "has_touch": width < 500}
    with page_of(chromium, served, **options) as page:
        write(
            page, f"{TEXT}, [film grain:early:1.5], [a modifier with a rather long name of many words::1.25]"
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        edge = page.locator(".row:not(.plain)").first.locator(".edge.first")
        box = edge.bounding_box()
        assert box["width"] >= (24 if width < 500 else 10)
        drag(page, edge, -page.locator(".row.plain .track").bounding_box()["width"] / 10)
        page.wait_for_function(
            "() => document.querySelector('textarea').value.includes('[watercolor:0.6->0]')"
        )


def test_a_page_without_the_token_says_what_to_do(chromium: Any, served: Served) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(served.base)
    page.wait_for_selector("text=Open the address that the terminal shows")
    context.close()


DROP = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


def test_a_dropped_picture_changes_nothing_until_it_is_applied(page: Any, served: Served) -> None:
    if not list((served.folder / "drawings").rglob("yours-seed*.png")):
        draw(page, served, 1)
    file = sorted((served.folder / "drawings").rglob("yours-seed*.png"))[0]
    write(page, "a blue boat")
    page.evaluate(DROP, list(file.read_bytes()))
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert "a blue boat" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert page.input_value(FIELD) == "a blue boat"
    page.evaluate(DROP, list(file.read_bytes()))
    dialog.get_by_role("button", name="For reference").click()
    page.wait_for_selector(".reference img")
    assert page.input_value(FIELD) == "a blue boat"
    page.get_by_label("Reference").get_by_role("button", name="Apply").click()
    text_is(page, TEXT)
    page.get_by_role("button", name="Undo").click()
    text_is(page, "a blue boat")
    page.evaluate(DROP, list(b"no picture"))
    page.wait_for_selector(".toast.error:has-text('not a picture')")


@pytest.mark.nightly
def test_suggestions_are_taken_one_by_one_and_exports_name_what_they_lose(page: Any, served: Served) -> None:
    settle(served)
    page.get_by_role("button", name="Suggest").click()
    page.locator(".offers .offer button").first.click(timeout=60_000)
    page.wait_for_function(f"() => document.querySelector('textarea').value.startsWith('{TEXT}, [')")
    write(page, "a cat, [snow:late:0.5->1.5]")
    page.get_by_role("button", name="Export").click()
    page.wait_for_selector(".forms h3:has-text('Command line')")
    assert "dfprompt compare" in page.inner_text(".forms")


@pytest.mark.nightly
def test_the_negative_prompt_has_bars_and_every_panel_adds_to_the_text(page: Any, served: Served) -> None:
    page.get_by_role("tab", name="Negative").click()
    page.fill(FIELD, "[fog:early:0.5]")
    page.wait_for_function("() => document.querySelector('.row .words')?.textContent === 'fog'")
    drag(page, page.locator("#bar-0"), page.locator(".rows .track").first.bounding_box()["width"] / 10)
    text_is(page, "[fog:0.9->0.4:0.5]")
    page.get_by_role("tab", name="Prompt").click()
    text_is(page, TEXT)
    page.get_by_role("button", name="Add words").click()
    offer = page.locator("#panel-lexicon .offer:not([disabled])").first
    begins = f"{TEXT}, [{offer.inner_text()}"
    offer.click()
    page.wait_for_function(
        "(begins) => document.querySelector('textarea').value.startsWith(begins)", arg=begins
    )
    write(page, "a red house in the snow, [glossy:late]")
    page.get_by_role("button", name="Styles").click()
    page.get_by_label("Name of the style").fill("shiny")
    page.get_by_role("button", name="Keep the brackets").click()
    page.locator(".styles li", has_text="shiny").wait_for()
    write(page, "a boat")
    page.locator(".styles li", has_text="shiny").get_by_role("button").first.click()
    text_is(page, "a boat, [glossy:late]")
    page.get_by_role("button", name="Forget shiny").click()
    page.locator(".styles li", has_text="shiny").wait_for(state="detached")


@pytest.mark.nightly
def test_what_a_word_did_and_what_each_step_looked_like(page: Any, served: Served) -> None:
    settle(served)
    page.get_by_label("Seeds", exact=True).fill("1")
    page.get_by_label("Seeds", exact=True).press("Enter")
    page.locator(".row:not(.plain)").first.hover()
    with page.expect_response("**/api/draw"):
        page.get_by_label("Which difference does watercolor make?").click()
    drawing = settle(served)[0]
    assert drawing["columns"] == [["yours", TEXT]]  # without its only bracket it is plain
    page.wait_for_function("() => document.querySelectorAll('figure img').length === 2")
    page.get_by_role("button", name="Slider").click()
    page.wait_for_selector(".stage img[alt='plain, seed 0']")
    page.get_by_role("button", name="Side by side").click()
    page.get_by_role("button", name="Steps of yours").click()
    page.wait_for_function("() => document.querySelectorAll('.steps li').length === 10", timeout=60_000)
    assert "watercolor" in page.locator(".steps li").nth(5).inner_text()


AXE = Path(__file__).parent / "axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.few("light")
def test_axe_finds_nothing_serious(chromium: Any, served: Served, scheme: str) -> None:
    with page_of(chromium, served, color_scheme=scheme, bypass_csp=True) as page:
        write(page, f"{TEXT}, [film grain:early:0], [glossy:late:0.5->1.5]")
        page.wait_for_selector("figure img")
        page.get_by_role("button", name="Settings").click()
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in grave] == []
