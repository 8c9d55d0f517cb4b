"""Show the demo's two acts to the judges as unlabelled pairs, and write down what they say.

    python experiments/first-look/look.py

Act (a): a style all the time against the same style late, and late and gently. Act (b): the plain prompt
against what the shipped policy writes. The prompts are the first of the mini world's held-out ones, in their
own order; nothing is chosen by looking. Each pair is shown in an order drawn by lot, without labels: the
judge of subjects, never trained on, says which of the two shows what was asked for; the raters' formula, from
which the policy's reward was learnt, which it would rate higher. The two styles are of those that the world
was made to spoil subjects with when they act early. Writes rows.csv, summary.json and README.md beside this
file, and the sentences into the pages that quote them.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dfprompt.api.mini_evaluation import MiniFidelity, MiniTaste, make_mini_prompts
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.evaluation.variations import ALWAYS, GENTLY, LATE_LABEL, vary
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.policy import SamplingSettings
from dfprompt.prompt import DFPrompt

HERE = Path(__file__).resolve().parent
PAGES = (HERE.parent.parent / "README.md", HERE.parent.parent / "docs" / "concepts.md")
# Two of the words whose coupling in the world's captions spoils the subject when they act early.
STYLES = ("watercolor", "oil painting")
PLAIN, POLICY = "plain", "policy"
FIELDS = ("act", "prompt", "style", "seed", "a", "b", "a_keeps", "b_keeps", "preferred", "same")


def main() -> None:
    """Draw, ask, write down."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--prompts", type=int, default=20, help="prompts of act (a)")
    asked.add_argument("--policy-prompts", type=int, default=200, help="prompts of act (b)")
    asked.add_argument("--seeds", type=int, default=4, help="noises of act (a)")
    asked.add_argument("--policy-seeds", type=int, default=2, help="noises of act (b)")
    asked.add_argument("--act", choices=("a", "b"), help="only this act; the other's rows are kept")
    options = asked.parse_args()
    rows = read_rows() if options.act and (HERE / "rows.csv").exists() else []
    prompts = make_mini_prompts(max(options.prompts, options.policy_prompts))
    if options.act != "b":
        rows = [row for row in rows if row["act"] != "a"] + list(
            Look(options.seeds).styles(prompts[: options.prompts])
        )
        save_rows(rows)
    if options.act != "a":
        rows = [row for row in rows if row["act"] != "b"]
        rows += list(Look(options.policy_seeds).policy(prompts[: options.policy_prompts]))
    save_rows(rows)
    write_down(summarize(read_rows()))


