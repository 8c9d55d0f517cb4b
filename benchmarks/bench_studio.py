"""The studio's measures: editing in the browser, a drawing against the command line's, memory, size, history.

`python benchmarks/run.py studio` prints one line per measure: processor seconds where one process does the
work, and what a person waits for in the browser. The browser's need chromium and playwright.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

TEXT = "a red house in the snow, [watercolor:late]"
SIXTY = "a red house, " + ", ".join(f"[word {n}:{1 - n / 100:g}->0.1]" for n in range(60))
# From the input event until the bars are changed and laid out: 40 letters typed, 40 steps of a drag.
EDITS = """async ([how, count]) => {
  const rows = document.querySelector(".rows"), field = document.querySelector("textarea");
  const bar = () => rows.querySelectorAll(".row:not(.plain)")[7];
  const until = (shown) => new Promise((done) => {
    const look = () => shown() && (watch.disconnect(), rows.getBoundingClientRect(), done(performance.now()));
    const watch = new MutationObserver(look);
    watch.observe(rows, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  const took = [], served = [];
  const box = bar().querySelector(".edge.first").getBoundingClientRect();
  const point = (type, x) => bar().querySelector(".edge.first").dispatchEvent(new PointerEvent(type,
    { bubbles: true, pointerId: 1, isPrimary: true, button: 0, clientX: x, clientY: box.y + 1 }));
  const step = rows.querySelector(".track").getBoundingClientRect().width / 30;
  Element.prototype.setPointerCapture = () => {};
  if (how === "drag") point("pointerdown", box.x + box.width / 2);
  for (let n = 0; n < count; n++) {
    await new Promise((done) => setTimeout(done, 60));
    performance.clearResourceTimings();
    const start = performance.now();
    if (how === "drag") {
      const before = field.value;
      point("pointermove", box.x + box.width / 2 + step * (1 + n % 2));
      took.push((await until(() => field.value !== before)) - start);
    } else {
      const wanted = "word 7" + "abcdefghij"[n % 10];
      field.value = field.value.replace(/word 7[a-z]*:/, wanted + ":");
      field.dispatchEvent(new Event("input", { bubbles: true }));
      took.push((await until(() => bar().querySelector(".words").textContent === wanted)) - start);
    }
    served.push(performance.getEntriesByType("resource").at(-1)?.duration ?? 0);
  }
  if (how === "drag") point("pointerup", 0);
  return [took, served];
}"""


def tell(name: str, value: str) -> None:
    print(f"{name:42} {value}", flush=True)


def measure_client() -> None:
    from dfprompt.web.server import STATIC

    size = sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file())
    tell("client, unpacked (at most 250 kB)", f"{size / 1000:.0f} kB")


def measure_reading() -> None:
    """The server's share of an edit: a text of sixty brackets read, planned and written as JSON."""
    from dfprompt.prompt import make_plan
    from dfprompt.web.document import edit_text, make_document

    def plan_of(prompt: Any) -> Any:
        return make_plan(prompt, 30)

    change = {"do": "range", "bar": 5, "first": 3, "stop": 9}
    took = []
    for _ in range(30):
        start = time.process_time()
        json.dumps(make_document(edit_text(SIXTY, change, plan_of), plan_of))
        took.append(time.process_time() - start)
    tell(
        "a drag of 60 bars at 30 steps, server", f"{1000 * statistics.median(took):.1f} ms of processor time"
    )


def measure_history(folder: Path) -> None:
    """Five hundred drawings of eight pictures, opened and listed."""
    from dfprompt.measurement.log import ROWS, MeasurementLog
    from dfprompt.measurement.rows import Row
    from dfprompt.web.history import History

    rows = [
        Row(label, "a", "a red house", seed, picture=f"{label}{seed}.png", scores={"reward": 1.0})
        for seed in range(4)
        for label in ("plain", "yours")
    ]
    with MeasurementLog(folder / "first" / ROWS, kind="comparison") as log:
        log.append(rows)
    # What is measured is reading: the lines need not be on the disk when the power fails.
    with unittest.mock.patch("os.fsync"), History(folder) as history:
        for number in range(500):
            made = history.add(
                text=f"{TEXT} {number}",
                plain="a red house",
                columns=(("yours", TEXT),),
                seeds=(0, 1, 2, 3),
                created="2026-01-01T00:00:00+00:00",
            )
            history.place(made).mkdir(parents=True)
            shutil.copy(folder / "first" / ROWS, history.place(made) / ROWS)
    start, used = time.perf_counter(), time.process_time()
    with History(folder) as history:
        shown = json.dumps([history.card(drawing) for drawing in history.drawings])
    waited = time.perf_counter() - start
    tell(
        "500 rows opened and listed (at most 1 s)",
        f"{waited:.2f} s, {time.process_time() - used:.2f} s of processor time, {len(shown) / 1000:.0f} kB",
    )


def measure_drawing(folder: Path) -> None:
    """The same eight pictures by `compare` and by the studio's job, in turns in one process."""
    from dfprompt.api.comparison import compare_prompts
    from dfprompt.requests.studio import StudioRequest
    from dfprompt.web.history import History
    from dfprompt.web.jobs import Jobs
    from dfprompt.web.studio import Studio

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    history = History(folder / "history")
    studio = Studio(StudioRequest(), history, Jobs())
    studio.start()

    def idle() -> None:
        while studio.jobs.unfinished():
            time.sleep(0.005)

    idle()
    pipeline, _ = studio._loaded()

    def by_command(number: int) -> None:
        compare_prompts([], folder / f"c{number}", written=[TEXT], seed=number, seeds=4, pipeline=pipeline)

    def by_studio(number: int) -> None:
        studio.draw({"text": TEXT, "seeds": [number + each for each in range(4)]})
        idle()

    by_command(900)
    before = peak()
    by_studio(900)
    took: dict[str, list[float]] = {"command": [], "studio": []}
    for number in range(0, 60, 10):
        for name, draw in (("command", by_command), ("studio", by_studio)):
            start = time.process_time()
            draw(number)
            took[name].append(time.process_time() - start)
    ratio = statistics.median(took["studio"]) / statistics.median(took["command"])
    tell(
        "a drawing: studio to compare (at most 1.05)",
        f"{ratio:.3f} of {statistics.median(took['command']):.2f} s of processor time (8 pictures)",
    )
    tell("memory the studio adds (at most 80 MB)", f"{peak() - before:.0f} MB over what compare took")
    studio.jobs.stop()
    history.close()


def importing() -> float:
    """Processor seconds of a process that imports what any picture needs, and does nothing."""
    work = "import time, torch; from diffusers import StableDiffusionPipeline; print(time.process_time())"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", work], capture_output=True, text=True, check=True
    )
    return float(ran.stdout.split()[-1])


def spent(process: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().split()
    return (int(fields[13]) + int(fields[14])) / 100


def busy(chrome: Any) -> float:
    """Processor seconds of the page's main thread so far."""
    metrics = chrome.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def measure_browser(folder: Path) -> None:
    from browsing import browser, page_of, serving

    start = time.perf_counter()
    with browser() as launched, serving(folder / "browser") as served:
        with page_of(launched, served) as page:
            page.wait_for_selector(".row .fill")
            shown = time.perf_counter() - start
            page.wait_for_selector("figure img", timeout=120_000)
            tell(
                "opened: bars, first picture (under 8 s)",
                f"{shown:.1f} s, {time.perf_counter() - start:.1f} s",
            )
            used, libraries = spent(served.process.pid), importing()
            tell(
                "processor time until then, server",
                f"{used:.1f} s, {used / libraries:.2f} x importing the libraries alone ({libraries:.1f} s)",
            )
            while served.call("/api/jobs")["jobs"]:
                time.sleep(0.1)
            page.fill("textarea", SIXTY)
            page.wait_for_function("() => document.querySelectorAll('.row:not(.plain)').length === 60")
            page.get_by_role("button", name="Settings").click()
            page.get_by_label("Steps", exact=True).fill("30")
            page.get_by_label("Steps", exact=True).press("Enter")
            page.wait_for_function("() => document.querySelectorAll('.ticks span').length === 30")
            chrome = page.context.new_cdp_session(page)
            chrome.send("Performance.enable", {"timeDomain": "threadTicks"})
            for how, count in (("type", 40), ("drag", 40)):
                page.evaluate(EDITS, [how, 5])
                before = busy(chrome), spent(served.process.pid)
                took, waited = page.evaluate(EDITS, [how, count])
                used = busy(chrome) - before[0], spent(served.process.pid) - before[1]
                tell(
                    f"{how}: 60 bars redrawn (under 50 ms)",
                    f"median {statistics.median(took):.0f} ms, "
                    f"90 % within {sorted(took)[count * 9 // 10]:.0f} ms; "
                    f"of it waiting for the server {statistics.median(waited):.0f} ms",
                )
                tell(
                    f"{how}: processor time of an edit",
                    f"{1000 * used[0] / count:.0f} ms of the page's thread, painting included, and "
                    f"{1000 * used[1] / count:.0f} ms of the server",
                )


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_client()
        measure_reading()
        measure_history(folder / "rows")
        if "--browser" not in sys.argv:
            measure_drawing(folder)
        measure_browser(folder)


if __name__ == "__main__":
    main()
