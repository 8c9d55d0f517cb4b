"""What ranges and weights can still bring where the words are already the best there are, scene by scene.

python experiments/stage-2-three-seeds/ceiling.py --output FOLDER

For every scene of the mini world: the words that policies trained on words alone settled on (LEARNT), and
the same with `golden hour`, the word that policies with trained heads add. Each is drawn with default
controls and with the best ranges and weights that a search on the scene's validation prompts finds, all on
the same held-out prompts and noise. Prints the differences over all scenes, paired, 95 % intervals over
prompts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dfprompt.api.evaluation import evaluate
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.scoring import FIDELITY, TASTE
from dfprompt.statistics.comparison import Key, compare_scores

# The commonest words of the arm "frozen", three training seeds together.
LEARNT = {
    "night": "centered composition",
    "sea": "centered composition",
    "snow": "vignette",
    "forest": "vignette",
    "desert": "vivid colors",
    "hill": "masterpiece",
}
MORE = "golden hour"
ARMS = {
    "words alone": "their words, default",
    "words alone, searched controls": "their words, best controls",
    "with golden hour": "and golden hour, default",
    "with golden hour, searched controls": "and golden hour, best controls",
}
SCORES = ("reward", "taste", "fidelity")
Values = dict[str, dict[str, dict[Key, float]]]


def draw_scene(scene: str, output: Path, *, seeds: int, images: int) -> Values:
    """The scores of all arms on a scene's held-out prompts, by arm, score and picture."""
    tested, searched = (
        [each for each in make_mini_prompts(count, part=part) if each.record["scene"] == scene]
        for count, part in ((96, "test"), (150, "validation"))
    )
    found: Values = {}
    for words, arm in ((LEARNT[scene], "words alone"), (f"{LEARNT[scene]}, {MORE}", "with golden hour")):
        run = evaluate(
            tested,
            ["plain", "suffix", "suffix-controls"],
            output / f"{scene}-{arm.replace(' ', '-')}",
            seeds=range(seeds),
            suffix=words,
            validation=searched,
            validation_images=images,
            rewards=["mini"],
            judges=[FIDELITY, TASTE],
        )
        names = {"plain": "plain", "suffix": arm, "suffix-controls": f"{arm}, searched controls"}
        for row in run.outcome.rows:
            for score in SCORES:
                found.setdefault(names[row.method], {}).setdefault(score, {})[(row.prompt_id, row.seed)] = (
                    row.scores[score]
                )
    return found


def main() -> None:
    """Print a table of every arm against the first one, in every score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--images", type=int, default=800, help="of each search")
    chosen = parser.parse_args()
    together: Values = {}
    for scene in LEARNT:
        for arm, scores in draw_scene(scene, chosen.output, seeds=chosen.seeds, images=chosen.images).items():
            for score, values in scores.items():
                together.setdefault(arm, {}).setdefault(score, {}).update(values)
    first = next(iter(ARMS))
    print(
        "| per scene, fixed | reward minus plain | minus words alone: reward | raters' formula | fidelity |"
    )
    print("|---|---|---|---|---|")
    for arm, says in ARMS.items():
        cells = [_cell(together, arm, "plain", "reward")]
        cells += ["-"] * 3 if arm == first else [_cell(together, arm, first, score) for score in SCORES]
        print(f"| {says} | {' | '.join(cells)} |")


def _cell(together: Values, arm: str, other: str, score: str) -> str:
    compared = compare_scores(together[arm][score], together[other][score])
    assert compared is not None
    low, high = compared.interval
    return f"{compared.difference:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
