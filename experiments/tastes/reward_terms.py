"""How well each taste's reward follows its raters within a prompt, on the pictures the heads were made of.

python experiments/tastes/reward_terms.py WORK/grid.npy
"""

import sys

import numpy as np
import torch

from dfprompt.api.rewards import load_reward
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.populations import population_taste
from dfprompt.mini.raters import taste
from worlds.mini.populations import every_modifier


def main() -> None:
    prompts, scenes, _ = every_modifier()
    pixels = np.load(sys.argv[1], allow_pickle=False)
    images, width = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, len(MODIFIERS) + 1
    plain = [str(prompts[at - at % width]) for at in range(len(prompts))]

    def within(values: torch.Tensor) -> torch.Tensor:
        rows = values.float().reshape(-1, width)
        return rows - rows.mean(1, keepdim=True)

    print(
        "| reward | " + "spread of the aesthetic term | of the preference gate | of the CLIP gate | "
        "correlation of the reward with its raters | of the aesthetic term |"
    )
    print("|---" * 6 + "|")
    for name in ("mini", "mini-painted", "mini-graphic"):
        found = load_reward(name).score_terms(images, plain)  # type: ignore[attr-defined]
        rated = within(
            taste(images, scenes) if name == "mini" else population_taste(name[5:], images, scenes)
        )
        cells = [
            f"{float(within(found.terms[each]).std(1).mean()):.2f}"
            for each in ("aesthetic_term", "preference_gate", "clip_gate")
        ]
        for each in (found.reward, found.terms["aesthetic_term"]):
            cells.append(
                f"{float(torch.corrcoef(torch.stack([within(each).flatten(), rated.flatten()]))[0, 1]):.2f}"
            )
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
