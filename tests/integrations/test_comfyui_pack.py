"""The ComfyUI pack against a stub of its host: words and weights of the plan at every step of any run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import comfyui_stub
import dfprompt
from dfprompt.errors import DFPromptError, InputError
from dfprompt.prompt import DFPrompt, EffectRange, Span, Weight, make_plan

PACK = Path(__file__).parents[2] / "integrations" / "comfyui" / "dfprompt-nodes"
pytestmark = pytest.mark.skipif(not PACK.exists(), reason="needs the repository")


def load(folder: Path, name: str) -> ModuleType:
    """Load a pack as the host does: by the path of its folder, under a name made of it."""
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Any]]:
    taken = [*comfyui_stub.install(), "custom_nodes_x_dfprompt-nodes"]
    pack = load(PACK, taken[-1])
    extension = asyncio.run(pack.comfy_entrypoint())
    yield {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}
    for name in [each for each in sys.modules if each.startswith(tuple(taken))]:
        del sys.modules[name]


WORDS = ("oak", "pine (old)", "film grain", "snow: deep", "a \\\\ b", "x]", "猫", "AND", "(b:1.3)", "5 | 6")


def drawn(chance: random.Random) -> DFPrompt:
    pieces: list[str | Span] = [chance.choice(("a cat", "a (small) cat", "猫"))]
    for _ in range(chance.randrange(4)):
        low, high = sorted(chance.sample(range(21), 2))
        weight = chance.choice(
            (Weight(1), Weight("1.3"), Weight("0.5"), Weight("-0.7"), Weight("0.5", "1.5"), Weight(0))
        )
        pieces += [", ", Span(chance.choice(WORDS), EffectRange(high / 20, low / 20), weight)]
    return DFPrompt(pieces)


def characters(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return [(letter, round(weight, 4)) for words, weight in pieces for letter in words]


def planned(prompt: DFPrompt, steps: int) -> list[list[tuple[str, float]]]:
    table = []
    for step in make_plan(prompt, steps).steps:
        weights = [1.0] * len(step.text)
        for part in step.weights:
            weights[part.start : part.end] = [float(part.weight)] * (part.end - part.start)
        table.append(characters(list(zip(step.text, weights, strict=True))))
    return table


def test_500_prompts_give_the_plans_words_and_weights_at_every_step(nodes: dict[str, Any]) -> None:
    chance = random.Random(500)
    models = [comfyui_stub.Model(), comfyui_stub.Model(shift=1.0), comfyui_stub.Model(shift=3.0)]
    for number in range(500):
        prompt, steps, model = drawn(chance), chance.randrange(4, 61), models[number % 3]
        sigmas = model.sigmas(steps, chance.choice(("karras", "even")))
        conditioning, _ = (
            nodes["DFPromptEncode"]
            .execute(comfyui_stub.Clip(), str(prompt), steps, "native", sigmas, model)
            .args
        )
        for sigma, wanted in zip(sigmas, planned(prompt, steps), strict=False):
            shown = comfyui_stub.shown_at(conditioning, sigma, model)
            assert [characters(pieces) for pieces in shown] == [wanted], str(prompt)


def test_without_sigmas_steps_lie_evenly_and_that_is_said(nodes: dict[str, Any]) -> None:
    model, clip = comfyui_stub.Model(), comfyui_stub.Clip()
    conditioning, remarks = nodes["DFPromptEncode"].execute(clip, "a cat, [snow:late:1.5]", 20, "native").args
    assert "connect sigmas and model" in remarks
    assert clip.encoded == ["a cat", "a cat, (snow:1.5)"]
    for step, sigma in enumerate(model.sigmas(20, "even")[:-1]):
        (shown,) = comfyui_stub.shown_at(conditioning, sigma * 0.9999, model)
        assert ("snow", 1.5) in shown or step < 10


def test_remarks_name_what_is_not_done(nodes: dict[str, Any]) -> None:
    text = "a cat, [x:0.01->0], [y::-1] <lora:ink:0.8> (z:1.2)"
    _, remarks = nodes["DFPromptEncode"].execute(comfyui_stub.Clip(), text, 10, "native").args
    for said in ("none of the 10 steps", "weights below 0", "<lora:ink:0.8>", "looks like emphasis"):
        assert said in remarks


def test_other_tools_prompts_are_read_and_alternation_follows_the_steps(nodes: dict[str, Any]) -> None:
    encode, clip = nodes["DFPromptEncode"], comfyui_stub.Clip()
    encode.execute(clip, "a [fox:wolf:0.5]", 20, "a1111")
    assert clip.encoded == ["a fox", "a wolf"]
    clip.encoded.clear()
    encode.execute(clip, "a [fox|wolf]", 4, "native")
    assert clip.encoded == ["a fox", "a wolf"] * 2


def test_what_cannot_be_is_one_error_that_says_what_to_do(nodes: dict[str, Any]) -> None:
    encode, model = nodes["DFPromptEncode"], comfyui_stub.Model()
    with pytest.raises(InputError, match="connect the model too"):
        encode.execute(comfyui_stub.Clip(), "a", 4, "native", [1.0, 0.0])
    with pytest.raises(InputError, match="hold no step"):
        encode.execute(comfyui_stub.Clip(), "a", 4, "native", [0.0], model)
    with pytest.raises(InputError, match="no percent separates"):
        encode.execute(comfyui_stub.Clip(), "a [b:late]", 2, "native", [1.0, 1.0, 0.0], model)
    with pytest.raises(DFPromptError, match="never closed"):
        encode.execute(comfyui_stub.Clip(), "a [b:late", 4, "native")


def test_the_sigmas_number_of_steps_counts(nodes: dict[str, Any]) -> None:
    model = comfyui_stub.Model()
    _, remarks = (
        nodes["DFPromptEncode"]
        .execute(comfyui_stub.Clip(), "a [b:late]", 20, "native", model.sigmas(10, "karras"), model)
        .args
    )
    assert remarks == "the sigmas hold 10 steps, not 20; theirs count"


def test_the_plan_is_a_table_and_a_picture(nodes: dict[str, Any]) -> None:
    table, bars = nodes["DFPromptPlan"].execute("a cat, [snow:late:1.5], [x::-1]", 10, "native").args
    assert "   1-5    a cat, (x:-1)" in table.splitlines()
    assert "   6-10   a cat, (snow:1.5), (x:-1)" in table.splitlines()
    assert bars.ndim == 4
    assert bars.shape[-1] == 3
    assert 0 <= bars.min() < bars.max() == 1
    right, left = bars[0, 8:40, 230 + 8 * 10 :].min(), bars[0, 8:40, 230 : 220 + 8 * 10].min()
    assert right < 0.9 < left + 0.2  # snow's bars stand in the second half alone


def test_convert_names_what_is_lost(nodes: dict[str, Any]) -> None:
    text, remarks = nodes["DFPromptConvert"].execute("a [b:late]", 20, "native", "compel").args
    assert (text, "lost: the range" in remarks) == ("a b", True)


def test_suggest_without_a_studio_hands_the_text_on(nodes: dict[str, Any]) -> None:
    text, remarks = nodes["DFPromptSuggest"].execute("a [b:late]", " ", 0, 4).args
    assert (text, "no studio" in remarks) == ("a [b:late]", True)


def test_suggest_names_what_is_wrong_with_the_file(nodes: dict[str, Any], tmp_path: Path) -> None:
    suggest = nodes["DFPromptSuggest"]
    with pytest.raises(InputError, match="its token would stand in every picture"):
        suggest.execute("a", "http://127.0.0.1:8601/#token=x", 0, 4)
    with pytest.raises(InputError, match="cannot be read"):
        suggest.execute("a", str(tmp_path / "none.txt"), 0, 4)
    (tmp_path / "studio.txt").write_text("studio: not yet")
    with pytest.raises(InputError, match="holds no address"):
        suggest.execute("a", str(tmp_path / "studio.txt"), 0, 4)


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, {"error": {"message": "write what the picture shows"}}, "write what the picture shows"),
        (302, {}, "status 302"),
        (403, [], "status 403"),
        (200, {"job": {"state": "failed", "message": "not loaded"}}, "not loaded"),
    ],
)
def test_what_a_studio_refuses_is_told(
    nodes: dict[str, Any], tmp_path: Path, status: int, body: Any, said: str
) -> None:
    from dfprompt.errors import EndpointError

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        file = tmp_path / "studio.txt"
        file.write_text(f"studio: http://127.0.0.1:{server.server_port}/#token=x")
        with pytest.raises(EndpointError, match=said):
            nodes["DFPromptSuggest"].execute("a", str(file), 0, 4)
    with pytest.raises(EndpointError, match="is `dfprompt studio` running"):
        nodes["DFPromptSuggest"].execute("a", str(file), 0, 4)


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.nightly
def test_suggest_asks_a_studio(nodes: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    from browsing import serving

    file = tmp_path / "studio.txt"
    with serving(tmp_path / "history") as studio:
        file.write_text(f"studio: {studio.address}\n")
        text, _ = nodes["DFPromptSuggest"].execute("a red house in the snow", str(file), 0, 2).args
    assert text.startswith("a red house in the snow, [")
    assert text.count("[") <= 2


def test_the_names_of_execute_are_the_inputs(nodes: dict[str, Any]) -> None:
    import inspect

    for node in nodes.values():
        schema = node.define_schema()
        wanted = list(inspect.signature(node.execute).parameters.values())
        assert [port.id for port in schema.inputs] == [each.name for each in wanted]
        optional = [port.options.get("optional", False) for port in schema.inputs]
        assert optional == [each.default is not each.empty for each in wanted]


def test_loading_twice_from_an_odd_path_in_a_clean_process_is_quick(tmp_path: Path) -> None:
    """A space, a hyphen and CJK in the name; nothing heavy, no network, under half a second."""
    folder = tmp_path / "custom nodes 猫" / "dfprompt-nodes"
    shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    script = f"""
