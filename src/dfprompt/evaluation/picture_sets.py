"""Sets of picture files as vectors, for distances between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.evaluation.cmmd import Embedder, compute_cmmd, embed_images, resolve_embedder
from dfprompt.evaluation.run import Outcome
from dfprompt.images.reading import list_image_files, read_images

_AT_ONCE = 8  # 100 MB of 1024 x 1024 pixels


def embed_files(paths: Sequence[Path], embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the vectors (N,D) of picture files, in their order; pictures may differ in size.

    Raises ImageFileError for files that are no pictures, ConfigError for none.
    """
    if not paths:
        raise ConfigError("there are no pictures to embed")
    vectors: list[Tensor | None] = [None] * len(paths)
    for start in range(0, len(paths), _AT_ONCE):
        groups: dict[tuple[int, int], list[tuple[int, Tensor]]] = {}
        for index, picture in enumerate(read_images(paths[start : start + _AT_ONCE]), start):
            groups.setdefault(picture.size, []).append((index, picture.pixels))
        for members in groups.values():
            embedded = embed_images(torch.stack([pixels for _, pixels in members]), embed)
            for (index, _), vector in zip(members, embedded, strict=True):
                vectors[index] = vector
    return torch.stack([vector for vector in vectors if vector is not None])


def measure_distances(outcome: Outcome, reference: Path, embedder: Embedder) -> dict[str, float]:
    """Return each method's CMMD to the pictures of a folder; methods without pictures are left out."""
    embed = resolve_embedder(embedder)
    target = embed_files(list_image_files(reference), embed)
    return {
        method: compute_cmmd(embed_files(paths, embed), target)
        for method, paths in picture_files(outcome).items()
    }


def picture_files(outcome: Outcome) -> Mapping[str, list[Path]]:
    """Return the files of each method that has any."""
    found: dict[str, list[Path]] = {}
    for row in outcome.rows:
        if row.picture is not None:
            found.setdefault(row.method, []).append(outcome.folder / row.picture)
    return found
