"""Recipes for and of other programs: ours written for Forge and read again, theirs read as far as they go."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfprompt.errors import ImageFileError
from dfprompt.images.foreign_recipe import ForeignRecipe, find_foreign_recipe
from dfprompt.images.infotext import Infotext, format_infotext, parse_infotext
from dfprompt.images.infotext_writer import REMARKS
from dfprompt.images.metadata import GenerationMetadata, ModelMark, read_any_recipe
from dfprompt.images.sampler_names import name_for_a1111, name_from_a1111
from dfprompt.pipeline.schedulers import CHOICES
from dfprompt.prompt import DFPrompt, EffectRange, Span, make_plan
from dfprompt.prompt.parser import read_back
from vector_files import letters

WORDS = (
    "oak",
    "pine (old)",
    "film grain",
    "snow: deep",
    "a, b",
    "# one",
    "5 | 6",
    "BREAK of day",
    "猫",
    "AND so on",
)


def drawn(chance: random.Random, least: int = 0) -> DFPrompt:
    pieces: list[str | Span] = [
        chance.choice(("a cat", "Negative prompt: a cat", "a\ncat", "Steps: 3, a cat"))
    ]
    for _ in range(chance.randrange(least, 4)):
        low, high = sorted(chance.sample(range(11), 2))
        weight: Any = chance.choice((1, "1.3", "0.5", "-0.7", "0"))
        effect = chance.choice((EffectRange(1, 0), EffectRange(high / 10, low / 10)))
        tag = chance.random() < 0.1
        pieces += [", ", Span("<lora:f (v2):0.8>") if tag else Span(chance.choice(WORDS), effect, weight)]
    return DFPrompt(pieces)


def plan(prompt: DFPrompt, steps: int) -> list[Any]:
    table = []
    for step in make_plan(prompt, steps).steps:
        weights = [1.0] * len(step.text)
        for part in step.weights:
            weights[part.start : part.end] = [round(float(part.weight), 5)] * (part.end - part.start)
        table.append(letters(list(zip(step.text, weights, strict=True))))
    return table


def saved(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for keyword, text in chunks.items():
        info.add_itxt(keyword, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_two_hundred_of_ours_come_back_from_forges_text_or_name_the_loss(tmp_path: Path) -> None:
    chance = random.Random(200)
    exact = 0
    for _ in range(200):
        prompt, negative, steps = drawn(chance, 1), drawn(chance), chance.randrange(2, 61)
        settings = {
            "num_inference_steps": steps,
            "guidance_scale": chance.choice((1.0, 7.5)),
            "scheduler": chance.choice([name for name in CHOICES if name_for_a1111(name)]),
            "width": 512,
            "height": 64 * chance.randrange(1, 20),
        }
        recipe = GenerationMetadata(
            version="0.2",
            prompt=prompt.plain_text,
            df_prompt=str(prompt),
            negative_prompt=str(negative),
            plain_negative_prompt=negative.plain_text,
            seed=chance.randrange(2**63),
            settings=settings,
            model=ModelMark(name="some, model: v1", hash="0123456789"),
        )
        found = read_any_recipe(saved(tmp_path / "a.png", parameters=recipe.to_parameters()))
        assert isinstance(found, ForeignRecipe)
        assert found.settings == {**settings, "seed": recipe.seed}
        assert (found.program, found.others["Model"]) == ("dfprompt", "some, model: v1")
        if REMARKS in found.others:
            continue
        exact += 1
        assert found.df_prompt is not None
        assert found.df_negative_prompt is not None
        assert plan(found.df_prompt, steps) == plan(prompt, steps), recipe.to_parameters()
        assert plan(found.df_negative_prompt, steps) == plan(negative, steps), recipe.to_parameters()
        assert [span.text for span in found.df_prompt.tags] == [span.text for span in prompt.tags]
    assert 60 < exact < 200


def test_the_schedule_is_in_their_syntax_and_what_they_cannot_say_is_named() -> None:
    recipe = GenerationMetadata(
        prompt="a castle, fog",
        df_prompt="a castle, [fog:1->0.7:1.2], [#1:late]",
        negative_prompt="[blurry:early]",
        seed=7,
        settings={"num_inference_steps": 20, "scheduler": "EulerAncestralDiscreteScheduler", "clip_skip": 2},
        model=ModelMark(name="sd"),
        loras=(ModelMark(name="ink", scale=0.8), ModelMark(name="a:b")),
    )
    prompt, negative, settings = recipe.to_parameters().split("\n")
    assert prompt == "a castle, [(fog:1.2)::5], [1:9] <lora:ink:0.8>"
    assert negative == "Negative prompt: [blurry::9]"
    assert settings.startswith(
        "Steps: 20, Sampler: Euler a, Schedule type: Uniform, Seed: 7, Model: sd, Clip skip: 3, "
    )
    remarks = parse_infotext(recipe.to_parameters()).settings[REMARKS]
    assert "'a:b', whose name no tag can hold" in remarks
    assert '"#" hides the rest of a line' in remarks


def test_a_prompt_that_has_no_words_there_is_given_as_plain_words() -> None:
    broken = GenerationMetadata(prompt="a cat", df_prompt="[a cat", seed=7, model=ModelMark(name="m"))
    assert broken.to_parameters().startswith("a cat\n")
    assert "only the plain words are given" in broken.to_parameters()


def test_every_sampler_we_name_for_them_is_read_as_itself() -> None:
    named = {ours: name for ours in CHOICES if (name := name_for_a1111(ours)) is not None}
    assert len(named) > 12
    for ours, name in named.items():
        assert name_from_a1111(name.sampler, name.spacing) == ours
    for choice in CHOICES.values():
        known = name_for_a1111(choice.class_name)
        assert known is None or known.sampler in {name.sampler for name in named.values()}
    assert name_from_a1111("Restart", None) is None


FORGE = """a [fox:wolf:0.5], (snow:1.2) <lora:ink:0.7>
second line
Negative prompt: (ugly:1.4), blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: abc, \
Model: some_model, Lora hashes: "ink: 123, b: 4", Version: f2.0.1v1.10.1"""


def test_forges_text_is_read(tmp_path: Path) -> None:
    found = read_any_recipe(saved(tmp_path / "a.png", parameters=FORGE))
    assert isinstance(found, ForeignRecipe)
    assert found.program == "Forge"
    assert found.prompt == "a [fox:wolf:0.5], (snow:1.2) <lora:ink:0.7>\nsecond line"
    assert str(found.df_prompt).startswith("a [fox:1->0.45][wolf:0.45->0], [snow::1.2] <lora:ink:0.7>")
    assert str(found.df_negative_prompt) == "[ugly::1.4], blurry"
    assert found.settings == {
        "num_inference_steps": 20,
        "guidance_scale": 7,
        "seed": 42,
        "width": 512,
        "height": 768,
        "scheduler": "dpmpp_2m_karras",
    }
    assert found.others["Lora hashes"] == "ink: 123, b: 4"


@pytest.mark.parametrize(("theirs", "ours"), [("1", {}), ("2", {"clip_skip": 1}), ("0", {}), ("x", {})])
def test_their_clip_skip_counts_the_last_layer_as_one(theirs: str, ours: dict[str, int]) -> None:
    found = find_foreign_recipe({"parameters": f"a\nSteps: 20, Seed: 1, Clip skip: {theirs}"})
    assert found is not None
    assert found.settings == {"num_inference_steps": 20, "seed": 1, **ours}


def test_what_no_df_prompt_can_say_is_kept_as_written_with_the_reason() -> None:
    found = find_foreign_recipe({"parameters": "a cat AND a dog\nSteps: 20, Seed: 1, Sampler: Euler"})
    assert found is not None
    assert (found.prompt, found.df_prompt) == ("a cat AND a dog", None)
    assert "AND" in found.remarks[0]


def graph(positive: str = "a (cat:1.2) [x]", node: str = "CLIPTextEncode") -> dict[str, Any]:
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                **{"seed": 7, "steps": 20, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
                **{"model": ["4", 0], "positive": ["10", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "some.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512, "batch_size": 1}},
        "6": {"class_type": node, "inputs": {"text": positive, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
        "8": {"class_type": "PrimitiveString", "inputs": {"value": "ugly"}},
        "10": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0], "strength": 1.0}},
    }


def test_a_graph_of_comfyuis_is_followed_from_its_sampler(tmp_path: Path) -> None:
    found = read_any_recipe(saved(tmp_path / "a.png", prompt=json.dumps(graph()), workflow="{}"))
    assert isinstance(found, ForeignRecipe)
    assert (found.program, found.prompt, found.negative_prompt) == ("ComfyUI", "a (cat:1.2) [x]", "ugly")
    assert str(found.df_prompt) == r"a [cat::1.2] \[x\]"
    assert found.settings == {
        **{"num_inference_steps": 20, "guidance_scale": 6.5, "seed": 7, "width": 768, "height": 512},
        "scheduler": "dpmpp_2m_karras",
    }
    assert found.others["ckpt_name"] == "some.safetensors"


def test_schedules_are_read_where_the_node_is_prompt_controls() -> None:
    for node, text in (("PCLazyTextEncode", "a [x:late]"), ("CLIPTextEncode", r"a \[x:0.5\]")):
        found = find_foreign_recipe({"prompt": json.dumps(graph("a [x:0.5]", node))})
        assert found is not None
        assert str(found.df_prompt) == text


WORKFLOWS = Path(__file__).parents[2] / "integrations" / "comfyui" / "dfprompt-nodes" / "example_workflows"


@pytest.mark.skipif(not WORKFLOWS.exists(), reason="needs the repository")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ksampler", {"guidance_scale": 7.5, "scheduler": "euler", "width": 512, "height": 512, "seed": 7}),
        (
            "sigmas",
            {"guidance_scale": 7.5, "scheduler": "dpmpp_2m_karras", "width": 512, "height": 512, "seed": 7},
        ),
    ],
)
def test_a_workflow_on_the_screen_is_read_where_no_graph_ran(name: str, settings: dict[str, Any]) -> None:
    text = (WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")
    found = find_foreign_recipe({"workflow": text})
    assert found is not None
    assert str(found.df_prompt) == "a red horse in the snow, [anime style:early:1.5], [film grain:late]"
    assert str(found.df_negative_prompt) == "blurry"
    assert found.settings == {"num_inference_steps": 20, **settings}
    assert "DF-Prompt Suggest adds words" in found.remarks[0]


def flux() -> dict[str, Any]:
    """A workflow in the newer form: links are objects, and the sampler has a guider."""
    told = [  # type, widget values, inputs and the nodes they come from
        ("CLIPTextEncode", ["a (cat:1.2)"], {}),
        ("FluxGuidance", [3.5], {"conditioning": 1}),
        ("BasicGuider", [], {"model": 9, "conditioning": 2}),
        ("RandomNoise", [42, "randomize"], {}),
        ("KSamplerSelect", ["heun"], {}),
        ("BasicScheduler", ["simple", 8, 1.0], {"model": 9}),
        (
            "SamplerCustomAdvanced",
            [],
            {"noise": 4, "guider": 3, "sampler": 5, "sigmas": 6, "latent_image": 8},
        ),
        ("EmptySD3LatentImage", [768, 512, 1], {}),
        ("UNETLoader", ["flux.safetensors", "default"], {}),
    ]
    links: list[dict[str, int]] = []
    nodes = []
    for number, (kind, values, inputs) in enumerate(told, 1):
        for origin in inputs.values():
            links.append({"id": len(links), "origin_id": origin, "origin_slot": 0, "target_id": number})
        first = len(links) - len(inputs)
        listed = [{"name": name, "link": first + at} for at, name in enumerate(inputs)]
        nodes.append({"id": number, "type": kind, "mode": 0, "inputs": listed, "widgets_values": values})
    return {"nodes": nodes, "links": links, "version": 1}


def test_a_guider_without_a_negative_prompt_is_a_sampler_too() -> None:
    found = find_foreign_recipe({"prompt": "{}", "workflow": json.dumps(flux())})
    assert found is not None
    assert (str(found.df_prompt), found.negative_prompt) == ("a [cat::1.2]", "")
    assert found.settings == {
        **{"seed": 42, "num_inference_steps": 8, "width": 768, "height": 512},
        "scheduler": "heun",
    }
    assert found.others["unet_name"] == "flux.safetensors"
    bypassed = flux()
    bypassed["nodes"][0]["mode"] = 4
    assert find_foreign_recipe({"workflow": json.dumps(bypassed)}) is None


def test_our_own_nodes_say_their_dialect_and_what_they_add_later() -> None:
    plain = graph("a [x:late:1.5]", "DFPromptEncode")
    said = find_foreign_recipe({"prompt": json.dumps(plain)})
    plain["6"]["inputs"] |= {"text": "a [x:0.5]", "dialect": "a1111"}
    theirs = find_foreign_recipe({"prompt": json.dumps(plain)})
    plain["6"]["inputs"] |= {"text": ["9", 0], "dialect": "native"}
    plain["9"] = {"class_type": "DFPromptSuggest", "inputs": {"text": "a [x:late]"}}
    later = find_foreign_recipe({"prompt": json.dumps(plain)})
    assert said is not None
    assert theirs is not None
    assert later is not None
    assert str(said.df_prompt) == "a [x:late:1.5]"
    assert str(theirs.df_prompt) == "a [x:0.45->0]"
    assert str(later.df_prompt) == "a [x:late]"
    assert "adds words" in later.remarks[0]


def test_a_graph_in_a_circle_ends() -> None:
    circle = graph()
    circle["6"]["inputs"]["text"] = ["10", 0]
    assert find_foreign_recipe({"prompt": json.dumps(circle)}) is None


HOSTILE = {
    "one long line": "a" * 999_000,
    "quotation marks never closed": ', a: "' * 150_000,
    "settings without end": "Steps: 1, " * 99_000,
    "lines": "\n" * 999_000,
    "negative prompts": "Negative prompt:\n" * 58_000,
    "schedules": "[a:b:0.5]" * 110_000,
    "as many schedules as are read": "[a:b:0.5]" * 5_500,
    "backslashes": 'a: "' + "\\" * 990_000,
    "a graph nested without end": '{"3":' * 190_000,
    "a list nested without end": "[" * 999_000,
    "a graph of nothing": json.dumps({str(n): {"class_type": "X", "inputs": {}} for n in range(1_900)}),
    "a workflow of links": json.dumps({"nodes": [{}], "links": [[n, n, 0] for n in range(50_000)]}),
    "a workflow of nobody": json.dumps({"nodes": [{"type": 1, "id": [], "inputs": {}}] * 1_900, "links": {}}),
    "numbers": "{" + '"1": ' + "9" * 900_000 + "}",
    "half characters": "\ud800" * 300_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("keyword", ["parameters", "prompt", "workflow"])
@pytest.mark.few(10)
def test_a_megabyte_of_anything_is_an_answer_in_bounded_time(text: str, keyword: str) -> None:
    spent = time.process_time()
    found = find_foreign_recipe({keyword: text})
    assert time.process_time() - spent < 4
    assert found is None or found.to_json()


@pytest.mark.parametrize(
    "name", sorted(HOSTILE.keys() - {"as many schedules as are read"})
)  # tracing takes long there
@pytest.mark.parametrize("keyword", ["parameters", "prompt", "workflow"])
@pytest.mark.few(10)
def test_a_megabyte_of_anything_is_an_answer_in_bounded_memory(name: str, keyword: str) -> None:
    tracemalloc.start()
    try:
        find_foreign_recipe({keyword: HOSTILE[name]})
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


BOMB = zlib.compress(b"a" * 100_000_000, 9)
FULL = zlib.compress(b"a" * 1_000_000, 9)
INTERNATIONAL = b"\0\1\0\0\0"  # compressed, no language, no translated keyword
CHUNKS = {
    "a bomb": lambda name: chunk(b"zTXt", name + b"\0\0" + BOMB),
    "an international bomb": lambda name: chunk(b"iTXt", name + INTERNATIONAL + BOMB),
    "many that are just small enough": lambda name: b"".join(
        chunk(b"zTXt", name + str(at).encode() + b"\0\0" + FULL) for at in range(80)
    ),
    "no UTF-8": lambda name: chunk(b"iTXt", name + b"\0\0\0\0\0a\xff\xfe\x80 cat"),
    "UTF-16": lambda name: chunk(b"tEXt", name + b"\0" + "a cat\nSteps: 20, Seed: 1, X: 2".encode("utf-16")),
    "nulls": lambda name: chunk(b"tEXt", name + b"\0" * 900_000),
    "no compressed data": lambda name: chunk(b"zTXt", name + b"\0\0" + b"no zlib"),
    "another compression": lambda name: chunk(b"zTXt", name + b"\0\7" + FULL),
}


@pytest.mark.parametrize("made", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("keyword", ["parameters", "prompt", "workflow"])
def test_hostile_chunks_of_a_file_are_refused_in_bounded_time_and_memory(
    made: Callable[[bytes], bytes], keyword: str, tmp_path: Path
) -> None:
    whole = saved(tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:33] + made(keyword.encode()) + whole[33:])
    spent = time.process_time()
    tracemalloc.start()
    try:
        told = read_or_refuse(tmp_path / "b.png")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told is None or ("b.png" in told and len(told) < 500)
    assert time.process_time() - spent < 4
    assert peak < 160e6  # a reader of pictures keeps at most 64 MB of texts, and joins them


def read_or_refuse(path: Path) -> str | None:
    try:
        found = read_any_recipe(path)
    except ImageFileError as error:
        return str(error)
    return "settings of nobody" if found.settings else None


def test_more_than_a_megabyte_is_refused() -> None:
    with pytest.raises(ImageFileError, match="more than 1,000,000"):
        find_foreign_recipe({"parameters": "a" * 1_000_001})


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_is_a_result(text: str, line: str) -> None:
    parsed = parse_infotext(f"{text}\nSteps: 1, Seed: 2, Note: {line}, Size: 8x8")
    assert isinstance(parsed, Infotext)
    found = find_foreign_recipe({"parameters": text})
    assert found is not None
    assert find_foreign_recipe({"prompt": text}) is None


@given(
    st.dictionaries(st.sampled_from(["Steps", "Seed", "Note", "A b"]), st.text('ab ,:"\\é\n', max_size=12))
)
def test_settings_written_are_settings_read(settings: dict[str, str]) -> None:
    settings = {name: value.strip() for name, value in settings.items()} | {"x": "1", "y": "2", "z": "3"}
    quoted = {name: value for name, value in settings.items() if not value.startswith('"') or len(value) > 1}
    assert parse_infotext(format_infotext(Infotext("a cat", "", quoted))).settings == quoted


def test_the_words_of_ours_are_still_ours(tmp_path: Path) -> None:
    recipe = GenerationMetadata(prompt="a", df_prompt="a, [b:late]", seed=1, model=ModelMark(name="m"))
    found = read_any_recipe(saved(tmp_path / "a.png", **recipe.to_chunks()))
    assert found == recipe
    assert read_back(recipe.df_prompt) == DFPrompt(["a, ", Span("b", "late")])