import socket, sys, time
socket.getaddrinfo = socket.create_connection = None
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import importlib.util, comfyui_stub
comfyui_stub.install()
begin = time.process_time()
for name in ("one", "two"):
    spec = importlib.util.spec_from_file_location(name, {str(folder / "__init__.py")!r})
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    begin_seconds = time.process_time() - begin
    assert name == "two" or begin_seconds < 0.5, begin_seconds
assert not {{"torch", "numpy", "PIL"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_packs_metadata_and_workflows_are_whole() -> None:
    described = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    assert described["project"]["version"] == dfprompt.__version__
    assert described["project"]["dependencies"] == ["dfprompt-language"]
    found = sorted((PACK / "example_workflows").glob("*.json"))
    assert len(found) == 2
    for path in found:
        graph = json.loads(path.read_text(encoding="utf-8"))
        nodes = {node["id"]: node for node in graph["nodes"]}
        for number, source, output, target, place, kind in graph["links"]:
            assert number in nodes[source]["outputs"][output]["links"]
            assert nodes[target]["inputs"][place]["link"] == number
            assert nodes[source]["outputs"][output]["type"] == nodes[target]["inputs"][place]["type"] == kind
        assert {"DFPromptEncode", "DFPromptSuggest"} <= {node["type"] for node in nodes.values()}
