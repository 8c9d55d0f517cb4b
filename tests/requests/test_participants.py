"""How a study is served: addresses that are none are refused before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

from dfprompt.cli.study_pages import _describe
from dfprompt.errors import ConfigError, InputError
from dfprompt.requests.base import make_request
from dfprompt.requests.participants import ServeStudyRequest, SimulateStudyRequest
from dfprompt.web.hosting import Hosted


@pytest.mark.parametrize(
    "asked",
    [
        {"address": "study.example.org"},
        {"address": "ftp://study.example.org"},
        {"address": "https://"},
        {"address": "https://study.example.org/path"},
        {"address": "https://study.example.org/?a=1"},
        {"completion": "javascript://x"},
        {"completion": "https://"},
        {"completion": "https://a\nb"},
    ],
)
def test_an_address_that_is_none_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises((InputError, ConfigError), match="address"):
        make_request(ServeStudyRequest, {"study": "s", **asked})


def test_codes_addresses_and_names_are_taken() -> None:
    taken = ServeStudyRequest(study="s", address="https://study.example.org/", completion="C1A2B3C4")
    assert taken.completion == "C1A2B3C4"
    assert ServeStudyRequest(study="s", platform="workerId").parameter == "workerId"
    assert ServeStudyRequest(study="s").parameter is None


@pytest.mark.parametrize(
    "asked", [{"preference": 0}, {"preference": 1}, {"preference": 0.5, "random": 2}, {}]
)
def test_people_that_cannot_be_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make_request(SimulateStudyRequest, {"study": "s", **asked})


@pytest.mark.parametrize(
    ("asked", "platform", "said", "unsaid"),
    [
        ({}, None, "the first personal link: http://h:1/#aa", "encrypted"),
        ({"listen": "0.0.0.0"}, None, "nothing is encrypted", "simulated"),
        ({"rehearsal": True}, None, "whoever comes now is written down as simulated", "encrypted"),
        ({"platform": "prolific"}, "http://h:1/?P=", "for the platform: http://h:1/?P=", "#aa"),
        ({"links": "l.txt"}, None, "written: l.txt, 2 personal links", "#aa"),
    ],
)
def test_what_is_told_of_a_study_that_is_served(
    asked: dict[str, Any], platform: str | None, said: str, unsaid: str
) -> None:
    hosted = Hosted("http://h:1", ("http://h:1/#aa", "http://h:1/#bb"), platform, 3, 120)
    told = _describe(hosted, ServeStudyRequest(study="s", **asked))
    assert told.startswith("study: http://h:1\n3 of 120 people have begun")
    assert said in told
    assert unsaid not in told
