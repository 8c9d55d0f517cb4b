"""Methods: what each does to a prompt, seeded per prompt, and the arms made of another method's words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dfprompt.errors import ConfigError, EvaluationError, InputError
from dfprompt.evaluation.control_methods import Constant, Shuffled, Stripped
from dfprompt.evaluation.methods import (
    BestOf,
    FileMethod,
    FixedSuffix,
    Human,
    Method,
    Plain,
    PolicyMethod,
    RandomModifiers,
    check_complete,
    rewrite_checked,
)
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.evaluation.rewrites import RewriteStore
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, noise_seed, read_plain_prompts
from dfprompt.prompt import FULL, LATE, DFPrompt, Span, Weight, parse_prompt
from dfprompt.prompt.effect import UNIT
from tiny_policies import tiny_policy

PROMPTS = as_prompts([f"a red cat number {number}, [odd]: 1" for number in range(8)])
LEXICON = ["film grain", "8k", "oil painting", "bokeh", "soft glow", "mist"]


@pytest.fixture(scope="module")
def policy() -> PolicyMethod:
    return PolicyMethod(tiny_policy(favour=("film grain", "oil painting")))


def _all_methods(policy: PolicyMethod) -> list[Method]:
    arms = [Stripped(policy), Shuffled(policy), Constant(policy)]
    return [Plain(), FixedSuffix("8k"), RandomModifiers(LEXICON), policy, *arms, BestOf(2), BestOf(2, policy)]


@pytest.mark.filterwarnings("ignore:.*looks like control")
def test_every_method_keeps_the_users_words_and_its_seed(policy: PolicyMethod) -> None:
    for method in _all_methods(policy):
        assert isinstance(method, Method)
        made = rewrite_checked(method, PROMPTS, 3)
        for prompt, rewrite in zip(PROMPTS, made, strict=True):
            assert isinstance(rewrite, DFPrompt)
            assert rewrite.plain_text.startswith(prompt.text)
            assert parse_prompt(str(rewrite)) == rewrite
        assert rewrite_checked(method, PROMPTS, 3) == made


def test_rewrites_do_not_depend_on_the_prompts_beside(policy: PolicyMethod) -> None:
    fresh = PolicyMethod(tiny_policy(favour=("film grain", "oil painting")))
    for method, again in ((RandomModifiers(LEXICON), RandomModifiers(LEXICON)), (policy, fresh)):
        together = list(method.rewrite(PROMPTS, 1))
        assert [again.rewrite([prompt], 1)[0] for prompt in PROMPTS] == together
        assert list(again.rewrite(PROMPTS, 2)) != together
        assert len(set(map(str, together))) > 4


def test_random_modifiers_come_from_the_lexicon_without_repetition() -> None:
    prompts = as_prompts([f"prompt {number}" for number in range(200)])
    counts: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for prompt, rewrite in zip(prompts, RandomModifiers(LEXICON, most=3).rewrite(prompts, 0), strict=True):
        assert rewrite is not None
        found = [span.text for span in find_modifiers(prompt.text, rewrite)]
        assert len(set(found)) == len(found)
        counts.update(found)
        lengths[len(found)] += 1
    assert set(counts) == set(LEXICON)
    assert set(lengths) == {1, 2, 3}
    assert min(lengths.values()) > 45  # of 200, evenly drawn: 67 each
    with pytest.raises(ConfigError, match="lexicon has 2"):
        RandomModifiers(["a", "b"], most=3)


@pytest.mark.parametrize(
    ("suffix", "plain", "expected"),
    [
        ("8k", "a cat", "a cat, 8k"),
        ("8k, [grain:late:1.5], hdr", "a cat.", "a cat. 8k, [grain:late:1.5], hdr"),
        ("[grain:late], 8k", "a [cat]", r"a \[cat\], [grain:late], 8k"),
    ],
)
def test_a_suffix_stands_behind_a_separator(suffix: str, plain: str, expected: str) -> None:
    assert str(FixedSuffix(suffix).rewrite([PlainPrompt(plain)], 0)[0]) == expected


def test_human_texts_come_from_the_prompt_file() -> None:
    prompts = [PlainPrompt("a", "1", {"human": "a, [x]"}), PlainPrompt("b", "2", {"human": " "})]
    made = rewrite_checked(Human(), prompts, 0)
    assert made[0] == DFPrompt.from_plain("a, [x]")
    assert isinstance(made[1], EvaluationError)


class _Words:
    """Three different controls, known words."""

    name, definition, pictures = "words", "known words", 1

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
        controls = [("late", 1.5), ("late", 1.5), ("early", 0.5), ("full", 1)]
        return [
            None
            if not prompt.record.get("known", True)
            else DFPrompt.from_plain(prompt.text).append(Span(f"word{number}", *controls[number % 4]))
            for number, prompt in enumerate(prompts)
        ]


def _controls(prompts: Sequence[PlainPrompt], rewrites: Sequence[Any]) -> list[tuple[Any, Any]]:
    spans = [span for p, r in zip(prompts, rewrites, strict=True) if r for span in find_modifiers(p.text, r)]
    return [(span.effect_range, span.weight) for span in spans]


def test_arms_keep_the_words_and_change_the_controls() -> None:
    prompts = [*as_prompts([f"a cat {number}" for number in range(40)])]
    prompts.append(PlainPrompt("nothing", record={"known": False}))
    words = _Words().rewrite(prompts, 0)
    before = _controls(prompts, words)
    arms = {
        "stripped": Stripped(_Words()).rewrite(prompts, 0),
        "shuffled": Shuffled(_Words()).rewrite(prompts, 0),
        "constant": Constant(_Words()).rewrite(prompts, 0),
        "given": Constant(_Words(), (LATE, Weight("0.75"))).rewrite(prompts, 0),
    }
    for rewrites in arms.values():
        assert rewrites[-1] is None
        assert [r.plain_text for r in rewrites if r] == [r.plain_text for r in words if r]
    assert set(_controls(prompts, arms["stripped"])) == {(FULL, UNIT)}
    shuffled = _controls(prompts, arms["shuffled"])
    assert Counter(shuffled) == Counter(before)
    assert sum(a == b for a, b in zip(before, shuffled, strict=True)) < 25
    assert Shuffled(_Words()).rewrite(prompts, 1) != arms["shuffled"]
    assert set(_controls(prompts, arms["constant"])) == {(LATE, Weight("1.5"))}
    assert set(_controls(prompts, arms["given"])) == {(LATE, Weight("0.75"))}


def test_best_of_n_needs_something_to_choose_from() -> None:
    assert BestOf(8).name == "best-of-8"
    with pytest.raises(ConfigError):
        BestOf(1)
    with pytest.raises(ConfigError, match="chooses already"):
        BestOf(2, BestOf(2))


def _lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_rewrites_from_a_file(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "other.jsonl",
        {"prompt": "a cat", "rewrite": "a [majestic] cat"},
        {"id": "p2", "df_prompt": "a dog, [grain:late]"},
    )
    method = FileMethod(path, "other")
    prompts = [PlainPrompt("a cat"), PlainPrompt("a dog", "p2"), PlainPrompt("a horse")]
    made = rewrite_checked(method, prompts, 0)
    assert made[:2] == [DFPrompt.from_plain("a [majestic] cat"), parse_prompt("a dog, [grain:late]")]
    assert "no rewrite" in str(made[2])
    check_complete(method, prompts[:2])
    for lacking in (method, BestOf(2, method), Stripped(method)):
        with pytest.raises(InputError, match='no rewrite of 1 of 3 prompts: "a horse"; add'):
            check_complete(lacking, prompts)


@pytest.mark.parametrize(
    "row", ["nonsense", [1], {"rewrite": "x"}, {"prompt": "x"}, {"prompt": "x", "df_prompt": "[a"}]
)
def test_a_wrong_line_of_a_file_is_named(row: Any, tmp_path: Path) -> None:
    path = _lines(tmp_path / "r.jsonl", {"prompt": "a", "rewrite": "b"}, row)
    with pytest.raises(InputError, match="line 2"):
        FileMethod(path, "x")


def test_two_rewrites_of_one_prompt_are_refused(tmp_path: Path) -> None:
    first, other = ({"prompt": "a cat", "df_prompt": f"a cat, [{word}:late]"} for word in ("mist", "snow"))
    with pytest.raises(InputError, match='line 3: another rewrite of "a cat" stands above'):
        FileMethod(_lines(tmp_path / "r.jsonl", first, first, other), "x")
    assert FileMethod(_lines(tmp_path / "r.jsonl", first, first), "x").rewrite([PlainPrompt("a cat")], 0)[0]


def test_prompt_files(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "p.jsonl",
        {"prompt": " a cat ", "objects": ["cat"]},
        {"short": "a dog", "prompt": "a dog, 8k", "id": 7},
        {"prompt": "a cat"},
        {"short": "a fox", "modifiers": ["8k", "mist"], "kept": True},  # as `dfprompt curate` writes them
        {"short": "a hen", "modifiers": [], "kept": True},
    )
    cat, dog, fox, hen = read_plain_prompts(path)
    assert (fox.text, fox.record["human"]) == ("a fox", "a fox, 8k, mist")
    assert hen.record["human"] is None
    assert (cat.text, cat.record["objects"]) == ("a cat", ["cat"])
    assert (dog.text, dog.id, dog.record["human"]) == ("a dog", "7", "a dog, 8k")
    plain = tmp_path / "p.txt"
    plain.write_text("\ufeffa cat\n\n  a dog\n", encoding="utf-8")
    assert [prompt.text for prompt in read_plain_prompts(plain)] == ["a cat", "a dog"]
    assert read_plain_prompts(plain)[0].id == cat.id
    for content in ("", "[]\n", "nonsense\n", '{"prompt": 3}\n', '{"prompt": "a", "id": []}\n'):
        path.write_text(content)
        with pytest.raises(InputError):
            read_plain_prompts(path)


def test_noise_differs_by_prompt_seed_and_candidate() -> None:
    seeds = {noise_seed(p, s, c) for p in ("a", "b", "ab") for s in (0, 1, 10) for c in (0, 1, 2)}
    assert len(seeds) == 27
    assert max(seeds) < 2**53


@pytest.mark.parametrize("made", [lambda prompts, seed: [], lambda prompts, seed: 1 / 0])
def test_foreign_methods_fail_by_name(made: Callable[..., Any]) -> None:
    method = Plain("theirs")
    method.rewrite = made  # type: ignore[method-assign]
    with pytest.raises(EvaluationError, match="'theirs'"):
        rewrite_checked(method, PROMPTS, 0)


def test_an_arm_over_all_prompts_is_not_extended_by_another(tmp_path: Path, policy: PolicyMethod) -> None:
    """What is commonest, or permuted, over twenty prompts is not so over a hundred."""
    late, early = (parse_prompt(f"x, [8k:{name}:1.5]").spans[1] for name in ("late", "early"))

    class Two(Plain):
        def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
            return [DFPrompt([f"{p.text}, ", late if p.id == "a" else early]) for p in prompts]

    rows = [PlainPrompt(f"a cat {name}", name) for name in "abc"]
    for make in (lambda: Constant(Two("two")), lambda: Stripped(Two("two"))):
        store = RewriteStore(tmp_path / make().name)
        (tmp_path / make().name).mkdir()
        first = store.get(make(), rows[:1], 0)
        assert not first.failed
        more = store.get(make(), rows, 0)
        if make().whole_set:
            assert set(more.failed) == {"b", "c"}
            assert "another --output" in more.failed["b"]
        else:
            assert not more.failed
        assert more.prompts["a"] == first.prompts["a"]
    given = Constant(Two("two"), (LATE, Weight("1.25")))
    assert not given.whole_set


def test_rewrites_are_kept_and_only_new_prompts_asked_for(tmp_path: Path, policy: PolicyMethod) -> None:
    asked: list[int] = []

    class Counted(Plain):
        def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
            asked.append(len(prompts))
            return policy.rewrite(prompts, seed)

    store = RewriteStore(tmp_path)
    first = store.get(Counted("counted/1"), PROMPTS[:5], 0)
    second = RewriteStore(tmp_path).get(Counted("counted/1"), PROMPTS, 0)
    assert asked == [5, 3]
    assert first.prompts.items() <= second.prompts.items()
    assert [second.prompts[prompt.id] for prompt in PROMPTS] == list(policy.rewrite(PROMPTS, 0))
    assert second.seconds > first.seconds > 0
    next(tmp_path.glob("*.json")).write_text("{}")
    with pytest.raises(EvaluationError, match="damaged"):
        store.get(Counted("counted/1"), PROMPTS, 0)
