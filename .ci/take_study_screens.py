"""Every page of a study as a picture in docs/images/study/, wide and on a phone: `take_study_screens.py`.

Needs chromium and playwright, as the browser tests do. The pictures in the study are drawn by mini.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".ci")]

from take_studio_screens import PHONE, WIDE, make_small  # noqa: E402

from browsing import Hosted, browser, hosting, page_at  # noqa: E402
from tiny_study import make_study  # noqa: E402

PLACE = ROOT / "docs" / "images" / "study"
COMPLETION = "https://app.prolific.com/submissions/complete?cc=C1A2B3C4"
CONSENT = """# What this is about

We compare pictures that computers drew. You see **two pictures at a time** and say which one shows better
what was asked for, and which one you like more. It takes about ten minutes.

## What is kept

- Your answers, and how long each of them took.
- What you choose to say of yourself; you may leave out any of it.
- *Not* your name, your address on the network, or your browser.

## Your rights

You may stop at any time without a reason. Write to [the people who ask](mailto:study@example.org) and your
answers are deleted.
"""


def consent(page: Any) -> None:
    page.get_by_role("button", name="I agree").wait_for()


def about(page: Any) -> None:
    page.get_by_role("button", name="I agree").click()
    page.get_by_label("Your age").select_option("35-44")


def guide(page: Any) -> None:
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Practise").wait_for()


def practice(page: Any) -> None:
    page.get_by_role("button", name="Practise").click()
    page.wait_for_selector(".pair[aria-busy=false]")


def answer(page: Any) -> None:
    page.wait_for_selector(".pair[aria-busy=false]")
    for key in ("1", "2"):
        page.keyboard.press(key)
    where = page.locator(".top p").inner_text()
    page.locator(".go").click()
    page.wait_for_function("(where) => document.querySelector('.top p')?.innerText !== where", arg=where)


def pair(page: Any) -> None:
    while page.locator(".practice").count():
        answer(page)
    page.wait_for_selector(".pair[aria-busy=false]")
    page.keyboard.press("2")


def large(page: Any) -> None:
    page.locator(".picture").first.click()
    page.wait_for_selector("dialog[open]")


def lost(page: Any) -> None:
    page.get_by_role("button", name="Back").click()
    page.route("**/api/answer", lambda route: route.abort())
    page.keyboard.press("0")
    page.locator(".go").click()
    page.wait_for_selector("div.problem")


def done(page: Any) -> None:
    page.unroute("**/api/answer")  # the page tries again by itself
    page.wait_for_selector("div.problem", state="detached")
    while page.locator(".pair").count():
        answer(page)


STATES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (consent, about, guide, practice, pair, large, lost, done)
}


def take(launched: Any, hosted: Hosted, link: str, viewport: dict[str, int], ending: str) -> None:
    touch = viewport is PHONE
    options = {"viewport": viewport, "has_touch": touch, "is_mobile": touch, "device_scale_factor": 1}
    with page_at(launched, link, ("ERR_FAILED",), **options) as page:
        for name, reach in STATES.items():
            reach(page)
            page.wait_for_timeout(250)
            page.screenshot(path=PLACE / f"{name}{ending}.png")
            make_small(PLACE / f"{name}{ending}.png")


def plan(folder: Path) -> Path:
    """A small study of what mini draws."""
    methods = ("plain", "policy")
    command = [
        "evaluate",
        "--prompts",
        "mini",
        "--count",
        "24",
        "--seeds",
        "1",
        "--methods",
        ",".join(methods),
    ]
    asked = [sys.executable, "-m", "dfprompt", *command, "--output", str(folder / "evaluation")]
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    made = make_study(folder / "study", folder / "evaluation", methods=methods, practice=2)
    return made.folder


def main(folder: str | None) -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser() as launched:
        study = Path(folder) if folder else plan(Path(scratch))
        (study / "consent.md").write_text(CONSENT, encoding="utf-8")
        with hosting(study, "--rehearsal", "--completion", COMPLETION) as hosted:
            take(launched, hosted, hosted.links[0], WIDE, "")
            take(launched, hosted, hosted.links[1], PHONE, "-phone")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None)
