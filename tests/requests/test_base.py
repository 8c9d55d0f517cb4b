"""Requests: frozen, checked when made, every field with one line, problems named as the user wrote them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from dfprompt.errors import ConfigError, InputError
from dfprompt.requests.base import Flag, Request, SeedRequest, make_request, split_commas
from dfprompt.requests.render import GenerateRequest, RenderRequest, RenderSettings, parse_size


def test_requests_are_frozen() -> None:
    request = RenderRequest(num_inference_steps=3)
    with pytest.raises(ValidationError, match="frozen"):
        request.num_inference_steps = 4  # type: ignore[misc]


def test_every_problem_is_named_at_once_in_the_words_of_the_command_line() -> None:
    values = {"texts": ["a cat"], "num_inference_steps": 0, "clock": "x", "seads": 2}
    with pytest.raises(ConfigError) as caught:
        make_request(GenerateRequest, values, GenerateRequest.option)
    lines = str(caught.value).splitlines()
    assert [line.split()[0].strip(":") for line in lines] == ["seads", "--steps", "--clock"]
    assert 'did you mean "seeds"?' in lines[0]
    with pytest.raises(ConfigError, match="num_inference_steps must be at least 1, got 0"):
        make_request(GenerateRequest, values)


@pytest.mark.parametrize("seeds", [0, -1, 10_001, [], [1] * 10_001])
def test_a_number_of_pictures_that_cannot_be_is_refused_in_one_line(seeds: Any) -> None:
    with pytest.raises(InputError) as caught:
        make_request(SeedRequest, {"seeds": seeds})
    assert "\n" not in str(caught.value)
    assert "--seeds counts pictures per prompt, 1 to 10000, not" in str(caught.value)


def test_seeds_are_counted_or_listed() -> None:
    assert list(SeedRequest(seed=3, seeds=2).numbers) == [3, 4]
    assert list(SeedRequest(seeds=(9, 1)).numbers) == [9, 1]


def test_settings_are_the_drawing_part_alone() -> None:
    request = RenderRequest(pipeline="models/x", device="cpu", clip_skip=1, width=64, height=32)
    assert request.settings == RenderSettings(clip_skip=1, width=64, height=32)
    assert type(request.settings) is RenderSettings


def test_own_fields_come_before_the_shared_ones() -> None:
    class Own(SeedRequest):
        mine: Annotated[int, Flag("--mine")] = 0
        """Mine."""

    assert Own.fields() == ["mine", "seed", "seeds"]
    assert [Own.option(name) for name in Own.fields()] == ["--mine", "--seed", "--seeds"]


def test_an_unknown_field_is_named_even_where_the_rest_is_wrong_too() -> None:
    class Few(Request):
        one: int = 0
        """One."""

    with pytest.raises(ConfigError, match=r"two: no setting of this name; .*one.*\none: "):
        make_request(Few, {"two": 1, "one": "x"})


@pytest.mark.parametrize(
    ("text", "size"), [("512x768", (512, 768)), ("64", (64, 64)), (" 8X16 ", (8, 16)), ("3×4", (3, 4))]
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "12x", "1.5", "-8", "8x8x8", "123456"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="--size takes pixels"):
        parse_size(text)


def test_commas_part_and_blanks_vanish() -> None:
    assert split_commas(["a, b", " c ,", ","]) == ["a", "b", "c"]
