"""The client as it is shipped: small, nothing from elsewhere, vendored files as they were published."""

from __future__ import annotations

import hashlib
import json
import re

from asgi import call
from dfprompt.web.guard import Rules
from dfprompt.web.server import STATIC, make_app

BUDGET = 250_000
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())


def test_the_client_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) <= BUDGET


def test_vendored_files_are_what_was_published_with_their_licences() -> None:
    vendored = json.loads((STATIC / "vendor" / "vendored.json").read_text())
    there = {path.name for path in (STATIC / "vendor").iterdir() if path.suffix == ".mjs"}
    assert there == set(vendored)
    for name, what in vendored.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == what["sha256"]
        assert (STATIC / "vendor" / what["text"]).read_text().strip()


def test_nothing_is_inline_or_from_elsewhere() -> None:
    for path in FILES:
        if path.suffix not in (".html", ".js", ".css") or "vendor" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|//cdn|@import|innerHTML|dangerouslySet|eval\(|new Function", text), (
            path
        )
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", text), path
        for module in re.findall(r'from "([^"]+)"', text):
            assert (path.parent / module).is_file(), (path, module)


def test_scripts_and_styles_have_the_types_that_browsers_ask_for() -> None:
    app = make_app("studio.html", [], Rules("t"))
    types = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html"}
    for path in FILES:
        answer = call(app, "GET", f"/static/{path.relative_to(STATIC).as_posix()}")
        assert answer.status == 200
        if path.suffix in types:
            assert answer.headers["content-type"].startswith(types[path.suffix])
            assert answer.headers["cache-control"] == "no-cache"
