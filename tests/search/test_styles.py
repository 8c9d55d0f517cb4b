"""Styles for `starter`: every word is a legal span, the look comes first, and nothing is called learned."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConfigError
from dfprompt.prompt import make_plan
from dfprompt.search.starter import LABEL, StarterPolicy
from dfprompt.search.styles import built_in_styles, find_style


@pytest.mark.parametrize("name", list(built_in_styles()))
def test_a_style_writes_its_own_look_with_times(name: str) -> None:
    style = find_style(name)
    policy = StarterPolicy(style=style)
    ((rewrite,),) = policy.candidates(["portrait of a fisherman"], 1, seed=0)
    assert str(rewrite.prompt).startswith("portrait of a fisherman, ")
    assert rewrite.modifiers[0] == style.spans[0]
    assert set(rewrite.modifiers) <= set(style.spans)
    assert not make_plan(rewrite.prompt, 10).never_active
    assert any(not span.is_neutral for span in rewrite.modifiers)
    assert style.negative
    assert policy.name == f"{LABEL}, style {name}"


def test_the_prompt_has_a_say_and_what_it_says_is_not_said_again() -> None:
    policy = StarterPolicy(style=find_style("photo"))
    texts = ["a cat", "a city at night", "portrait of a fisherman", "an apple", "a boat", "a tree"]
    found = {str(each.modifiers) for each in policy.rewrite(texts, [0] * 6)}
    assert len(found) > 1
    (said,) = policy.rewrite(["a 35mm photograph of a cat"], [0])
    assert "35mm photograph" not in [span.text for span in said.modifiers]
    plain = {str(each.modifiers[0]) for each in StarterPolicy().rewrite(texts, [0] * 6)}
    assert len(plain) > 1  # not the same first words for every subject


def test_an_unknown_style_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match='did you mean "cinematic"'):
        find_style("cinematc")
