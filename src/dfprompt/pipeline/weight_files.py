"""Weight files looked at before anything loads them: safetensors only, whole, and named when not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dfprompt.errors import LoadError
from dfprompt.storage import read_json

PICKLED = (".ckpt", ".bin", ".pt", ".pth", ".pkl")
_HEADER_BYTES = 8
_MAX_HEADER = 100_000_000  # the format's own limit
_VARIANT = re.compile(r"\.(?P<variant>\w+?)(-\d{5}-of-\d{5})?\.safetensors$")


def refuse_pickle(path: Path) -> None:
    """Raise LoadError for a file of a kind that can run code when it is read."""
    if path.suffix.lower() in PICKLED:
        raise LoadError(
            f"{path} is a pickle, which can run any code when it is read; use the model's .safetensors file, "
            "or convert it on a machine you can afford to lose"
        )


def read_header(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file by name (dtype, shape, offsets), its bytes counted.

    Raises LoadError naming the file if it is missing, cut off or of another format.
    """
    refuse_pickle(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_HEADER_BYTES), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - _HEADER_BYTES):
                raise LoadError(f"{path} is no safetensors file, or was cut off; download it again")
            header = json.loads(stream.read(length))
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path} is no safetensors file; its header is not JSON") from error
    try:
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        places = [(start, end) for start, end in (entry["data_offsets"] for entry in tensors.values())]
        numbers = chain(*places, *(entry["shape"] for entry in tensors.values()))
        whole = all(type(each) is int and each >= 0 for each in numbers)
        last = max((int(end) for _, end in places), default=0)
    except (TypeError, LookupError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise LoadError(f"{path} is no safetensors file; its header names no offsets") from error
    if not whole or any(math.prod(entry["shape"]) > 8 * size for entry in tensors.values()):
        raise LoadError(
            f"{path} is damaged; its header names shapes or places that its {size:,} bytes cannot hold"
        )
    expected = _HEADER_BYTES + length + last
    if size < expected:
        raise LoadError(f"{path} was cut off at {size:,} of {expected:,} bytes; download it again")
    return tensors


def check_weights(folder: Path) -> list[str]:
    """Check the weight files of one part of a pipeline; returns the variants found ("" for the plain one).

    Raises LoadError naming the file for pickles without a safetensors twin, cut-off files, missing shards
    and missing weights.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICKLED]
        for path in pickles:
            refuse_pickle(path)
        raise LoadError(f"{folder} holds no .safetensors weights; download or save the pipeline again")
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        missing = [name for name in _shards(index) if not (folder / name).is_file()]
        if missing:
            raise LoadError(f"{folder / missing[0]} is missing; {index.name} asks for it")
    for path in files:
        read_header(path)
    return sorted({_variant(path.name) for path in files})


def _shards(index: Path) -> Sequence[str]:
    try:
        return sorted(set(read_json(index)["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoadError(f"{index} is damaged; download it again") from error


def _variant(name: str) -> str:
    """Return the variant in a weight file's name, "" for none.

    >>> _variant("model.fp16.safetensors"), _variant("model-00001-of-00002.safetensors")
    ('fp16', '')
    """
    found = _VARIANT.search(name)
    return found["variant"] if found else ""
