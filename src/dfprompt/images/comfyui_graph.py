"""The graphs ComfyUI puts into a picture: the texts that reach a sampler, and its numbers.

The `prompt` chunk holds what was run, `{id: {"class_type": ..., "inputs": {name: value or [id, output]}}}`;
the `workflow` chunk what stood on the screen: nodes with nameless widget values, and a list of links. Both
are written by anyone, and only what is plainly there is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_MOST_NODES = 2_000
_TEXTS = ("text", "prompt", "text_g", "clip_l", "t5xxl", "string", "value", "text_l")
_SAMPLER = frozenset({"positive", "negative"})
_GUIDER = frozenset({"conditioning", "model"})  # of models without a negative prompt
_NUMBERS = ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "width", "height")
_NAMES = ("ckpt_name", "unet_name")
_SAMPLED = ("steps", "cfg", "sampler_name", "scheduler")
# What the core's nodes call their widgets, in the order a workflow lists the values; "" is the choice of what
# happens to a seed afterwards, which is no input.
_WIDGETS = {
    "KSampler": ("seed", "", *_SAMPLED, "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "", *_SAMPLED),
    "SamplerCustom": ("add_noise", "noise_seed", "", "cfg"),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "DFPromptEncode": ("text", "steps", "dialect"),
    "DFPromptSuggest": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
}
Node = Mapping[str, Any]
Graph = Mapping[str, Node]


class GraphText(NamedTuple):
    """A text of the graph, the class of the node it is written in, and the dialect if the node names one."""

    text: str
    node: str
    dialect: str | None = None


class GraphRecipe(NamedTuple):
    """What was found: texts in the order they are reached, and numbers by ComfyUI's names."""

    positive: tuple[GraphText, ...]
    negative: tuple[GraphText, ...]
    settings: Mapping[str, Any]


def read_graph(text: str) -> GraphRecipe | None:
    """Read a graph as it ran; None where it is none, or none with a sampler whose texts can be followed."""
    loaded = _load(text)
    if not isinstance(loaded, dict) or not 0 < len(loaded) <= _MOST_NODES:
        return None
    return _follow({key: node for key, node in loaded.items() if _is_node(node)})


def read_workflow(text: str) -> GraphRecipe | None:
    """Read a graph as it stood on the screen; None as for `read_graph`."""
    loaded = _load(text)
    nodes = loaded.get("nodes") if isinstance(loaded, dict) else None
    if not isinstance(nodes, list) or not 0 < len(nodes) <= _MOST_NODES:
        return None
    links = loaded.get("links")
    ends = dict(_link_ends(links if isinstance(links, list) else []))
    found = {}
    for node in nodes:
        if isinstance(node, dict) and isinstance(node.get("type"), str) and node.get("mode", 0) == 0:
            inputs = {**_widgets(node), **_linked(node, ends)}
            found[str(node.get("id"))] = {"class_type": node["type"], "inputs": inputs}
    return _follow(found)


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _link_ends(links: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each link's number and the node and output it comes from."""
    for link in links:
        if isinstance(link, list) and len(link) > 2 and isinstance(link[0], int):
            yield link[0], [link[1], link[2]]
        elif isinstance(link, dict) and isinstance(link.get("id"), int):
            yield link["id"], [link.get("origin_id"), link.get("origin_slot")]


def _linked(node: Node, ends: Mapping[Any, list[Any]]) -> dict[str, Any]:
    inputs = node.get("inputs")
    listed = [each for each in inputs if isinstance(each, dict)] if isinstance(inputs, list) else []
    return {
        str(each.get("name")): ends[each["link"]]
        for each in listed
        if isinstance(each.get("link"), int) and each["link"] in ends
    }


def _widgets(node: Node) -> dict[str, Any]:
    """Name a node's widget values; of a node that is not known, its first text if it is one for texts."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return values
    if not isinstance(values, list):
        return {}
    if (names := _WIDGETS.get(node["type"])) is not None:
        return {name: value for name, value in zip(names, values, strict=False) if name}
    if not any(word in node["type"].lower() for word in ("text", "prompt", "string")):
        return {}
    return {"text": next((value for value in values if isinstance(value, str)), None)}


def _follow(graph: Graph) -> GraphRecipe | None:
    """Return what reaches the sampler that knows most."""
    samplers = [node for node in graph.values() if _reads_texts(node)]
    for sampler in sorted(samplers, key=lambda node: "steps" not in node["inputs"]):
        inputs = sampler["inputs"]
        positive = tuple(_texts(graph, inputs.get("positive", inputs.get("conditioning"))))
        if positive:
            return GraphRecipe(
                positive, tuple(_texts(graph, inputs.get("negative"))), _settings(graph, sampler)
            )
    return None


def _reads_texts(node: Node) -> bool:
    """Whether a node is the last that texts go into: a sampler, or what guides one."""
    return any(needed <= node["inputs"].keys() for needed in (_SAMPLER, _GUIDER))


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
            dialect = node["inputs"].get("dialect")
            yield GraphText(text, node["class_type"], dialect if isinstance(dialect, str) else None)


def _text(node: Node) -> str | None:
    written = (node["inputs"].get(name) for name in _TEXTS)
    return next((text for text in written if isinstance(text, str) and text.strip()), None)


def _settings(graph: Graph, sampler: Node) -> dict[str, Any]:
    """The numbers and names of a sampler, else of the nearest node before it that has one of that name."""
    guided = [node for node in graph.values() if _comes_from(graph, node["inputs"].get("guider"), sampler)]
    found: dict[str, Any] = {}
    for node in [*guided, sampler]:
        leads = [link for name, link in node["inputs"].items() if name not in (*_SAMPLER, "conditioning")]
        for each in (node, *(near for link in leads for near in _upstream(graph, link))):
            for name in (*_NUMBERS, *_NAMES):
                value = each["inputs"].get(name)
                if name not in found and isinstance(value, str if name in _NAMES else str | int | float):
                    found[name] = value
    return found


def _comes_from(graph: Graph, link: object, node: Node) -> bool:
    return isinstance(link, list) and bool(link) and graph.get(str(link[0])) is node
