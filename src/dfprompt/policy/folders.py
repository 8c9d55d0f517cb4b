"""Policies on disk: model and tokenizer in transformers' formats, and policy.json beside them.

config.json, model.safetensors     the PolicyModel; or adapter_config.json and its weights (LoRA)
tokenizer.json, ...                its tokenizer
policy.json                        {"dfprompt": 1, "name": ..., "prompt_tokens": 75, ...}, measured curves
counting/                          the tokenizer prompt tokens are counted with, if not its own
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from dfprompt.domain import find_domain
from dfprompt.errors import ConfigError, LoadError, load_errors
from dfprompt.excerpt import quote
from dfprompt.modelfiles import check_model_folder, check_tokenizer, read_small_json
from dfprompt.policy.budget import CLIP_TOKENS, TokenBudget
from dfprompt.policy.configuration import POLICY_FIELDS, PolicyConfig
from dfprompt.policy.modeling import PolicyModel
from dfprompt.policy.policy import Policy
from dfprompt.policy.restraint import Restraint, read_restraint
from dfprompt.statistics.risk import RiskCurve, read_curve
from dfprompt.storage import check_ours, iter_bytes, library_errors, tidied, whole_folder, write_text

CARD = "policy.json"
ADAPTER = "adapter_config.json"
COUNTING = "counting"
_VERSION = 1
Read = TypeVar("Read")
_MOST_NAME, _MOST_TOKENS = 200, 100_000


def load_policy_folder(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Policy:
    """Load a policy, or any causal language model as one that writes words with the default control.

    The folder of a training run stands for the policy in it. Raises LoadError for a folder that is missing,
    damaged, or without safetensors weights.
    """
    folder = policy_in(Path(folder))
    model = load_policy_model(folder, dtype=dtype).to(device)
    card = _read_card(folder)
    tokenizer = load_tokenizer(folder)
    counting = folder / COUNTING
    counted = load_tokenizer(counting) if counting.is_dir() else tokenizer
    return Policy(
        model.eval(),
        tokenizer,
        budget=TokenBudget(card.get("prompt_tokens", CLIP_TOKENS), (counted,)),
        name=card.get("name", folder.resolve().name),
        digest=weights_digest(folder),
        domain=find_domain(folder),
        restraint=_measured(card, "restraint", read_restraint, folder),
        risk=_measured(card, "risk", read_curve, folder),
        max_modifiers=card.get("max_modifiers"),
    )


def load_policy_model(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    settings: Mapping[str, Any] | None = None,
    _above: tuple[Path, ...] = (),
) -> PolicyModel:
    """The model of a folder: a policy as it was saved, or heads put on a plain causal language model.

    `settings` are fields of PolicyConfig for a plain model's new heads; without them it gets
    control "none". A policy keeps its own.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if not folder.is_dir():
        raise LoadError(f"{folder}: there is no such folder; a policy is a folder written by dfprompt train")
    options = {"dtype": dtype, "use_safetensors": True}
    if (folder / ADAPTER).is_file():
        return _load_adapted(folder, dtype, _above)
    if not (folder / "config.json").is_file():
        raise LoadError(f"{folder}: no config.json, so neither a policy nor a language model")
    check_model_folder(folder)
    config = _guarded(folder, AutoConfig.from_pretrained, folder)
    _refuse_fetched_code(folder)
    if isinstance(config, PolicyConfig):
        model = _whole(folder, PolicyModel.from_pretrained, options)
    else:
        trunk = _whole(folder, AutoModelForCausalLM.from_pretrained, options)
        model = PolicyModel.from_trunk(trunk, **(settings or {"control": "none"}))
    return model


def _refuse_fetched_code(folder: Path) -> None:
    """Attention named owner/name is compiled code that transformers would fetch from a hub and run."""
    config = read_small_json(folder / "config.json")
    trunk = config.get("trunk")
    for part in (config, trunk if isinstance(trunk, dict) else {}):
        for key in ("attn_implementation", "_attn_implementation"):
            if "/" in str(part.get(key, "")):
                raise LoadError(
                    f"{folder / 'config.json'}: {key} {part[key]!r} names code to be fetched and run; "
                    "delete the entry"
                )


def policy_in(folder: Path) -> Path:
    """The policy that a training run's folder holds, or the folder itself.

    >>> policy_in(Path("nowhere")).name
    'nowhere'
    """
    inner = folder / "policy"
    is_run = not (folder / "config.json").is_file() and (inner / "config.json").is_file()
    return inner if is_run else folder


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; raises LoadError where its files are missing or make no tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = _guarded(folder, AutoTokenizer.from_pretrained, folder)
    if len(tokenizer) < 3:
        raise LoadError(f"{folder}: the tokenizer's files are missing (tokenizer.json, or its vocabulary)")
    check_tokenizer(tokenizer, str(folder))
    return tokenizer


def save_policy_folder(policy: Policy, folder: Path, *, extra: Mapping[str, Path] | None = None) -> Path:
    """Write a policy, whole or not at all; it takes the place of the one that stood there.

    `extra` maps file names to files copied beside it, such as domain.json. A model with LoRA layers
    is saved as the adapter and the heads. Raises InputError for a folder that holds something else; OSError
    where the disk refuses.
    """
    if folder.is_dir() and any(folder.iterdir()):
        check_ours(folder, [each.name for each in folder.iterdir()], CARD, force=False)
    with whole_folder(folder) as unfinished:
        _write_parts(policy, unfinished)
        _name_base_from(folder, unfinished / ADAPTER)
        for name, source in (extra or {}).items():
            shutil.copyfile(source, unfinished / name)
    return folder