def write_down(summary: dict[str, Any]) -> None:
    """Write the counts, the page, and the sentences of other pages, which stand between two comments."""
    (HERE / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (HERE / "README.md").write_text(describe(summary), encoding="utf-8")
    said = {"late": late_sentence(summary), "policy": policy_sentence(summary)}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, sentence in said.items():
            between = re.compile(rf"(<!-- first look: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
            lines = "\n".join(textwrap.wrap(sentence, 120))
            text, count = between.subn(lambda found, lines=lines: found[1] + lines + found[2], text)
            assert count == 1, f"{page} has no place for the sentence {name}"
        page.write_text(text, encoding="utf-8")


class Look:
    """Draws rows of pictures from the same noise and shows pairs of them to the judges."""

    def __init__(self, seeds: int) -> None:
        self.seeds, self.pipeline = list(range(seeds)), load_pipeline("mini")
        self.judge, self.taste, self.lots = MiniFidelity(), MiniTaste(), random.Random(0)

    def styles(self, prompts: Sequence[PlainPrompt]) -> Iterator[dict[str, Any]]:
        """Act (a): every style all the time against late, and against late and gently."""
        for prompt in prompts:
            for style in STYLES:
                varied = vary(DFPrompt.from_plain(prompt.text), style)
                said = {each.label: each.prompt for each in varied}
                drawn = self.draw([said[label] for label in (ALWAYS, LATE_LABEL, GENTLY)])
                for other in (1, 2):
                    names = (ALWAYS, (LATE_LABEL, GENTLY)[other - 1])
                    yield from self.ask("a", prompt, style, names, drawn[0], drawn[other])

    def policy(self, prompts: Sequence[PlainPrompt]) -> Iterator[dict[str, Any]]:
        """Act (b): the plain prompt against the policy's likeliest rewrite, as the demo asks for it."""
        writer, settings = load_policy("mini"), SamplingSettings()
        for prompt in prompts:
            base = DFPrompt.from_plain(prompt.text)
            ((rewrite,),) = writer.candidates([base], 1, 0, settings)
            drawn = self.draw([base, rewrite.prompt] if rewrite.modifiers else [base])
            yield from self.ask("b", prompt, "", (PLAIN, POLICY), drawn[0], drawn[-1])

    def draw(self, prompts: Sequence[DFPrompt]) -> list[Tensor]:
        """Return the pictures of each prompt, one per seed."""
        many = [prompt for prompt in prompts for _ in self.seeds]
        images = self.pipeline.draw(many, self.seeds * len(prompts), share=True).images
        return list(images.reshape(len(prompts), len(self.seeds), *images.shape[1:]))

    def ask(
        self,
        act: str,
        prompt: PlainPrompt,
        style: str,
        names: tuple[str, str],
        first: Tensor,
        second: Tensor,
    ) -> Iterator[dict[str, Any]]:
        """Show each seed's two pictures in an order drawn by lot; the names are put back afterwards."""
        for seed, *pair in zip(self.seeds, first, second, strict=True):
            order = self.lots.sample([0, 1], 2)
            keeps, preferred = self.judge_pair([pair[place] for place in order], prompt)
            a, b = (keeps[order.index(place)] for place in (0, 1))
            yield {
                "act": act,
                "prompt": prompt.text,
                "style": style,
                "seed": seed,
                "a": names[0],
                "b": names[1],
                "a_keeps": int(a),
                "b_keeps": int(b),
                "preferred": "" if preferred is None else names[order[preferred]],
                "same": int(bool((pair[0] == pair[1]).all())),
            }

    def judge_pair(self, pair: Sequence[Tensor], prompt: PlainPrompt) -> tuple[list[bool], int | None]:
        """Say of two unlabelled pictures which show the subject, and which would be rated higher, if any."""
        two = [prompt.text] * 2
        images = pair[0].new_empty(2, *pair[0].shape)
        images[0], images[1] = pair
        subjects = [{"subject": prompt.record["subject"]}] * 2
        keeps = [bool(each) for each in self.judge(images, two, subjects)]
        rated = self.taste(images, two, [dict(prompt.record)] * 2).tolist()
        return keeps, None if rated[0] == rated[1] else int(rated[1] > rated[0])


def summarize(rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return the counts of both acts; every figure of the README is one of these."""
    return {
        "late": _count([row for row in rows if row["act"] == "a" and row["b"] == LATE_LABEL]),
        "gently": _count([row for row in rows if row["act"] == "a" and row["b"] == GENTLY]),
        "policy": _count([row for row in rows if row["act"] == "b"]),
    }


def _count(rows: Sequence[dict[str, str]]) -> dict[str, int]:
    """Counts over pairs: `a` is what stands first (all the time; plain), `b` what stands against it."""
    lost = [row for row in rows if row["a_keeps"] == "0"]
    kept = [row for row in rows if row["a_keeps"] == "1"]
    return {
        "prompts": len({row["prompt"] for row in rows}),
        "pairs": len(rows),
        "a_loses": len(lost),
        "b_keeps_what_a_loses": sum(row["b_keeps"] == "1" for row in lost),
        "b_loses_what_a_keeps": sum(row["b_keeps"] == "0" for row in kept),
        "b_preferred": sum(row["preferred"] == row["b"] for row in rows),
        "a_preferred": sum(row["preferred"] == row["a"] for row in rows),
        "same_pictures": sum(row["same"] == "1" for row in rows),
    }


def late_sentence(summary: dict[str, Any]) -> str:
    """The sentence of act (a)."""
    late, gently = summary["late"], summary["gently"]
    return (
        f"Of {late['pairs']} pairs ({late['prompts']} held-out prompts, {len(STYLES)} styles), a style all "
        f"the time lost the subject in {late['a_loses']}; late kept it in {late['b_keeps_what_a_loses']} of "
        f"these and lost it in {late['b_loses_what_a_keeps']} others, late and gently kept it in "
        f"{gently['b_keeps_what_a_loses']} and lost it in {gently['b_loses_what_a_keeps']} others."
    )


def policy_sentence(summary: dict[str, Any]) -> str:
    """The sentence of act (b)."""
    found = summary["policy"]
    won, lost = (_percent(found[f"{side}_preferred"], found["pairs"]) for side in "ba")
    return (
        f"On {found['prompts']} prompts it never saw ({found['pairs']} pairs) the raters' formula "
        f"prefers what the policy writes in {won} of the pairs and the plain picture in {lost}; the subject "
        f"is lost in {found['b_loses_what_a_keeps']} pairs and mended in {found['b_keeps_what_a_loses']}."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.0f} %"


def describe(summary: dict[str, Any]) -> str:
    """Return the page of this experiment."""
    lines = [
        "# The first look, asked of judges",
        "",
        (__doc__ or "").split("\n\n", 1)[1].strip(),
        "",
        "*Of the mini world; says nothing about real models.*",
        "",
        f"- Act (a). {late_sentence(summary)}",
        f"- Act (b). {policy_sentence(summary)}",
        "",
        "| | pairs | prompts | subject lost by the first | of these kept by the second "
        "| lost by the second alone | second preferred | first preferred | same pictures |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    titles = {
        "late": "all the time, then late",
        "gently": "all the time, then late and gently",
        "policy": "plain, then the policy",
    }
    for name, title in titles.items():
        found = summary[name]
        order = ("pairs", "prompts", "a_loses", "b_keeps_what_a_loses", "b_loses_what_a_keeps")
        order += ("b_preferred", "a_preferred", "same_pictures")
        lines.append(f"| {title} | " + " | ".join(str(found[each]) for each in order) + " |")
    return "\n".join([*lines, ""])


def save_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Write every pair as it was judged."""
    with (HERE / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows() -> list[dict[str, str]]:
    """Read every pair."""
    with (HERE / "rows.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
