"""The reward protocol: JSON with PNG pictures, one schema for client and server, version 1.

A question is `{"dfprompt_reward": 1, "items": [{"image": BASE64_PNG, "prompt": TEXT, "record": {...}}]}`,
its answer `{"dfprompt_reward": 1, "name": NAME, "scores": [NUMBER, ...]}`, one finite number per item in
their order. To a GET a server shows `{"dfprompt_reward": 1, "name": NAME, "batch": LARGEST}`, and "measures"
where the score is one of fidelity or artefacts. Errors carry `{"dfprompt_reward": 1, "error": TEXT}` and a
status. Nothing stands in for a score that is not there.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from dfprompt.errors import ImageFileError, InputError
from dfprompt.excerpt import quote
from dfprompt.images.reading import read_image_bytes
from dfprompt.images.tensors import to_pil
from dfprompt.rewards.contract import Records

SCHEMA = 1
KEY = "dfprompt_reward"
MEASURES = ("", "fidelity", "artefacts")
_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,59}", re.ASCII)


class Described(NamedTuple):
    """What a server says of itself: the score's name, pictures it takes at a time, what it measures."""

    name: str
    batch: int
    measures: str = ""


class Question(NamedTuple):
    """Pictures (each (3, H, W) in [0, 1]) with the plain prompts they answer and their other fields."""

    images: list[Tensor]
    prompts: list[str]
    records: list[Mapping[str, Any]]


def describe(name: str, batch: int, measures: str = "") -> dict[str, Any]:
    """Return what a server shows to a GET."""
    told = {"measures": measures} if measures else {}
    return {KEY: SCHEMA, "name": name, "batch": batch, **told}


def ask(images: Tensor, prompts: Sequence[str], records: Records | None = None) -> dict[str, Any]:
    """Return the question for pictures (B, 3, H, W) in [0, 1], rounded to 8 bits a channel.

    >>> question = ask(torch.zeros(1, 3, 2, 2), ["a cat"])
    >>> read_question(question).prompts
    ['a cat']
    """
    items = []
    for row, picture in enumerate(to_pil(images)):
        item: dict[str, Any] = {"image": _encode(picture), "prompt": prompts[row]}
        if records is not None and records[row]:
            item["record"] = dict(records[row])
        items.append(item)
    return {KEY: SCHEMA, "items": items}


def answer(name: str, scores: Sequence[float]) -> dict[str, Any]:
    """Return the answer that holds scores."""
    return {KEY: SCHEMA, "name": name, "scores": list(scores)}


def read_description(value: Any) -> Described:
    """Read what a server says of itself; raises InputError for another protocol or version."""
    value = _checked(value)
    name, batch = value.get("name"), value.get("batch")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"the score's name must be letters, digits, - and ., not {quote(name)}")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise InputError(f"the largest batch must be a whole number from 1, not {quote(batch)}")
    measures = value.get("measures", "")
    if measures not in MEASURES:
        raise InputError(
            f"a score measures {', '.join(MEASURES[1:])}, or nothing is said, not {quote(measures)}"
        )
    return Described(name, batch, measures)


def read_answer(value: Any, count: int, name: str) -> list[float]:
    """Return the scores of an answer to `count` pictures; raises InputError for anything but these.

    >>> read_answer({"dfprompt_reward": 1, "name": "hps", "scores": [0.25]}, 1, "hps")
    [0.25]
    """
    value = _checked(value)
    if value.get("name") != name:
        raise InputError(f"it was the score {name} and now is {quote(value.get('name'))}")
    scores = value.get("scores")
    if not isinstance(scores, list) or len(scores) != count:
        given = f"{len(scores)} scores" if isinstance(scores, list) else quote(scores)
        raise InputError(f"{count} pictures need a list of {count} scores, got {given}")
    for row, score in enumerate(scores):
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not _is_finite(score):
            raise InputError(f"the score of picture {row} must be a finite number, not {quote(score)}")
    return [float(score) for score in scores]


def read_question(value: Any, largest: int | None = None) -> Question:
    """Return the pictures, prompts and records of a question; raises InputError naming the item."""
    items = _checked(value).get("items")
    if not isinstance(items, list):
        raise InputError("there is no list of items")
    if largest is not None and len(items) > largest:
        raise InputError(f"{len(items)} pictures at once are more than {largest}")
    question = Question([], [], [])
    for row, item in enumerate(items):
        image, prompt, record = _item(item, f"item {row}")
        question.images.append(image)
        question.prompts.append(prompt)
        question.records.append(record)
    return question


def _item(item: Any, where: str) -> tuple[Tensor, str, Mapping[str, Any]]:
    if not isinstance(item, dict) or not isinstance(item.get("prompt"), str):
        raise InputError(f"{where}: an object with a prompt is needed")
    record = item.get("record", {})
    if not isinstance(record, dict):
        raise InputError(f"{where}: the record must be an object")
    try:
        content = base64.b64decode(item.get("image", ""), validate=True)
        return read_image_bytes(content, f"{where}: the image").pixels, item["prompt"], record
    except (binascii.Error, ValueError, TypeError) as error:
        raise InputError(f"{where}: the image is not base64") from error
    except ImageFileError as error:
        raise InputError(str(error)) from error


def _checked(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or KEY not in value:
        raise InputError(f"it does not speak the reward protocol: no {KEY!r} in {quote(value)}")
    if value[KEY] != SCHEMA or isinstance(value[KEY], bool):
        raise InputError(f"it speaks version {quote(value[KEY])} of the reward protocol, this is {SCHEMA}")
    return value


def _encode(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=1)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _is_finite(score: float) -> bool:
    """Return whether float32 can hold it: what overflows there would be infinite a line later."""
    return math.isfinite(score) and abs(score) <= torch.finfo(torch.float32).max
