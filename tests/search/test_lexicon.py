"""Lexicons: the built-in list keeps its promises, users' files are read or refused with their places."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dfprompt.errors import ConfigError
from dfprompt.prompt import EARLY, LATE, Span, parse_prompt
from dfprompt.search.lexicon import OWN, built_in_lexicon, make_lexicon, read_lexicon


def test_the_built_in_list_is_broad_and_every_phrase_stands_once() -> None:
    lexicon = built_in_lexicon()
    texts = [entry.text.casefold() for entry in lexicon.entries]
    assert 115 <= len(texts) == len(set(texts))
    asked = {"light", "medium", "texture", "lens", "composition", "mood", "colour", "detail"}
    groups = lexicon.categories()
    assert asked <= groups.keys()
    assert all(len(groups[category]) >= 8 for category in asked)


def test_defaults_follow_what_settles_when() -> None:
    groups = built_in_lexicon().categories()
    assert {entry.span.effect_range for entry in groups["texture"]} == {LATE}
    assert {entry.span.effect_range for entry in groups["composition"]} == {EARLY}
    for entry in built_in_lexicon().entries:
        assert Decimal("0.5") <= entry.span.weight.first <= Decimal("1.5")
        assert not entry.span.weight.is_ramp
        assert parse_prompt(str(entry.span)).spans == (entry.span,)


def test_bare_words_take_the_defaults_of_the_list_and_others_act_late() -> None:
    grain, own = make_lexicon(["Film Grain", "quux style", "quux style"], "x").entries
    assert (grain.category, grain.span) == ("texture", Span("film grain", "late", "1.25"))
    assert (own.category, own.span) == (OWN, Span("quux style", "late"))


def test_words_of_the_prompt_are_not_offered_again() -> None:
    left = built_in_lexicon().absent_from("A cat in the MIST, film grain")
    assert left.find("mist") is None
    assert left.find("film grain") is None
    assert left.find("haze") is not None


def test_plain_lines(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# mine\nsoft shadows\n\n[film grain:early:0.5]\n  mist \n")
    lexicon = read_lexicon(file)
    assert [str(entry.span) for entry in lexicon.entries] == [
        "[soft shadows:late]",
        "[film grain:early:0.5]",
        "[mist:early:0.75]",
    ]
    assert lexicon.entries[1].category == "texture"


def test_toml(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text(
        '[ink]\nrange = "0.3->0"\nweight = 1.1\nwords = ["wet ink", { text = "dry brush", weight = 0.5 }]\n'
    )
    wet, dry = read_lexicon(file).entries
    assert (wet.category, str(wet.span), str(dry.span)) == (
        "ink",
        "[wet ink:0.3->0:1.1]",
        "[dry brush:0.3->0:0.5]",
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.txt", "mist\n[grain:0->0.5]\nfog, haze\nmist\n", ["line 2", "line 3", "line 4.*twice"]),
        ("w.txt", "[grain:late] x\n", ["line 1.*not one span"]),
        ("w.txt", "# nothing\n", ["no modifiers"]),
        ("w.toml", "[ink\n", ["not TOML"]),
        ("w.toml", "[ink]\n", [r"\[ink\]: a category needs words"]),
        ("w.toml", 'words = ["a"]\n', [r"\[words\]: a category needs words"]),
        ("w.toml", '[ink]\nrnage = "late"\nwords = ["a", 3]\n', ['mean "range"', "word 2"]),
        ("w.toml", '[ink]\nrange = "later"\nwords = ["a"]\n', ["word 1.*later.*not a range"]),
        ("w.toml", '[ink]\nweight = 0\nwords = ["a"]\n', ["word 1.*weight 0"]),
        ("w.toml", '[ink]\nweight = 7\nwords = ["a"]\n', ["word 1.*between 0 and 3"]),
        ("w.toml", '[ink]\nwords = [{ text = "a", wieght = 1 }]\n', ['word 1.*mean "weight"']),
        ("w.toml", '[ink]\nwords = ["a"]\n[oil]\nwords = ["A"]\n', [r"\[oil\], word 1.*ink already"]),
    ],
)
def test_files_that_are_wrong_are_refused_with_every_place(
    tmp_path: Path, name: str, text: str, said: list[str]
) -> None:
    file = tmp_path / name
    file.write_text(text)
    for message in said:
        with pytest.raises(ConfigError, match=f"(?s){message}"):
            read_lexicon(file)
    with pytest.raises(ConfigError, match=name):
        read_lexicon(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_lexicon(tmp_path / "none.txt")