def _write_parts(policy: Policy, folder: Path) -> None:
    counting = policy.budget.tokenizers[0] if policy.budget.tokenizers else policy.tokenizer
    with _quietly(), library_errors():
        policy.model.save_pretrained(folder)
        policy.model.config.save_pretrained(folder)  # an adapter alone would not say its tables
        policy.tokenizer.save_pretrained(folder)
        if counting is not policy.tokenizer:
            counting.save_pretrained(folder / COUNTING)
    _forget_folders(folder / "config.json")
    card: dict[str, Any] = {"dfprompt": _VERSION, "name": policy.name, "prompt_tokens": policy.budget.limit}
    if policy.max_modifiers is not None:
        card["max_modifiers"] = policy.max_modifiers
    measured = {"restraint": policy.restraint, "risk": policy.risk}
    card |= {name: each.to_json() for name, each in measured.items() if each is not None}
    write_text(folder / CARD, json.dumps(card, indent=1) + "\n")


def keep_measured(folder: Path, name: str, measured: Restraint | RiskCurve) -> None:
    """Write a measured curve into the policy.json of a folder; raises LoadError where there is none."""
    folder = policy_in(folder)
    card = {**_read_card(folder), name: measured.to_json()}
    with tidied(folder):
        write_text(folder / CARD, json.dumps({"dfprompt": _VERSION, **card}, indent=1) + "\n")


def _measured(card: Mapping[str, Any], name: str, read: Callable[[Any], Read], folder: Path) -> Read | None:
    if card.get(name) is None:
        return None
    try:
        return read(card[name])
    except ConfigError as error:
        raise LoadError(f"{folder / CARD}: {error}") from error


def _forget_folders(config: Path) -> None:
    """Drop folders of this machine from a saved config; hub ids stay, they say what the trunk was."""
    values = json.loads(config.read_text(encoding="utf-8"))
    for part in (values, values.get("trunk") or {}):
        name = part.get("_name_or_path")
        if name and (Path(name).is_absolute() or Path(name).exists()):
            del part["_name_or_path"]
    write_text(config, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _name_base_from(folder: Path, adapter: Path) -> None:
    """Name the base model of a LoRA by its way from the policy's folder: they are moved and shared as one."""
    if not adapter.is_file():
        return
    values = read_small_json(adapter)
    named = Path(str(values.get("base_model_name_or_path") or ""))
    if named.is_absolute():
        values["base_model_name_or_path"] = Path(os.path.relpath(named, folder.resolve())).as_posix()
        write_text(adapter, json.dumps(values, indent=2, sort_keys=True) + "\n")


def weights_digest(folder: Path) -> str:
    """A short SHA-256 over names and bytes of a folder's configuration and weights."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.name in ("config.json", ADAPTER):
            total.update(path.name.encode() + b"\0")
            for piece in iter_bytes(path):
                total.update(piece)
    return total.hexdigest()[:16]


def _load_adapted(folder: Path, dtype: torch.dtype, above: tuple[Path, ...]) -> PolicyModel:
    """A policy whose trunk is a LoRA on another policy or language model; `above` are those that led here."""
    from dfprompt.policy.lora import load_adapter

    named = str(read_small_json(folder / ADAPTER).get("base_model_name_or_path") or "")
    places = (folder / named, Path(named)) if named else ()
    base = next((place for place in places if (place / "config.json").is_file()), None)
    above = (*above, folder.resolve())
    if base is not None and base.resolve() in above:
        raise LoadError(f"{folder}: {ADAPTER} names a base model that leads back to itself; correct it")
    check_model_folder(folder)
    if base is None:
        raise LoadError(
            f"{folder}: the adapter's base model is not where it was, {named or 'not named'}; put it there, "
            "or correct base_model_name_or_path in adapter_config.json"
        )
    config = _guarded(folder, PolicyConfig.from_pretrained, folder)
    settings = {name: getattr(config, name) for name in POLICY_FIELDS}
    model = load_policy_model(base, dtype=dtype, settings=settings, _above=above)
    if config.tastes and not model.config.tastes:
        model.add_tastes(config.tastes)
    with load_errors(f"{folder}: cannot be loaded"), _quietly():
        return load_adapter(model, folder)


def _whole(folder: Path, load: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    model, info = _guarded(folder, load, folder, **options, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise LoadError(
            f"{folder}: {len(missing)} tensors are missing, such as {missing[0]}; the file is damaged "
            "or belongs to another kind of model"
        )
    return model


def _guarded(folder: Path, load: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a from_pretrained of transformers: files of this disk alone, never a folder's own Python code.

    Without `trust_remote_code=False` transformers asks on stdin whether to run such code.
    """
    with load_errors(f"{folder}: cannot be loaded"), _quietly():
        return load(*arguments, local_files_only=True, trust_remote_code=False, **options)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' progress bars: they say nothing about files on this disk."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        return {}
    card = read_small_json(path)
    if card.get("dfprompt") != _VERSION:
        raise LoadError(f'{path}: expected {{"dfprompt": {_VERSION}, ...}}; written by a newer dfprompt?')
    name, tokens = card.get("name", ""), card.get("prompt_tokens", CLIP_TOKENS)
    if not isinstance(name, str) or len(name) > _MOST_NAME:
        raise LoadError(f"{path}: name must be a text of {_MOST_NAME} characters at most, not {quote(name)}")
    most = card.get("max_modifiers")
    if most is not None and (type(most) is not int or most < 1):
        raise LoadError(f"{path}: max_modifiers must be a whole number of at least 1, not {quote(most)}")
    if type(tokens) is not int or not 1 <= tokens <= _MOST_TOKENS:
        raise LoadError(f"{path}: prompt_tokens must be 1 to {_MOST_TOKENS:,}, not {quote(tokens)}")
    return card
