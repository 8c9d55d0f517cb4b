"""Policies and rewards shared through the hub: the folder as it is, and a card that fills itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dfprompt.api.cards import PARTS, REWARD, policy_card, reward_card
from dfprompt.config.keywords import names_keywords
from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.policy.folders import CARD, COUNTING, policy_in
from dfprompt.sources import download, find_cached, hub_id_of, is_hub_id
from dfprompt.storage import whole_folder, write_text, writing_into

# Neither code nor pickles are shared, whatever lies in the folder.
_LEFT_OUT = shutil.ignore_patterns(
    "*.partial", "__pycache__", "*.py", "*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl"
)
_READ = (".json", ".safetensors", ".toml", ".txt", ".md")


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
    repository to yourself; `token` is the hub's, by default the one you logged in with. Code and
    pickles are left out. `load_policy("hub:owner/name")` and `load_reward("hub:owner/name")` read it
    back. Returns the address. Raises InputError for a folder that is neither, LoadError where the hub
    refuses.

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
    with tempfile.TemporaryDirectory() as unpacked:
        staged = Path(unpacked) / "staged"
        if recipe:
            staged.mkdir()
            shutil.copyfile(folder, staged / REWARD)
        else:
            shutil.copytree(folder, staged, ignore=_LEFT_OUT)
        write_text(staged / "README.md", card)
        if isinstance(to, Path):
            with writing_into(to.parent, InputError), whole_folder(to) as unfinished:
                shutil.copytree(staged, unfinished, dirs_exist_ok=True)
            return str(to)
        return _upload(staged, to, private=private, token=token)


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
        kept = (name for name in names if Path(name).suffix in _READ)
        return [name for name in kept if "/" not in name or name.partition("/")[0] in (COUNTING, *PARTS)]

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
