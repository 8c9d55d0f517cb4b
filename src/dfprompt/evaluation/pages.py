"""Pages of results: one HTML file each, that carries its pictures and asks nobody for anything.

No address outside the file and its folder, no script but the one that is written into the package (a content
policy in the page holds the browser to that). Every text is escaped: prompts are untrusted input.
"""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from dfprompt.excerpt import printable

THUMBNAIL = 256  # pixels of the longer side
STYLE, SLIDER = "style.css", "slider.js"


def render_page(template: str, **values: Any) -> str:
    """Return a page of the package with its holes filled; `template` is its file's name."""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_resource(STYLE)),
            slider=Markup(_resource(SLIDER)),
            slider_hash=hash_script(_resource(SLIDER)),
            **values,
        )
    )


def hash_script(script: str) -> str:
    """Return what a content policy calls a script by.

    >>> hash_script("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def _environment() -> jinja2.Environment:
    """Whatever fills a hole is escaped, and has no character that prints as nothing."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )


@cache
def _resource(name: str) -> str:
    return files("dfprompt.evaluation").joinpath(name).read_text(encoding="utf-8")


def thumbnail(picture: Image.Image) -> tuple[str, bool]:
    """Return a data URI of at most THUMBNAIL pixels, and whether the picture is smaller than that."""
    small = max(picture.size) <= THUMBNAIL
    if not small:
        picture = picture.copy()
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if small:
        picture.save(stream, format="PNG")
    else:
        picture.save(stream, format="JPEG", quality=88)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", small


def drawing(svg: str) -> str:
    """Return a data URI of an SVG drawing of ours."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode('utf-8', 'replace')).decode()}"
