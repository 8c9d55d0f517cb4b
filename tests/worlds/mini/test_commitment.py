"""Where the picture commits: the prompts that ask it, and the shares, on a pipeline whose answer is known."""

from __future__ import annotations

import pytest
import torch

from dfprompt.mini.measures import MEASURES
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.prompt import DFPrompt, make_plan
from worlds.mini import commitment
from worlds.mini.commitment import Commitment, measure_commitment, swapped


def test_a_swap_changes_the_subject_exactly_half_way() -> None:
    prompt = swapped("cat", "fish", "red", "hill")
    texts = [step.text for step in make_plan(prompt, 10).steps]
    assert texts == ["a red cat on a hill"] * 5 + ["a red fish on a hill"] * 5


def test_shared_looks_need_both_halves() -> None:
    found = Commitment(80, 10, 4, {"a": 50, "b": 80, "c": 25}, {"a": 50, "b": 30, "c": 75.1})
    assert found.shared_looks == ["a"]


class _KnownJudge:
    """Reads the first subject from every second picture."""

    def correct(self, images: torch.Tensor, asked: list[object]) -> dict[str, torch.Tensor]:
        return {"subject": torch.arange(len(images)) % 2 == 0}


def test_the_shares_are_projections_on_the_full_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers for pictures: a modifier adds 4 spreads, of which the early half makes 1 and the late 2."""

    def images(pipe: object, prompts: list[DFPrompt | str], seeds: list[int], *rest: object) -> torch.Tensor:
        strength = {"full": 4.0, "early": 1.0, "late": 2.0}
        rows = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            word = "none" if isinstance(prompt, str) else str(prompt.controls[0].effect_range)
            rows.append(seed + strength.get(word, 0.0) * _SPREAD)
        return torch.tensor(rows)

    monkeypatch.setattr(commitment, "_images", images)
    monkeypatch.setattr(commitment, "_vector", lambda rows: rows[:, None].repeat(1, len(MEASURES)))
    found = measure_commitment(
        None,  # type: ignore[arg-type]
        _KnownJudge(),  # type: ignore[arg-type]
        steps=10,
        guidance_scale=3.0,
        swaps=8,
        pictures_per_modifier=4,
    )
    assert found.kept == 50
    assert found.early == pytest.approx(dict.fromkeys(MODIFIERS, 25.0), abs=1e-3)
    assert found.late == pytest.approx(dict.fromkeys(MODIFIERS, 50.0), abs=1e-3)


_SPREAD = float(torch.arange(4.0).std())  # of the plain "pictures" with seeds 0 to 3
