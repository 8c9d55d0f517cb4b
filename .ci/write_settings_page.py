"""Write docs/settings.md: every setting of every recipe with its type, default and meaning, from the code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from dfprompt.config import Config, describe_fields
from dfprompt.data.settings import CurateSettings
from dfprompt.rewards.settings import ExtraSettings, JudgeSettings, RewardSettings
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings
from dfprompt.training.sft_settings import SftSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """# Settings

Everything a recipe can say. A recipe is a TOML file; a key `group.name` stands in its table `[group]`, and
`--set group.name=value` sets it on the command line, on top of the recipe. Misspelt keys are named with the
nearest that exists. The folder of a run holds `recipe.toml`, in which every setting stands with its value.
"""
Part = tuple[str, str, list[type[Config]]]
PARTS: tuple[Part, ...] = (
    ("Curation", "`dfprompt curate`, [Data](data.md).", [CurateSettings]),
    ("Stage 1", "`dfprompt train sft`, [Training](training.md).", [SftSettings]),
    ("Stage 2, PPO", "`dfprompt train ppo`, [Training](training.md).", [PpoSettings]),
    ("Stage 2, GRPO", "`dfprompt train grpo`: those of PPO without `value`, and these.", [GrpoSettings]),
    (
        "Rewards",
        "A reward recipe, [Rewards](rewards.md); `[[extra]]` and `[[judges]]` may be repeated.",
        [RewardSettings, ExtraSettings, JudgeSettings],
    ),
)
_PREFIX = {ExtraSettings: "extra.", JudgeSettings: "judges."}


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(f"\n## {title}\n{says}\n\n{_table(title, kinds)}" for title, says, kinds in PARTS)


def _table(title: str, kinds: list[type[Config]]) -> str:
    shared = {row[0] for row in describe_fields(PpoSettings)} if "GRPO" in title else set()
    lists = {prefix.rstrip(".") for prefix in _PREFIX.values()} if title == "Rewards" else set()
    rows = [row for kind in kinds for row in describe_fields(kind, _PREFIX.get(kind, ""))]
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in rows:
        if key not in shared and key not in lists:
            lines.append(f"| `{key}` | {_bars(_type(kind))} | {_cell(default)} | {_bars(meaning)} |")
    return "\n".join(lines) + "\n"


def _type(name: str) -> str:
    """What one writes into a recipe: the values of a choice, a list for a tuple."""
    name = re.sub(r"Optional\[(.*)\]", r"\1", name).replace(" | None", "")
    name = re.sub(r"Union\[(.*), NoneType\]", r"\1", name).replace("Any", "str")
    if found := re.fullmatch(r"Literal\[(.*)\]", name):
        return found[1].replace("'", '"').replace(", ", " or ")
    return re.sub(r"(?:tuple|collections\.abc\.Sequence)\[(\w+)(?:, \.\.\.)?\]", r"list of \1", name)


def _cell(default: str) -> str:
    """A default as TOML writes it; a dash where there is none."""
    if default in ("none", "required"):
        return "-" if default == "none" else default
    try:
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError):
        value = default
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _bars(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
