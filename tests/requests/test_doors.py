"""Front doors: the request or its keywords, the same result; a signature that mirrors the request."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from dfprompt.errors import ConfigError
from dfprompt.requests.base import SeedRequest
from dfprompt.requests.doors import front_door
from dfprompt.requests.render import GenerateRequest, RenderRequest, RenderSettings


@front_door(GenerateRequest, "texts", "output")
def draw(request: GenerateRequest, *, progress: bool = False) -> tuple[GenerateRequest, bool]:
    """Say what was asked."""
    return request, progress


def test_keywords_positions_and_the_request_itself_say_the_same() -> None:
    request = GenerateRequest(texts=["a cat"], output="out", seeds=2, num_inference_steps=3)
    assert draw(request) == (request, False)
    assert draw(["a cat"], "out", seeds=2, num_inference_steps=3, progress=True) == (request, True)
    assert draw(texts=["a cat"], output="out", seeds=2, num_inference_steps=3) == (request, False)


@pytest.mark.parametrize("settings", [RenderSettings(num_inference_steps=3), {"num_inference_steps": 3}])
def test_settings_are_taken_whole(settings: Any) -> None:
    assert draw(["a cat"], settings=settings)[0].num_inference_steps == 3


def test_a_request_can_be_changed_on_the_way_in() -> None:
    request = GenerateRequest(texts=["a cat"], seeds=2)
    assert draw(request, seeds=3)[0].seeds == 3
    assert request.seeds == 2


def test_what_it_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match=r'num_inference_step: .*"num_inference_steps"'):
        draw(["a cat"], num_inference_step=3)
    with pytest.raises(ConfigError, match="by position go texts, output"):
        draw(["a cat"], "out", 4)
    with pytest.raises(ConfigError, match="takes a GenerateRequest, not a RenderRequest"):
        draw(RenderRequest())  # type: ignore[arg-type]


def test_settings_mean_nothing_where_nothing_is_drawn() -> None:
    @front_door(SeedRequest)
    def count(request: SeedRequest) -> int:
        return len(request.numbers)

    with pytest.raises(ConfigError, match="settings: "):
        count(settings={})


def test_the_signature_mirrors_the_request() -> None:
    shown = inspect.signature(draw).parameters
    assert list(shown)[:2] == ["texts", "output"]
    assert set(shown) == {*GenerateRequest.model_fields, "progress"}
    for name, field in GenerateRequest.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        assert shown[name].default == default
    assert draw.__doc__ == "Say what was asked."
