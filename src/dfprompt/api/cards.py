"""Cards of shared policies and rewards: what the files say; the rest is "not stated" or "not measured"."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfprompt.config import read_recipe
from dfprompt.domain import Domain, find_domain
from dfprompt.errors import InputError
from dfprompt.modelfiles import read_small_json
from dfprompt.policy.folders import ADAPTER, CARD, weights_digest
from dfprompt.sources import is_hub_id
from dfprompt.storage import read_toml

REWARD = "reward.toml"
SHARED = "library_name: dfprompt"  # a line of every card: what a folder with it holds is a share of ours
PARTS = ("clip", "aesthetic", "preference")  # the folders of a reward's set
_NOT = "not stated"
_MOST_ROWS = 96  # of an evaluation's table
_POLICY = (
    "A policy of dfprompt: it appends modifiers to a text-to-image prompt, each with a range of denoising "
    "time and a weight."
)
_REWARD = "A reward of dfprompt: it scores pictures against the plain words they answer."
Told = Mapping[str, str | None]


def policy_card(folder: Path, run: Path, name: str, told: Told, evaluation: Path | None) -> str:
    """Return the card of a policy's folder, which may lie in the folder of its training `run`.

    `told` are base, data and licence as the user gave them; `evaluation` is the folder of an evaluation.
    """
    config = _json(folder / "config.json")
    trunk = config.get("trunk") if isinstance(config.get("trunk"), dict) else {}
    recipe = _recipe_of(folder, run)
    base = told["base"] or _json(folder / ADAPTER).get("base_model_name_or_path") or _named(trunk or {})
    kind = (trunk or {}).get("model_type", "no language model")
    facts = {
        "base model": str(base or f"{_NOT} ({kind})"),
        "trained on": told["data"] or _get(recipe, "data", "folder") or _NOT,
        "pictures by": _get(recipe, "pictures", "pipeline") or _NOT,
        "words it knows": _world(find_domain(folder)),
        "ranges": ", ".join(map(str, config.get("ranges", ()))) or _NOT,
        "weights": ", ".join(map(str, config.get("weights", ()))) or _NOT,
        "prompt tokens at most": str(_json(folder / CARD).get("prompt_tokens", _NOT)),
        "fingerprint": weights_digest(folder),
        "licence": told["licence"] or _NOT,
    }
    words = '"a red house in the snow"'
    at = _at(name)
    python = f'rewrite = dfprompt.optimize_prompt({words}, "{at}")[0]\nprint(rewrite.prompt)'
    use = _use(python, f"dfprompt optimize {words} --policy {at}")
    return _card(name, _POLICY, facts, use, _measured(evaluation), "prompt-rewriting")


def reward_card(source: Path, name: str, told: Told) -> str:
    """Return the card of a reward: a recipe, or the folder of a set; InputError for anything else."""
    recipe = source if source.suffix == ".toml" else source / REWARD
    parts = [each for each in PARTS if (source / each).is_dir()]
    if not recipe.is_file() and not parts:
        raise InputError(
            f"{source}: neither a policy (config.json, {CARD}), nor a reward (a recipe .toml, or folders "
            f"{', '.join(PARTS)})"
        )
    values = read_recipe(recipe) if recipe.is_file() else {}
    extra = [str(each.get("name")) for each in values.get("extra") or () if isinstance(each, dict)]
    constants = values.get("composite") or {}
    facts = {
        "scores": ", ".join([*parts, *extra]) or "those of the paper's composite, on published weights",
        "constants": ", ".join(f"{key} {value}" for key, value in constants.items()) or "the paper's",
        "base model": told["base"] or _NOT,
        "learnt from": told["data"] or _NOT,
        "words it knows": _world(find_domain(source) if source.is_dir() else None),
        "licence": told["licence"] or _NOT,
    }
    at = _at(name)
    use = _use(
        f'reward = dfprompt.load_reward("{at}")',
        f'dfprompt score cat.png --prompt "a red cat" --reward {at}',
    )
    return _card(name, _REWARD, facts, use, "Not measured.", "image-scoring")


def _at(name: str) -> str:
    return f"hub:{name}" if "/" in name else name  # a local folder is no name on the hub


def _use(python: str, command: str) -> str:
    return f"```py\nimport dfprompt\n\n{python}\n```\n\n```text\n{command}\n```"


def _card(name: str, about: str, facts: Mapping[str, str], use: str, measured: str, tag: str) -> str:
    licence, base = facts["licence"], facts["base model"]
    head = [f"license: {_line(licence) if licence != _NOT else 'unknown'}"]
    head += [f"base_model: {base}"] if is_hub_id(base) else []
    head += [SHARED, f"tags: [dfprompt, text-to-image, {tag}]"]
    rows = [f"| {what} | {_line(value)} |" for what, value in facts.items()]
    parts = ["---", *head, "---", f"# {name}", "", about, "", "## How to use it", "", use, ""]
    parts += ["## What it is", "", "| | |", "|---|---|", *rows, "", "## What was measured", "", measured, ""]
    return "\n".join(parts)


def _measured(folder: Path | None) -> str:
    """The table of an evaluation: every method against plain, by every score."""
    if folder is None:
        return "Not measured: no evaluation was given."
    try:
        with (folder / "tables" / "scores.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["difference"]][:_MOST_ROWS]
        lines = list(_lines(rows))
    except (OSError, LookupError, ValueError, csv.Error) as error:
        raise InputError(f"{folder}: no table of an evaluation there (tables/scores.csv): {error}") from error
    return "\n".join(
        [
            f"Against the plain prompt on the same noise, {rows[0]['prompts'] if rows else 'no'} prompts.",
            "",
            "| method | score | minus plain (95 % interval) | won, tied, lost | pairs |",
            "|---|---|---|---|---|",
            *lines,
        ]
    )


def _lines(rows: list[dict[str, str]]) -> Iterator[str]:
    for row in rows:
        gain, low, high = (float(row[key]) for key in ("difference", "low", "high"))
        what = row["score"] + ("" if row["role"] == "reward" else f" ({row['role']})")
        counts = f"{row['won']}, {row['tied']}, {row['lost']}"
        cells = [row["method"], what, f"{gain:+.3f} ({low:+.3f} to {high:+.3f})", counts, row["pairs"]]
        yield f"| {' | '.join(map(_line, cells))} |"


def _recipe_of(folder: Path, run: Path) -> dict[str, Any]:
    """The recipe of the training run a policy lies in, if it lies in one."""
    for place in (run, folder.parent):
        try:
            return read_toml(place / "recipe.toml")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
    return {}


def _get(recipe: Mapping[str, Any], table: str, key: str) -> str | None:
    """A setting of a recipe; of a path only its last part, which says nothing of this machine."""
    inner = recipe.get(table)
    value = inner.get(key) if isinstance(inner, Mapping) else None
    return Path(str(value)).name if value else None


def _json(path: Path) -> dict[str, Any]:
    return read_small_json(path) if path.is_file() else {}


def _named(trunk: Mapping[str, Any]) -> str | None:
    named = str(trunk.get("_name_or_path") or "")
    return named if is_hub_id(named) else None


def _world(domain: Domain | None) -> str:
    return "any" if domain is None else f"{len(domain.words)}, of the {domain.name} world"


def _line(text: str) -> str:
    return " ".join(str(text).replace("|", "/").split())
