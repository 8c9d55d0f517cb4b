"""How far `dfprompt.run` reaches: every small pipeline of diffusers' own tests, drawn and checked.

    python benchmarks/zoo.py CHECKOUT [--keep FILE] [--part K/N] [CLASS...]

CHECKOUT holds a checkout of diffusers (its `tests` folder; version as installed). FILE takes a line for each
class, and classes that it has are not tried again; K/N takes every N-th class. Without a part or classes
the table that `dfprompt capabilities` reads is written anew: src/dfprompt/conditioning/reach.json. Checked of
each class: a prompt without control against the stock call, [A:early][B:late] against a switch done by hand
with a hook of its own, both to the bit; a batch of two rows against the rows alone; evaluations counted.
Families with an adapter of their own encode all texts in one batch, which rounds otherwise than one text
alone: `encode_batch_size=1` must give the switch to the bit, and `batched` says how far the batch is from it.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import signal
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch.utils._pytree import tree_flatten

import dfprompt
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.conditioning.reach import describe_reach
from dfprompt.errors import DFPromptError
from zoo_parts import Maker, pipelines

A, B = "a cat on a hill", "dog dog, red snow"
STEPS = 4
PATIENCE = 150  # seconds of processor time per class
ROOT = Path(__file__).resolve().parent.parent
TABLE, STATUS = ROOT / "src/dfprompt/conditioning/reach.json", ROOT / "docs/status.md"
MARK = "<!-- made by benchmarks/zoo.py -->\n\n"
# Parts that are no denoiser; the check by hand looks at all the others.
_ENCODERS = ("text_encoder", "vae", "image_encoder", "safety", "movq", "feature", "tokenizer", "scheduler")
_MORE_ENCODERS = ("language", "vocoder", "image_processor", "text_model", "mllm", "condition", "bert")
_BESIDE = ("adapter", "projection", "connector", "embedder")  # asked once, before the first step


class Tap:
    """A hook of its own on every part that may be a denoiser: records the calls, and may change them."""

    def __init__(self, pipe: Any, replace: Any = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.replace = replace
        self.finished = 0
        self.handles: list[Any] = []
        for name, part in _denoisers(pipe):
            self.handles += [
                part.register_forward_pre_hook(self._hook(name, part), with_kwargs=True),
                part.register_forward_hook(self._count),
            ]

    def _count(self, *_: Any) -> None:
        self.finished += 1

    def _hook(self, name: str, part: Any) -> Any:
        signature = inspect.signature(part.forward)

        def hook(module: Any, arguments: Any, keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords)
            number = len(self.calls)
            kept = {key: _copy(value) for key, value in bound.arguments.items()}
            self.calls.append((name, kept))
            changes = self.replace(number, name) if self.replace else None
            if not changes:
                return None
            bound.arguments.update(changes)
            return bound.args, bound.kwargs

        return hook

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()


def _denoisers(pipe: Any) -> list[tuple[str, torch.nn.Module]]:
    modules = [(name, part) for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)]
    return [
        each for each in modules if not any(word in each[0] for word in _ENCODERS + _MORE_ENCODERS + _BESIDE)
    ]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def _flat(value: Any) -> list[Any]:
    return tree_flatten(value)[0]


def _same(one: Any, other: Any) -> bool:
    ones, others = _flat(one), _flat(other)
    if len(ones) != len(others):
        return False
    for a, b in zip(ones, others, strict=True):
        tensors = isinstance(a, torch.Tensor), isinstance(b, torch.Tensor)
        if any(tensors):
            if not all(tensors) or a.shape != b.shape or not torch.equal(a, b):
                return False
        elif isinstance(a, int | float | bool | str | None) and a != b:
            return False
    return True


def draw(
    pipe: Any, inputs: dict[str, Any], prompt: Any, *, steer: bool = False, seed: int = 0, **steering: Any
) -> list[torch.Tensor]:
    """Draw from the same noise every time; return all tensors that came out, and each denoiser's last words.

    Small decoders may paint the same picture of everything, so what the denoisers said is compared too.
    """
    call = dict(inputs)
    if "generator" in call:
        call["generator"] = torch.Generator("cpu").manual_seed(seed)
    call |= _run_length(pipe, call)
    torch.manual_seed(seed)
    if getattr(pipe, "scheduler", None) is not None:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    call.pop("prompt")
    with torch.no_grad(), last_words(pipe) as said:
        out = dfprompt.run(pipe, prompt, **steering, **call) if steer else pipe(prompt=prompt, **call)
    values = list(out.values()) if hasattr(out, "values") else list(out) if isinstance(out, tuple) else [out]
    return [tensor for tensor in map(_as_tensor, _flat([values, said])) if tensor.numel()]


@contextmanager
def last_words(pipe: Any) -> Iterator[dict[str, Any]]:
    """Keep the tensors that each denoiser returned last."""
    said: dict[str, Any] = {}

    def listen(name: str) -> Any:
        return lambda _module, _arguments, output: said.update({name: _tensors(output)})

    hooks = [part.register_forward_hook(listen(name)) for name, part in _denoisers(pipe)]
    try:
        yield said
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(output: Any) -> list[torch.Tensor]:
    values = list(output.values()) if isinstance(output, dict) else output
    return [each.clone() for each in _flat(values) if isinstance(each, torch.Tensor)]


def _run_length(pipe: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Return the steps, and a strength that leaves some on both sides of half time."""
    steps = {"num_inference_steps": STEPS} if "num_inference_steps" in call else {}
    known = inspect.signature(type(pipe).__call__).parameters
    more: dict[str, Any] = {"strength": 0.8} if "strength" in known and steps else {}
    return {
        **steps,
        **more,
        **({"intermediate_timesteps": None} if "intermediate_timesteps" in known else {}),
    }


