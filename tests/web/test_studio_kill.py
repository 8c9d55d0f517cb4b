"""kill -9 of the studio at random moments of twenty drawings: whole lines, whole pictures, and it goes on.

Some moments are times; others come when a picture has just got its name, so that the next of the same batch
has none yet, or its row is not written.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from PIL import Image

from browsing import serving

pytestmark = [pytest.mark.nightly, pytest.mark.enable_socket, pytest.mark.timeout(3000)]
TEXT = "a red house in the snow, [watercolor:late]"


def whole(folder: Path) -> int:
    """Open every picture there is under its own name, and return how many."""
    pictures = list((folder / "drawings").rglob("*.png"))
    for path in pictures:
        with Image.open(path) as opened:
            opened.load()
            assert opened.size == (64, 64)
    return len(pictures)


def wait_for(pictures: int, folder: Path) -> None:
    """Return as soon as so many pictures have their names, without a pause to lose the moment in."""
    end = time.monotonic() + 300
    while len(list((folder / "drawings").glob("*/*.png"))) < pictures and time.monotonic() < end:
        pass


def test_a_kill_at_any_moment_loses_no_drawing_and_no_picture(tmp_path: Path) -> None:
    folder, moments = tmp_path / "history", random.Random(0)
    asked = pictures = cut_short = 0
    while asked < 20:
        with serving(folder) as served:
            before = served.call("/api/history")["drawings"]
            assert len(before) == asked
            for drawing in before:  # go on with what was cut short
                if drawing["missing"]:
                    served.call(f"/api/history/{drawing['id']}/resume", {})
            for _ in range(4):
                answer = served.call("/api/draw", {"text": TEXT, "seeds": [asked, asked + 100]})
                assert answer["drawing"]["id"] == str(asked + 1)
                asked += 1
            while not (state := served.call("/api/state")["state"])["ready"]:
                assert state["problem"] is None
                time.sleep(0.1)
            if asked % 8 == 4:
                time.sleep(moments.uniform(0, 2))
            else:
                wait_for(pictures + moments.randrange(1, 16), folder)
            served.process.kill()
            served.process.wait(timeout=30)
        now = whole(folder)
        assert now >= pictures
        pictures = now
        cut_short += pictures < 4 * asked
    assert cut_short >= 3
    with serving(folder) as served:
        for drawing in served.call("/api/history")["drawings"]:
            assert drawing["problem"] is None
            served.call(f"/api/history/{drawing['id']}/resume", {})
        while served.call("/api/jobs")["jobs"]:
            time.sleep(0.2)
        done = served.call("/api/history")["drawings"]
        assert [drawing["missing"] for drawing in done] == [0] * 20
    assert whole(folder) == 80
    assert list(folder.rglob("*.partial")) == []
