"""A studio in a process of its own and a browser that looks at it: what the tests of the page share."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
]
_ADDRESS = re.compile(r"(http://[^/\s]+)/#token=(\S+)")


class Served:
    """A running studio: its address, and its API as its own page calls it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        self.process, self.folder = process, folder
        line = process.stdout.readline()
        found = _ADDRESS.search(line)
        assert found, line
        self.base, self.token = found[1], found[2]

    @property
    def address(self) -> str:
        return f"{self.base}/#token={self.token}"

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Call the API; an error's JSON is returned like any other."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            self.base + path, content, {"x-dfprompt-token": self.token}, method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """Run `dfprompt studio` on any free port; it is ended by a signal, as people end it."""
    command = [sys.executable, "-u", "-m", "dfprompt", "studio", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--output", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        yield Served(process, folder)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def browser() -> Iterator[Any]:
    """A chromium that is installed, driven by playwright; without either the tests are skipped by name."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("the browser tests need chromium")
    with playwright.sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        launched = driver.chromium.launch(
            executable_path=CHROMIUM, args=QUIET, env={**os.environ, "HOME": home}
        )
        yield launched
        launched.close()


@contextmanager
def page_of(launched: Any, served: Served, **options: Any) -> Iterator[Any]:
    """A fresh page of the studio; what its policy or a script complains of fails the test."""
    complaints: list[str] = []
    context = launched.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('policy', e.violatedDirective))"
    )
    page.goto(served.address)
    page.wait_for_selector("textarea")
    page.wait_for_function("() => !/^\\W*(loading)?$/.test(document.querySelector('.model').innerText)")
    yield page
    context.close()
    # A refusal that the page shows is an error to the console too.
    assert [each for each in complaints if "status of 422" not in each] == []