def _as_tensor(value: Any) -> torch.Tensor:
    try:
        return (
            value.detach().float()
            if isinstance(value, torch.Tensor)
            else torch.as_tensor(np.asarray(value, float))
        )
    except (TypeError, ValueError):
        return torch.zeros(0)


def distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Return the largest difference; infinity where the shapes differ."""
    if [each.shape for each in one] != [each.shape for each in other]:
        return float("inf")
    return max((float((a - b).abs().max()) for a, b in zip(one, other, strict=True)), default=0.0)


def shake(pipe: Any, amount: float) -> None:
    """Move every parameter a little: small random weights often leave text without effect."""
    generator = torch.Generator().manual_seed(9)
    for parameter in (each for _, part in _denoisers(pipe) for each in part.parameters()):
        if parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.data.add_(noise * amount)


def counted(
    pipe: Any, inputs: dict[str, Any], prompt: Any, *, steer: bool, replace: Any = None, **steering: Any
) -> Any:
    """Draw and return the result with the recorded calls."""
    tap = Tap(pipe, replace)
    try:
        return draw(pipe, inputs, prompt, steer=steer, **steering), tap
    finally:
        tap.close()


def switch_by_hand(
    pipe: Any, inputs: dict[str, Any], one: Any, first: list[Any], second: list[Any], evaluations: int
) -> Any:
    """Draw with one text while a hook hands over what the other text's own run heard, from half time on.

    `first` and `second` are the calls that the runs with the two texts made.
    """
    if len(first) != len(second) or len(first) % evaluations:
        raise ValueError(f"{len(first)} and {len(second)} calls for {evaluations} evaluations")
    each = len(first) // evaluations
    names: dict[str, set[str]] = {}
    for (name, here), (_, there) in zip(first[:each], second[:each], strict=True):
        names.setdefault(name, set()).update(key for key in here if not _same(here[key], there.get(key)))
    for name, _ in first:  # a denoiser that takes its turn later hears the text under the same names
        names.setdefault(name, set.union(*names.values()))
    # What changes with the step too follows from what another part heard, and must not be handed over.
    for number, (name, later) in enumerate(first):
        begun = next(given for part, given in first[number % each :: each] if part == name)
        names[name] = {key for key in names.get(name, ()) if _same(begun.get(key), later.get(key))}
    order = int(getattr(pipe.scheduler, "order", 1))
    steps = STEPS if "num_inference_steps" in inputs else -(-evaluations // order)
    doubled = hasattr(pipe.scheduler, "prk_timesteps") and evaluations == steps + 1  # PNDM's first step
    begin = 0 if doubled or evaluations == steps else max(0, steps * order - (order - 1) - evaluations)

    def replace(number: int, name: str) -> Any:
        step = max(0, number // each - 1) if doubled else (begin + number // each) // order
        if 1 - step / steps > 0.5:
            return None
        heard = second[number][1]
        return {key: heard[key] for key in names.get(name, ()) if key in heard}

    return counted(pipe, inputs, one, steer=False, replace=replace)[0]


def evaluations_made(pipe: Any, calls: list[Any]) -> int:
    """Return how many evaluations the last run of a pipeline made."""
    made = vars(pipe).get("_num_timesteps")
    whole = len(pipe.scheduler.timesteps)
    for guess in (made, whole, STEPS + 1, STEPS, STEPS - 1):
        if guess and len(calls) % guess == 0:
            return guess
    return whole


def study(pipe: Any, inputs: dict[str, Any], amount: float = 0.05) -> dict[str, Any]:
    """Check one pipeline; raises DFPromptError where `run` refuses it."""
    shake(pipe, amount)
    listed = isinstance(inputs["prompt"], list)
    dress = (lambda text: [text] * len(inputs["prompt"])) if listed else (lambda text: text)
    plain, first = counted(pipe, inputs, dress(A), steer=False)
    evaluations = evaluations_made(pipe, first.calls)
    other, second = counted(pipe, inputs, dress(B), steer=False)
    if distance(plain, other) == 0:  # these random weights do not hear the text yet
        return (
            study(pipe, inputs, 4 * amount) if amount < 1 else {"reason": "its small pipeline hears no text"}
        )
    special = find_capabilities(kind.__name__ for kind in type(pipe).__mro__)
    result: dict[str, Any] = {"how": "special" if special else "generic"}
    result["plain"] = distance(draw(pipe, inputs, dress(A), steer=True), plain)
    if result["plain"] and distance(plain, draw(pipe, inputs, dress(A))):
        return {"reason": "the stock call does not repeat itself"}
    result["full"] = distance(draw(pipe, inputs, dress(f"[{A}:full]"), steer=True), plain)
    both = dress(f"[{A}:early][{B}:late]")
    alone = {"encode_batch_size": 1, "cache": EncodingCache()} if special else {}
    steered, made = counted(pipe, inputs, both, steer=True, **alone)
    by_hand = switch_by_hand(pipe, inputs, dress(A), first.calls, second.calls, evaluations)
    result["switch"] = distance(steered, by_hand)
    if special:
        result["batched"] = distance(draw(pipe, inputs, both, steer=True, cache=EncodingCache()), by_hand)
    result["effect"] = min(distance(steered, plain), distance(steered, other))
    result["evaluations"] = round(made.finished * evaluations / first.finished, 2)
    result["steps"] = evaluations
    result["mixed"] = mixed_batch(pipe, inputs) if not listed else None
    return result


def mixed_batch(pipe: Any, inputs: dict[str, Any]) -> float | None:
    """Return how far the rows of a batch are from the same rows drawn alone; None where it takes no batch."""
    texts = [f"[{A}:early][{B}:late]", f"[{B}:early][{A}:late]"]
    call = {**inputs, "output_type": "pt"} if "output_type" in inputs else dict(inputs)
    if "generator" not in call:
        return None
    try:
        stock = _batch(pipe, call, [A, B], steer=False)
        alone = [_batch(pipe, call, text, steer=False, seeds=(seed,)) for text, seed in ((A, 0), (B, 1))]
    except Exception:  # noqa: BLE001 - the stock call takes no batch of these inputs
        return None
    if len(stock) != 2 or distance(list(stock), [each[0] for each in alone]) > 1e-4:
        return None  # the stock call's own rows are not independent
    drawn = _batch(pipe, call, texts, steer=True)
    singles = [_batch(pipe, call, text, steer=True, seeds=(seed,))[0] for seed, text in enumerate(texts)]
    return distance(list(drawn), singles)


def _batch(
    pipe: Any, call: dict[str, Any], prompt: Any, *, steer: bool, seeds: tuple[int, ...] = (0, 1)
) -> torch.Tensor:
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    call = {**call, "generator": generators if len(generators) > 1 else generators[0]}
    call |= _run_length(pipe, call)
    call.pop("prompt")
    if len(seeds) > 1:
        rows = {"image", "mask_image", "control_image", "video", "image_latents", "negative_prompt"}
        call = {name: _twice(value) if name in rows else value for name, value in call.items()}
    torch.manual_seed(0)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    with torch.no_grad():
        out = dfprompt.run(pipe, prompt, **call) if steer else pipe(prompt=prompt, **call)
    first = next(iter(out.values())) if hasattr(out, "values") else out[0]
    return _as_tensor(first)


def _twice(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.cat([value, value])
    return [value, value] if value is not None and not isinstance(value, list) else value


def verdict(found: dict[str, Any]) -> str:
    """Say in a word what the checks came to."""
    if "switch" not in found:
        return "undecided"
    exact = found["plain"] == found["full"] == found["switch"] == 0 and found.get("batched", 0) <= 2e-5
    if exact and found["effect"] == 0:
        return "deaf"  # these random weights do not hear the text
    apart = found["mixed"] is not None and found["mixed"] > 1e-4
    return "drawn" if exact and not apart else "differs"


def _give_up(*_: Any) -> None:
    raise TimeoutError(f"more than {PATIENCE} s of processor time")


# Drawing these would take minutes each: they enlarge any picture to a megapixel.
TOO_SLOW = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")


def try_class(make: Maker) -> dict[str, Any] | None:
    """Build and study one class; None where its call takes no prompt in words."""
    try:
        pipe, inputs = make()
    except Exception as error:  # noqa: BLE001 - its parts cannot be built offline
        return {"verdict": "not built", "reason": f"{type(error).__name__}: {error}"[:100]}
    if not isinstance(inputs.get("prompt"), str | list):
        return None
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        found = study(pipe, inputs)
        return {"verdict": verdict(found), **found}
    except DFPromptError as error:
        return {"verdict": "refused", "reason": str(error)[:200]}
    except Exception as error:  # noqa: BLE001 - named in the table
        return {"verdict": "undecided", "reason": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def write_table(table: dict[str, Any]) -> None:
    """Write what was found where the package reads it, and the list of classes where people do."""
    lines = ",\n".join(f" {json.dumps(kind)}: {json.dumps(table[kind])}" for kind in sorted(table))
    version = json.dumps(diffusers.__version__)
    TABLE.write_text(f'{{"diffusers": {version}, "classes": {{\n{lines}\n}}}}\n', encoding="utf-8")
    before, mark, rest = STATUS.read_text(encoding="utf-8").partition(MARK)
    after = rest[rest.index("\n## ") :]
    STATUS.write_text(f"{before}{mark}{describe_reach()}{after}", encoding="utf-8")


def main() -> None:
    """Study every class and write, or print, what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("classes", nargs="*")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--part", default="1/1")
    asked = parser.parse_intermixed_args()
    part, parts = map(int, asked.part.split("/"))
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGPROF, _give_up)
    kept = asked.keep.read_text(encoding="utf-8").splitlines() if asked.keep and asked.keep.exists() else []
    table: dict[str, Any] = dict(map(json.loads, kept))
    for number, (kind, make) in enumerate(pipelines(asked.checkout, asked.classes)):
        if kind in table or number % parts != part - 1 or (asked.classes and kind not in asked.classes):
            continue
        slow = {"verdict": "undecided", "reason": "too slow for a check on a CPU"}
        found = slow if kind in TOO_SLOW else try_class(make)
        print(kind, json.dumps(found), flush=True)
        table[kind] = found
        if asked.keep:
            with asked.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps([kind, found]) + "\n")
    table = {kind: found for kind, found in table.items() if found is not None}
    print(Counter(found["verdict"] for found in table.values()))
    if not asked.classes and parts == 1:
        write_table(table)


if __name__ == "__main__":
    main()
