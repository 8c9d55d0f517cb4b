"""A studio or a study in a process of its own and a browser that looks at it: what tests of pages share."""

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


class Hosted:
    """A running study: its address, the personal links, and what the researcher is told meanwhile."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        self.process, self.folder = process, folder
        self.told = json.loads(process.stdout.readline())
        self.base: str = self.told["address"]
        self.links: list[str] = self.told["links"]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """Run `dfprompt studio` on any free port; it is ended by a signal, as people end it."""
    with _running("studio", "--no-browser", "--port", "0", "--output", str(folder), *options) as process:
        yield Served(process, folder)


@contextmanager
def hosting(folder: Path, *options: str, port: int = 0) -> Iterator[Hosted]:
    """Run `dfprompt study serve`, on any free port unless told which."""
    with _running("study", "serve", str(folder), "--json", "--port", str(port), *options) as process:
        yield Hosted(process, folder)


@contextmanager
def _running(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "dfprompt", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        yield process
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
    with page_at(launched, served.address, **options) as page:
        page.wait_for_selector("textarea")
        page.wait_for_function("() => !/^\\W*(loading)?$/.test(document.querySelector('.model').innerText)")
        yield page


@contextmanager
def page_at(
    launched: Any, address: str, expected: tuple[str, ...] = ("status of 422",), **options: Any
) -> Iterator[Any]:
    """A fresh page at an address; what its policy or a script complains of fails the test.

    Refusals that the page shows are errors to the console too: lines with what is expected are none.
    """
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
    page.goto(address)
    yield page
    context.close()
    assert [each for each in complaints if not any(words in each for words in expected)] == []
