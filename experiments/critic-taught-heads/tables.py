"""The tables of confirm-4.md and tried-4.md, from the rows beside them, by the rule of `dfprompt evaluate`.

python experiments/critic-taught-heads/tables.py confirm-4
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

from dfprompt.prompt import parse_prompt
from dfprompt.statistics.comparison import compare_scores

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
CONFIRMED = [
    *((f"longer-{n}", "plain", f"64 rollouts, seed {n}, over the plain prompt") for n in SEEDS),
    *((f"words-{n}", "plain", f"words alone, seed {n}, over the plain prompt") for n in SEEDS),
    ("ships", "plain", "the policy that ships, over the plain prompt"),
    *((f"longer-{n}", f"words-{n}", f"64 rollouts over words alone, seed {n}") for n in SEEDS),
    *((f"longer-{n}", "ships", f"64 rollouts, seed {n}, over the policy that ships") for n in SEEDS),
]
CONTROLS = [
    (f"longer-{n}", f"{other}:longer-{n}", f"own controls over {name}, same words, seed {n}")
    for other, name in (
        ("constant", "the best constant pair (full, 0.75)"),
        ("stripped", "default controls"),
        ("shuffled", "shuffled controls"),
    )
    for n in SEEDS
]
TRIED = {
    "cosine": "rate falling by a cosine",
    "constant": "constant rate",
    "entropy": "cosine, entropy bonus on words 0.02",
    "kernels": "cosine, wider kernels",
    "ranks": "cosine, wider kernels, ranks in the place of rewards",
    "three": "cosine, at most three modifiers",
    "ships": "the policy that ships",
}
TABLES = {
    "confirm-4": (CONFIRMED, CONTROLS),
    "tried-4": (
        [(name, "plain", f"{said}, over the plain prompt") for name, said in TRIED.items()],
        [(name, "cosine", f"{said}, over the cosine") for name, said in TRIED.items() if name != "cosine"],
    ),
}
SCORES = {"reward": 1, "taste": 1, "fidelity": 100}
HEADS = ("reward", "won", "raters' formula", "won", "fidelity, points", "pairs")
Rows = dict[str, dict[tuple[str, int], dict[str, str]]]


def read(page: str) -> Rows:
    """The rows of a page, by method and by prompt and seed."""
    found: Rows = {}
    with (HERE / f"{page}-rows.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], {})[row["prompt"], int(row["seed"])] = row
    return found


def contrast(rows: Rows, one: str, other: str) -> list[str]:
    """The cells of one method over another."""
    cells, pairs = [], 0
    for score, scale in SCORES.items():
        a, b = ({key: scale * float(row[score]) for key, row in rows[each].items()} for each in (one, other))
        found = compare_scores(a, b)
        assert found is not None
        places, pairs = 2 if scale == 1 else 1, found.pairs
        low, high = (f"{each:+.{places}f}" for each in found.interval)
        cells.append(f"{found.difference:+.{places}f} ({low} to {high})")
        if scale == 1:
            cells.append(f"{100 * found.won / pairs:.0f} %")
    return [*cells, str(pairs)]


def words(row: dict[str, str]) -> set[str]:
    """The modifiers of a rewrite."""
    added = parse_prompt(row["df_prompt"]).plain_text.removeprefix(row["prompt"])
    return {each for each in added.split(", ") if each}


def variety(rows: Rows) -> list[list[str]]:
    """What each policy writes, on the first noise."""
    table = []
    for name, of in rows.items():
        if name == "plain" or ":" in name:
            continue
        first = min(seed for _, seed in of)
        sets = [words(row) for (_, seed), row in sorted(of.items()) if seed == first]
        count = Counter(word for each in sets for word in each)
        shared = [len(a & b) / max(1, len(a | b)) for a, b in combinations(sets, 2)]
        per_prompt, alike = sum(map(len, sets)) / len(sets), sum(shared) / len(shared)
        more, left = sum(each > 1 for each in count.values()), sum(not each for each in sets)
        counts = [str(len(count)), str(more), f"{left} of {len(sets)}"]
        table.append([name, f"{per_prompt:.2f}", *counts, f"{alike:.2f}"])
    return table


def table(heads: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    head, *rows = ("| " + " | ".join(row) + " |" for row in (heads, *lines))
    return "\n".join([head, "|---" * len(heads) + "|", *rows]) + "\n"


def main() -> None:
    page = sys.argv[1]
    rows = read(page)
    for contrasts in TABLES[page]:
        print(table(("contrast", *HEADS), [[said, *contrast(rows, a, b)] for a, b, said in contrasts]))
    heads = ("policy, first noise", "modifiers per prompt", "distinct", "on more than one prompt")
    print(table((*heads, "left alone", "similarity of two prompts' modifiers"), variety(rows)))


if __name__ == "__main__":
    main()
