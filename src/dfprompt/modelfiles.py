"""Model folders of strangers, looked at before a library builds anything of them.

A config of a few bytes can ask for a million layers or terabytes of weights, and the libraries begin to
build them before they look at the weights. What the weights hold bounds what their config can mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfprompt.errors import LoadError
from dfprompt.excerpt import quote
from dfprompt.storage import read_json

MOST_BYTES = 50_000_000  # of a JSON file beside weights: large tokenizers have 20 MB
_MOST_CONFIG_BYTES = 1_000_000
_MOST_ENTRIES = 10_000  # of a list in a config; vocabularies stand in the tokenizer's files
_HEADER_BYTES = 8
_MOST_HEADER = 100_000_000  # the format's own limit
_DEPTHS = frozenset("n_layer n_layers num_layers num_hidden_layers num_single_layers encoder_layers".split())
_DEPTHS |= frozenset("decoder_layers num_decoder_layers layers_per_block depth".split())
_WIDTHS = frozenset("n_embd n_inner hidden_size intermediate_size d_model d_ff ffn_dim vocab_size".split())
_WIDTHS |= frozenset("projection_dim n_positions max_position_embeddings cross_attention_dim".split())
_SPARE = 64  # how often a width may exceed the largest dimension of any weight


def read_small_json(path: Path, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """Return the object of a JSON file; raises LoadError for one that is missing, damaged or too large."""
    try:
        content = read_json(path, most)
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise LoadError(f"{path}: expected a JSON object")
    return content


def check_model_folder(folder: Path, *, weights: Path | None = None) -> None:
    """Raise LoadError for a config that asks for more than the safetensors files beside it can hold.

    `weights` are those of another file. A folder without safetensors files is left to its loader.
    """
    for path in folder.glob("*.json"):
        if path.stat().st_size > MOST_BYTES:
            raise LoadError(
                f"{path} has {path.stat().st_size:,} bytes; such a file has {MOST_BYTES:,} at most"
            )
    config = read_small_json(folder / "config.json", most=_MOST_CONFIG_BYTES)
    if too_long := next((name for name, value in _entries(config) if _is_long(value)), None):
        raise LoadError(f"{folder / 'config.json'}: {too_long} has more than {_MOST_ENTRIES:,} entries")
    files = [weights] if weights is not None else sorted(folder.glob("*.safetensors"))
    shapes = [shape for file in files if file.suffix == ".safetensors" for shape in _shapes(file)]
    if not shapes:
        return
    widest = max((side for shape in shapes for side in shape), default=1)
    for name, value in _entries(config):
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        if name in _DEPTHS and value > len(shapes):
            found = f"its weights are {len(shapes):,} tensors"
        elif name in _WIDTHS and value > _SPARE * widest:
            found = f"no side of its weights is longer than {widest:,}"
        else:
            continue
        raise LoadError(f"{folder / 'config.json'}: {name} is {value:,}, but {found}; the file is damaged")


def _entries(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config by the name it stands under, however deep; JSON's own depth is limited."""
    waiting = [(name, config)]
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list) and len(value) <= _MOST_ENTRIES:
            waiting += [(name, each) for each in value]


def _is_long(value: Any) -> bool:
    return isinstance(value, list | dict) and len(value) > _MOST_ENTRIES


def _shapes(path: Path) -> list[list[int]]:
    """The shapes in a safetensors file's header, none where it is damaged: the loader will say so."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_HEADER_BYTES), "little")
            if length > min(_MOST_HEADER, path.stat().st_size):
                return []
            header = json.loads(stream.read(length))
        found = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        return [[int(side) for side in shape] for shape in found]
    except (OSError, ValueError, ArithmeticError, RecursionError, TypeError, KeyError, AttributeError):
        return []


def check_tokenizer(tokenizer: Any, where: str, *, rows: int | None = None) -> None:
    """Raise LoadError for a tokenizer whose files hold no such values: its longest text, its tokens' numbers.

    rows: how many tokens the model beside it knows, the height of its embedding; None: any number.
    """
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest >= 1:
        raise LoadError(
            f"{where}: model_max_length is {quote(longest)}, not a number above 0; correct it in "
            "tokenizer_config.json"
        )
    highest = max(tokenizer.get_vocab().values(), default=0)
    if rows is not None and highest >= rows:
        raise LoadError(
            f"{where}: the tokenizer has a token number {highest}, the model knows {rows} tokens, from 0; "
            "they do not belong together"
        )
