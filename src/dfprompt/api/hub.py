"""Policies and rewards shared through the hub: the folder as it is, and a card that fills itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfprompt.api.cards import PARTS, REWARD, SHARED, policy_card, reward_card
from dfprompt.config import read_recipe
from dfprompt.config.keywords import names_keywords
from dfprompt.errors import ConfigError, DFPromptWarning, InputError, LoadError
from dfprompt.excerpt import quote
from dfprompt.modelfiles import read_small_json
from dfprompt.policy.folders import ADAPTER, CARD, COUNTING, policy_in
from dfprompt.sources import download, find_cached, hub_id_of, is_hub_id
from dfprompt.storage import whole_folder, write_text, writing_into

# Neither code nor pickles are shared or fetched, whatever lies in the folder.
_READ = (".json", ".safetensors", ".toml", ".txt", ".md")
_FOLDERS = (COUNTING, *PARTS)
_PAGE = "README.md"


@names_keywords
def push_to_hub(
    source: str | Path,
    to: str | Path,
    *,
    base: str | None = None,
    data: str | None = None,
    licence: str | None = None,
    evaluation: str | Path | None = None,
    private: bool = True,
    token: str | None = None,
) -> str:
    """Share a policy (a folder of `dfprompt train` or `learn`) or a reward (a set, a recipe) with a card.

    `to` is "owner/name" on the hub, or a Path: a local folder that takes the place of one. `base` names the
    base model, `data` what it was trained on, `licence` is an identifier such as apache-2.0; what is
    not given is read off the files, and what they do not say stands in the card as not stated.
    `evaluation` is the folder of a `dfprompt evaluate`, whose table is quoted. `private` keeps a new
    repository to yourself; `token` is the hub's, by default the one you logged in with. What is neither
    settings nor safetensors is left out, with a warning. `load_policy("hub:owner/name")` and
    `load_reward("hub:owner/name")` read it back. Returns the address. Raises InputError for a folder that is
    neither, for links in it, for files that name a place of this machine, and for a local folder that holds
    anything but an earlier share; LoadError where the hub refuses.

    >>> # push_to_hub("runs/grpo/policy", "me/my-policy", licence="apache-2.0", evaluation="table")
    """
    told = {"base": base, "data": data, "licence": licence}
    place = Path(source)
    recipe = place.suffix == ".toml"
    folder = place if recipe else policy_in(place)
    name = to.name if isinstance(to, Path) else to
    if not isinstance(to, Path) and not is_hub_id(to):
        raise ConfigError(f"{to!r} is no name on the hub (owner/name); a local folder is a pathlib.Path")
    if recipe or not ((folder / "config.json").is_file() or (folder / CARD).is_file()):
        card = reward_card(folder, name, told)
    else:
        card = policy_card(folder, place, name, told, None if evaluation is None else Path(evaluation))
    if isinstance(to, Path):
        _check_place(to)
    with tempfile.TemporaryDirectory() as unpacked:
        staged = Path(unpacked) / "staged"
        _stage(folder, staged)
        write_text(staged / _PAGE, card)
        if isinstance(to, Path):
            with writing_into(to.parent, InputError), whole_folder(to) as unfinished:
                shutil.copytree(staged, unfinished, dirs_exist_ok=True)
            return str(to)
        return _upload(staged, to, private=private, token=token)


def _check_place(to: Path) -> None:
    """Refuse a local folder that holds anything but what was shared there before."""
    held = [each.relative_to(to) for each in _files_of(to)]
    if not held:
        return
    page = to / _PAGE
    ours = page.is_file() and SHARED in page.read_text(encoding="utf-8", errors="replace")
    if not ours or not all(map(_is_shared, held)):
        raise InputError(f"{to} holds other files than an earlier share; choose another folder, or empty it")


def _is_shared(name: Path) -> bool:
    return name.suffix in _READ and (len(name.parts) == 1 or name.parts[0] in _FOLDERS)


def _stage(source: Path, staged: Path) -> None:
    """Copy what is shared of a folder, or a recipe, and nothing that a link leads to."""
    if source.is_file():
        names = {Path(REWARD): source}
    else:
        names = {path.relative_to(source): path for path in _files_of(source)}
    left_out = sorted(name.as_posix() for name in names if not _is_shared(name))
    if left_out:
        warnings.warn(f"not shared of {source}: {', '.join(left_out)}", DFPromptWarning, stacklevel=4)
    for name, path in names.items():
        if not _is_shared(name):
            continue
        if path.is_symlink():
            raise InputError(f"{path} is a link; put the file itself there to share it, or remove the link")
        _check_private(path)
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, staged / name)


def _files_of(folder: Path) -> Iterator[Path]:
    """The files of a folder and its links; links to folders are not gone into."""
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent, each) for each in names)
        yield from (Path(parent, each) for each in folders if Path(parent, each).is_symlink())


def _check_private(path: Path) -> None:
    """Refuse a place of this machine in what is shared: it says who you are, and leads nowhere elsewhere."""
    if path.suffix == ".toml":
        values = _texts_of(read_recipe(path))
    elif path.name in ("config.json", ADAPTER, "tokenizer_config.json"):
        values = iter(each for each in _texts_of(read_small_json(path)) if each[0].endswith("path"))
    else:
        return
    for key, text in values:
        places = [text, *(text.split(":") if "://" not in text else ())]
        if any(place.startswith(("/", "~")) or Path(place).is_absolute() for place in places):
            raise InputError(
                f"{path}: {key} is {quote(text)}, a place of this machine; name a model of the hub "
                "(hub:owner/name), or what lies beside the file"
            )


def _texts_of(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in settings, with its key."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts_of(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _texts_of(each, name)


def find_shared(source: str) -> Path:
    """Return the folder of what was shared as "hub:owner/name": cached, or downloaded, which is said first.

    Only configurations and safetensors are fetched. Raises LoadError where the hub cannot be reached.
    """
    hub_id = hub_id_of(source)
    if hub_id is None:
        raise LoadError(f"{source}: not a hub id (hub:owner/name)")
    cached = find_cached(hub_id)
    if cached is not None and any((cached / name).exists() for name in ("config.json", CARD, REWARD, *PARTS)):
        return cached

    def choose(names: Sequence[str]) -> list[str]:
        return [name for name in names if _is_shared(Path(name))]

    return download(hub_id, choose)


def _upload(staged: Path, to: str, *, private: bool, token: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    hub = HfApi(token=token)
    try:
        hub.create_repo(to, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=to, folder_path=staged, commit_message="Shared with dfprompt"))
    except (OSError, ValueError, HTTPError) as error:
        raise LoadError(
            f"{to} cannot be shared on the hub: {error}; log in (hf auth login) with a token that may write"
        ) from error
