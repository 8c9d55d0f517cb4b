"""What a learnt taste is worth: simulated people choose between pictures, their taste then chooses others.

`terms.csv` holds the terms of 1,272 pictures of 34 prompts of the mini world, drawn by `dfprompt tune`. A
person is a utility over these terms. Half of the prompts are asked about, in the order in which
`dfprompt taste` asks (or at random); of each other prompt the taste takes its best picture. Regret is by how
much the person would have liked the best one more. Run:

    python experiments/own-taste/regret.py 60 > experiments/own-taste/regret.md
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfprompt.api.taste import Scale, next_pair
from dfprompt.statistics.intervals import mean_with_interval

Array = npt.NDArray[np.float64]
Person = Callable[[Array], Array]

NOTE = "Of the mini world and of simulated people; says nothing about real ones."
LOGIT = 2.0  # a usual pair is chosen as the person likes it in about 80 % of all cases
PAIRS = 30
KINDS = {
    "own": "weights of their own on all terms",
    "half": "half the crowd's, half of their own",
    "looks": "of their own, on looks alone",
    "bent": "three looks liked near a value, not the more the better",
    "crowd": "the crowd's",
}


@cache
def read_pictures() -> tuple[list[Array], Array]:
    """Return the terms of every prompt's pictures (N, D), and the crowd's weights (D,): 13 terms, the
    crowd's three first, then five looks."""
    with (Path(__file__).parent / "terms.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "prompt"]
    prompts = dict.fromkeys(row["prompt"] for row in rows)
    found = [
        np.array([[float(row[name]) for name in names] for row in rows if row["prompt"] == prompt])
        for prompt in prompts
    ]
    return found, np.array([float(name.endswith(("_term", "_gate"))) for name in names])


def make_person(
    kind: str, pairs: Array, pictures: Array, crowd: Array, generator: np.random.Generator
) -> Person:
    """Return a utility whose usual difference in `pairs` (N, 2, D) is LOGIT."""
    usual = np.sqrt(((pairs[:, 0] - pairs[:, 1]) ** 2).mean(0))
    drawn = generator.normal(size=len(crowd))
    looks = np.arange(3, 8)

    def scaled(person: Person) -> Person:
        size = np.sqrt(((person(pairs[:, 0]) - person(pairs[:, 1])) ** 2).mean())
        return lambda x: person(x) * LOGIT / size

    def linear(weights: Array) -> Person:
        return scaled(lambda x: x / usual @ weights)

    if kind == "own":
        return linear(drawn)
    if kind == "looks":
        return linear(drawn * (crowd == 0))
    own, shared = linear(drawn), scaled(lambda x: x @ crowd)
    if kind == "half":
        return scaled(lambda x: own(x) + shared(x))
    if kind == "bent":
        chosen = generator.permutation(looks)[:3]
        liked = [float(np.quantile(pictures[:, each], generator.uniform(0.1, 0.9))) for each in chosen]
        return scaled(
            lambda x: np.sum(
                [
                    np.exp(-(((x[:, each] - at) / (2.5 * usual[each])) ** 2) / 2)
                    for each, at in zip(chosen, liked, strict=True)
                ],
                axis=0,
            )
        )
    return shared


def measure_person(
    kind: str, seed: int, count: int = PAIRS, *, by_chance: bool = False
) -> tuple[float, float]:
    """Return the regret of the crowd's and of the learnt taste's picks for one person, in logits."""
    pictures, crowd = read_pictures()
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(pictures))
    asked_of, others = order[: len(order) // 2], order[len(order) // 2 :]
    both = [
        pictures[prompt][list(pair)]
        for prompt in asked_of
        for pair in generator.permutation(list(combinations(range(len(pictures[prompt])), 2)))[:40]
    ]
    pairs = np.array(both)[generator.permutation(len(both))[:600]]
    person = make_person(kind, pairs, np.concatenate(pictures), crowd, generator)
    differences = pairs[:, 0] - pairs[:, 1]
    prefers = 1 / (1 + np.exp(person(pairs[:, 1]) - person(pairs[:, 0])))
    asked: list[int] = []
    chosen: list[float] = []
    for number in range(count):
        row = number if by_chance else next_pair(differences, asked, chosen, crowd)
        asked.append(row)
        chosen.append(float(generator.random() < prefers[row]))
    scale = Scale.of(differences[asked], crowd)
    weights = scale.fit(differences[asked], chosen).mean / scale.usual
    lost = []
    for prompt in others:
        likes = person(pictures[prompt])
        lost.append([likes.max() - likes[(pictures[prompt] @ by).argmax()] for by in (crowd, weights)])
    mean = np.mean(lost, axis=0)
    return float(mean[0]), float(mean[1])


def measure_people(kind: str, people: int, count: int = PAIRS, *, by_chance: bool = False) -> Array:
    """Return the regrets (people, 2): the crowd's, the learnt taste's."""
    return np.array([measure_person(kind, seed, count, by_chance=by_chance) for seed in range(people)])


def _line(kind: str, found: Array, count: int, how: str) -> str:
    crowd, own = mean_with_interval(found[:, 0]), mean_with_interval(found[:, 1])
    draws = np.random.default_rng(0).integers(0, len(found), (4000, len(found)))
    means = found[draws].mean(1)
    share = "-"
    if crowd.mean > 0:
        low, high = np.percentile(means[:, 1] / means[:, 0], [2.5, 97.5])
        share = f"{own.mean / crowd.mean:.2f} ({low:.2f} to {high:.2f})"
    cells = [f"{each.mean:.2f} ({each.low:.2f} to {each.high:.2f})" for each in (crowd, own)]
    return f"| {KINDS[kind]} | {count} | {how} | {cells[0]} | {cells[1]} | {share} |"


def main() -> None:
    people = int(sys.argv[1])
    lines = [
        NOTE,
        "",
        f"{people} simulated people per line; regret in logits on 17 prompts that were not asked about; "
        "95 % intervals over people.",
        "",
        "| people | pairs | order | crowd's regret | own taste's | share |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        lines.append(_line(kind, measure_people(kind, people), PAIRS, "as asked"))
        lines.append(_line(kind, measure_people(kind, people, by_chance=True), PAIRS, "by chance"))
    for count in (10, 20, 50):
        lines.append(_line("half", measure_people("half", people, count), count, "as asked"))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
