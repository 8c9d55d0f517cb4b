"""The graph ComfyUI puts into a picture (its `prompt` chunk): the texts that reach a sampler, its numbers.

A graph is `{id: {"class_type": ..., "inputs": {name: value or [id, output]}}}`, written by anyone, and
only what is plainly there is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_MOST_NODES = 2_000
_TEXTS = ("text", "prompt", "text_g", "clip_l", "t5xxl", "string", "value", "text_l")
_SAMPLER = frozenset({"positive", "negative"})
Node = Mapping[str, Any]
Graph = Mapping[str, Node]


class GraphText(NamedTuple):
    """A text of the graph and the class of the node it is written in."""

    text: str
    node: str


class GraphRecipe(NamedTuple):
    """What was found: texts in the order they are reached, and numbers by ComfyUI's names."""

    positive: tuple[GraphText, ...]
    negative: tuple[GraphText, ...]
    settings: Mapping[str, Any]


def read_graph(text: str) -> GraphRecipe | None:
    """Read a graph; None where it is none, or none with a sampler whose texts can be followed."""
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict) or not 0 < len(loaded) <= _MOST_NODES:
        return None
    graph = {key: node for key, node in loaded.items() if _is_node(node)}
    samplers = [node for node in graph.values() if _SAMPLER <= node["inputs"].keys()]
    for sampler in sorted(samplers, key=lambda node: "steps" not in node["inputs"]):
        positive = tuple(_texts(graph, sampler["inputs"]["positive"]))
        if positive:
            negative = tuple(_texts(graph, sampler["inputs"]["negative"]))
            return GraphRecipe(positive, negative, _settings(graph, sampler["inputs"]))
    return None


def _is_node(node: object) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _upstream(
    graph: Graph, link: object, ends: Callable[[Node], bool] = lambda node: False
) -> Iterator[Node]:
    """Yield the node a link comes from and those before it, each once, near first; none before `ends`."""
    waiting, seen = [link], set()
    for link in waiting:
        if not isinstance(link, list) or len(link) != 2 or str(link[0]) in seen or str(link[0]) not in graph:
            continue
        seen.add(str(link[0]))
        node = graph[str(link[0])]
        yield node
        if not ends(node):
            waiting += node["inputs"].values()


def _texts(graph: Graph, link: object) -> Iterator[GraphText]:
    """The texts that reach an input: of the nearest nodes that hold one, and of no sampler before them."""

    def ends(node: Node) -> bool:
        return _SAMPLER <= node["inputs"].keys() or _text(node) is not None

    for node in _upstream(graph, link, ends):
        text = _text(node)
        if text is not None:
            yield GraphText(text, node["class_type"])


def _text(node: Node) -> str | None:
    written = (node["inputs"].get(name) for name in _TEXTS)
    return next((text for text in written if isinstance(text, str) and text.strip()), None)


def _settings(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and names of a sampler, the size of its first latent, and the name of its model."""
    names = ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    found = {name: inputs[name] for name in names if isinstance(inputs.get(name), str | int | float)}
    for link, wanted in (("latent_image", ("width", "height")), ("model", ("ckpt_name", "unet_name"))):
        for node in _upstream(graph, inputs.get(link)):
            here = {name: node["inputs"][name] for name in wanted if name in node["inputs"]}
            if here:
                found |= {name: value for name, value in here.items() if isinstance(value, str | int)}
                break
    return found
