"""Every state of the studio as a picture in docs/images/studio/: `take_studio_screens.py [NAME...]`.

Needs chromium and playwright, as the browser tests do; draws with mini, a few minutes on one core.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from PIL import Image  # noqa: E402

from browsing import Served, browser, page_of, serving  # noqa: E402

PLACE = ROOT / "docs" / "images" / "studio"
TEXT = "a red house in the snow, [watercolor:late], [vignette:0.8->0.3:0.5->1.25], [soft glow:early:0.75]"
WIDE, PHONE, LARGE = (
    {"width": 1400, "height": 900},
    {"width": 390, "height": 844},
    {"width": 3840, "height": 2160},
)


def write(page: Any, text: str) -> None:
    page.fill("textarea", text)
    page.wait_for_timeout(400)


def idle(served: Served) -> None:
    while served.call("/api/jobs")["jobs"]:
        time.sleep(0.2)


def first(page: Any, served: Served) -> None:
    page.wait_for_selector("figure img", timeout=120_000)
    idle(served)


def tour(page: Any, served: Served) -> None:
    for number in (1, 2, 3):
        page.locator(".tour button", has_text=f"{number}.").click()
        page.wait_for_timeout(500)
        idle(served)
    page.wait_for_timeout(800)


def edited(page: Any, served: Served) -> None:
    page.get_by_role("button", name="Done").click()
    write(page, TEXT)
    page.locator(".row:not(.plain)").nth(1).hover()
    page.keyboard.press("Escape")


def mistake(page: Any, served: Served) -> None:
    write(page, "a red house in the snow, [watercolor:0-0.5:1.5]")


def panel(name: str, wait: int = 600) -> Callable[[Any, Served], None]:
    def show(page: Any, served: Served) -> None:
        write(page, TEXT)
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(wait)
        idle(served)
        page.wait_for_timeout(wait)

    return show


def tuned(page: Any, served: Served) -> None:
    write(page, "a red house in the snow")
    page.get_by_role("button", name="Tune", exact=True).click()
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_timeout(1000)
    idle(served)
    page.wait_for_timeout(500)


def slider(page: Any, served: Served) -> None:
    page.get_by_role("button", name="Slider").click()
    page.wait_for_timeout(400)


def steps(page: Any, served: Served) -> None:
    page.get_by_role("button", name="Side by side").click()
    page.get_by_role("button", name="Steps of").last.click()
    page.wait_for_selector(".steps", timeout=60_000)
    page.wait_for_timeout(800)
    page.locator(".steps").scroll_into_view_if_needed()


def dropped(page: Any, served: Served) -> None:
    file = next(iter(sorted((served.folder / "drawings" / "1").glob("yours-seed1.png"))))
    write(page, "a blue boat, [mist:early]")
    handle = page.evaluate_handle(
        "async (bytes) => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(bytes)],"
        " 'house.png', {type: 'image/png'})); return data; }",
        list(file.read_bytes()),
    )
    page.dispatch_event("main", "drop", {"dataTransfer": handle})
    page.wait_for_selector("dialog")
    page.wait_for_timeout(300)


def sixty(page: Any, served: Served) -> None:
    write(
        page,
        "a red house, " + ", ".join(f"[word {n}:{1 - n / 100:g}->{0.3 - n / 300:.2f}]" for n in range(60)),
    )


STATES: dict[str, tuple[dict[str, int], str, Callable[[Any, Served], None]]] = {
    "first": (WIDE, "light", first),
    "tour": (WIDE, "light", tour),
    "edited": (WIDE, "light", edited),
    "mistake": (WIDE, "light", mistake),
    "suggest": (WIDE, "light", panel("Suggest")),
    "words": (WIDE, "light", panel("Add words")),
    "styles": (WIDE, "light", panel("Styles")),
    "export": (WIDE, "light", panel("Export")),
    "settings": (WIDE, "light", panel("Settings")),
    "tune": (WIDE, "light", tuned),
    "slider": (WIDE, "light", slider),
    "steps": (WIDE, "light", steps),
    "dropped": (WIDE, "light", dropped),
    "sixty": (WIDE, "light", sixty),
    "dark": (WIDE, "dark", lambda page, served: write(page, TEXT)),
    "phone": (PHONE, "light", lambda page, served: write(page, TEXT)),
    "large": (LARGE, "light", lambda page, served: write(page, TEXT)),
}


def make_small(path: Path) -> None:
    """A third of the bytes: 256 colours, and at most 1920 pixels wide."""
    with Image.open(path) as opened:
        shown = opened.convert("RGB")
    shown.thumbnail((1920, 4000))
    shown.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main(names: list[str]) -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        browser() as launched,
        serving(Path(folder) / "history") as served,
        contextlib.ExitStack() as stack,
    ):
        opened: dict[str, Any] = {}
        for name, (viewport, scheme, prepare) in STATES.items():
            if names and name not in ("first", "tour", "edited", *names):
                continue
            key = str((viewport, scheme))
            if key not in opened:
                touch = viewport is PHONE
                options = {"viewport": viewport, "color_scheme": scheme, "has_touch": touch}
                opened[key] = stack.enter_context(page_of(launched, served, **options))
            page = opened[key]
            prepare(page, served)
            page.wait_for_timeout(400)
            page.screenshot(path=PLACE / f"{name}.png")
            make_small(PLACE / f"{name}.png")
            for close in page.locator(".panel > header button").all():
                close.click()
            if page.locator("dialog").count():
                page.get_by_role("button", name="Cancel").click()


if __name__ == "__main__":
    main(sys.argv[1:])
