"""What a training writes for others: the policy of a step, and the one that is the result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt.policy import Policy, save_policy_folder
from dfprompt.storage import whole_folder
from dfprompt.training.centred_heads import as_saved
from dfprompt.training.disk import writing


def save_policy(accelerator: Any, policy: Policy, folder: Path, extra: Mapping[str, Path] | None) -> None:
    """Save a policy once for all processes, `extra` files beside it; raises TrainingError on a full disk."""
    if accelerator.is_main_process:
        with writing(folder), as_saved(policy.model):
            save_policy_folder(policy, folder, extra=extra)
    accelerator.wait_for_everyone()


def export_policy(
    accelerator: Any, policy: Policy, folder: Path, which: str, extra: Mapping[str, Path] | None
) -> None:
    """Put the weights asked for, "best" or "last", into the run's folder policy."""
    result, best = folder / "policy", folder / "best"
    if which == "last" or not best.is_dir():
        save_policy(accelerator, policy, result, extra)
        return
    if accelerator.is_main_process:
        with writing(result), whole_folder(result) as unfinished:
            shutil.copytree(best, unfinished, dirs_exist_ok=True)
    accelerator.wait_for_everyone()
