"""Files of strangers, made by code: good ones with one thing changed, cut, bombs, and lies about sizes."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 5, 10**9, 10**18, 1e308, float("nan"), True, "", "x", "x" * 5000, "../../etc/passwd"),
    *("\x1b[2J\u202e", [], [1, [2, [3]]], {}, {"a": {"b": []}}, ["x"] * 3000, "os.system", "owner/name"),
)
MODULE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import GPT2Config as C, GPT2LMHeadModel as M, PreTrainedTokenizerFast as T
"""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value that something else can be put, the small ones of lists alone."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for at in range(min(2, len(value))):
            yield from places(value[at], (*path, at))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with another one at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def hostile_folder(good: Path, target: Path, chance: random.Random, marker: Path) -> Path:
    """A copy of a model folder in which one file is not what it was; its module must never be imported."""
    shutil.copytree(good, target)
    (target / "m.py").write_text(MODULE.format(marker=str(marker)))
    files = [path for path in target.rglob("*") if path.is_file() and path.suffix not in (".py", ".html")]
    _change(chance.choice(sorted(files)), chance)
    return target


def hostile_file(good: Path, place: Path, chance: random.Random) -> Path:
    """A copy of one file that is not what it was."""
    target = place / f"x{good.suffix}"
    shutil.copy(good, target)
    _change(target, chance)
    return target


def _change(victim: Path, chance: random.Random) -> None:
    """Change a file as one who knows its kind would, or damage it."""
    change = _CHANGES.get(victim.suffix)
    if change is None or chance.random() < 0.2:
        damage(victim, chance)
    else:
        change(victim, chance)


def _change_line(victim: Path, chance: random.Random) -> None:
    """Change one line of a file of JSON lines: a value in it, or drop it, or say it twice."""
    lines = victim.read_text().splitlines() or ["{}"]
    at = chance.randrange(len(lines))
    kind = chance.randrange(8)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        lines[at] = chance.choice(["[" * 100_000, "null", "5", "{", '{"a": 1e999}', '"x"', ""])
    else:
        content = json.loads(lines[at])
        known = sorted(places(content), key=str) or [()]
        lines[at] = json.dumps(changed(content, chance.choice(known), chance.choice(VALUES)))
    victim.write_text("".join(f"{line}\n" for line in lines))


def _change_table(victim: Path, chance: random.Random) -> None:
    """Change one value of a TOML file, or add a line."""
    lines = victim.read_text().splitlines()
    values = [
        "-1",
        "10000000000000000000000",
        "nan",
        "inf",
        '""',
        '"../../etc/passwd"',
        "[]",
        "{}",
        "true",
        "x",
    ]
    set_here = [at for at, line in enumerate(lines) if " = " in line]
    if set_here and chance.random() < 0.8:
        at = chance.choice(set_here)
        lines[at] = f"{lines[at].partition(' = ')[0]} = {chance.choice(values)}"
    else:
        lines.insert(
            chance.randrange(len(lines) + 1), chance.choice(["[a.b]", "x = 5", "[[x]]", "\x00", "= 1"])
        )
    victim.write_text("\n".join(lines) + "\n")


def _change_picture(victim: Path, chance: random.Random) -> None:
    """Change the text a PNG carries, or put a hostile one in its place."""
    with Image.open(victim) as image:
        texts = dict(getattr(image, "text", {}))
        copy = image.copy()
    if not texts or chance.random() < 0.3:
        hostile_picture(victim, chance)
        return
    name = chance.choice(sorted(texts))
    try:
        content = json.loads(texts[name])
        at = chance.choice(sorted(places(content), key=str))
        texts[name] = json.dumps(changed(content, at, chance.choice(VALUES)))
    except ValueError:
        told = texts[name]
        at = chance.randrange(len(told))
        texts[name] = (
            told[:at] + chance.choice(["", "5" * 5000, "\n", '"', "[" * 9000, "\x1b[2J"]) + told[at:]
        )
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    copy.save(victim, pnginfo=info)


def _change_json(victim: Path, chance: random.Random) -> None:
    content = json.loads(victim.read_text())
    if chance.random() < 0.25 and isinstance(content, dict):
        content |= chance.choice(
            [
                {
                    "auto_map": {
                        "AutoConfig": "m.C",
                        "AutoTokenizer": ["m.T", "m.T"],
                        "AutoModelForCausalLM": "m.M",
                    }
                },
                {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["m.T", "m.T"]}},
                {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
                {"attn_implementation": "owner/attention"},
                {"model_type": "unheard-of"},
                {"_class_name": "os.system"},
                {"architectures": ["m.M"], "trust_remote_code": True},
                {"n_layer": 10**6, "num_hidden_layers": 10**6, "num_layers": 10**6},
                {"custom_pipeline": "m"},
            ]
        )
    else:
        known = sorted(places(content), key=str) or [()]
        content = changed(content, chance.choice(known), chance.choice(VALUES))
    victim.write_text(json.dumps(content))


def damage(victim: Path, chance: random.Random) -> None:
    """Cut a file, turn some of its bytes, or put something else in its place."""
    content = bytearray(victim.read_bytes())
    kind = chance.randrange(6)
    if kind == 0:
        content = content[: chance.randrange(len(content) + 1)]
    elif kind == 1:
        for _ in range(8 if content else 0):
            content[chance.randrange(len(content))] = chance.randrange(256)
    elif kind == 2:
        content[:8] = struct.pack("<Q", chance.choice([0, 1, 2**31, 2**63 - 1, len(content)]))
    elif kind == 3:
        content = bytearray(b"[" * 100_000)
    elif kind == 4:
        content = bytearray(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    else:
        content = bytearray(b"null")
    victim.write_bytes(content)


def damage_tensors(victim: Path, chance: random.Random) -> None:
    """Change a safetensors file: its head is JSON, whose names, shapes and offsets are made to lie."""
    content = victim.read_bytes()
    if chance.random() < 0.3:
        damage(victim, chance)
        return
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    if chance.random() < 0.3:
        name = chance.choice(sorted(head))
        other = chance.choice(["", "x" * 5000, "../../x", "unet.a.b.lora_A.weight", "__metadata__"])
        head = {other if key == name else key: value for key, value in head.items()}
    else:
        head = changed(head, chance.choice(sorted(places(head), key=str)), chance.choice(VALUES))
    text = json.dumps(head).encode()
    victim.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def hostile_picture(target: Path, chance: random.Random) -> Path:
    """A PNG that carries a recipe, changed; or one that claims, bombs or pretends."""
    info = PngInfo()
    recipe = {
        "dfprompt": 1,
        "prompt": "a cat",
        "seed": 1,
        "settings": {"steps": 5},
        "model": {"name": "mini"},
    }
    known = sorted(places(recipe), key=str)
    text = json.dumps(changed(recipe, chance.choice(known), chance.choice(VALUES)))
    if chance.random() < 0.1:
        text = "[" * 500_000
    info.add_text("dfprompt", text)
    info.add_text(
        "parameters", chance.choice(["x" * 10_000, "a\nSteps: 1e99, Seed: -5", "\x1b[2J"]), zip=True
    )
    stream = io.BytesIO()
    Image.new(chance.choice(["RGB", "L", "P", "RGBA", "1"]), (8, 8)).save(stream, "PNG", pnginfo=info)
    content = bytearray(stream.getvalue())
    kind = chance.randrange(5)
    if kind == 0:
        content[16:24] = struct.pack(">II", chance.choice([0, 1, 2**31 - 1, 30_000]), 30_000)
        content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    elif kind == 1:
        content = content[: chance.randrange(len(content))]
    elif kind == 2:
        content[chance.randrange(len(content))] ^= 255
    elif kind == 3:
        bomb = zlib.compress(b"a" * 50_000_000)
        chunk = b"zTXt" + b"dfprompt\0\0" + bomb
        content[33:33] = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    target.write_bytes(content)
    return target


def hostile_table(target: Path, chance: random.Random) -> Path:
    """A file of prompts: JSON lines, CSV, text, NPY or Parquet, wrong in one way or another."""
    kind = chance.choice(["jsonl", "csv", "txt", "npy", "parquet", "json"])
    path = target.with_suffix(f".{kind}")
    if kind == "npy":
        stream = io.BytesIO()
        np.save(stream, np.array(["a cat, film grain"] * 3))
        lie = stream.getvalue().replace(b"(3,)", chance.choice([b"(99999999999,)", b"(-1,)", b"(3,", b"()"]))
        objects = io.BytesIO()
        np.save(objects, np.array([MODULE], dtype=object), allow_pickle=True)
        path.write_bytes(
            chance.choice([lie, objects.getvalue(), stream.getvalue()[:50], b"\x93NUMPY\x09\x00"])
        )
    elif kind == "parquet":
        path.write_bytes(b"PAR1" + bytes(chance.randrange(256) for _ in range(200)) + b"PAR1")
    else:
        good = {
            "jsonl": '{"prompt": "a cat, film grain"}\n' * 4,
            "csv": "prompt\n" + "a cat, film grain\n" * 4,
            "txt": "a cat, film grain\n" * 4,
            "json": '[{"prompt": "a cat, film grain"}]',
        }[kind]
        path.write_text(good)
        damage(path, chance)
    return path


def hostile_text(target: Path, chance: random.Random) -> Path:
    """Lines to be read one by one: prompts in a tool's syntax, JSON, and what is neither."""
    lines = [
        *(
            "a cat",
            "((((a cat",
            "[a [b:late]:early]",
            "a" * 200_000,
            "[" * 50_000,
            "(" * 5000 + "a:1.1" + ")" * 5000,
        ),
        *(
            "[a:1e999]",
            "(a:nan)",
            "[cat:late:-5]",
            "<lora:../../x:1e99>",
            "a\u202eb\x1b[2J",
            "\ud800",
            "\x00",
            "",
        ),
        *(
            '{"image": 5}',
            '{"image": "../../etc/passwd", "prompt": "x"}',
            '{"image": "/dev/zero", "prompt": "x"}',
        ),
        *("{" * 3000, "[1,2", "BREAK AND BREAK", "[a:b:c:d:e:f]", "{a|b|{c|d}}" * 500, "a:0.5::", "__wild__"),
        *('[{"text": "a", "range": [1e400, -1], "weight": "x"}]', "a" + "\u0301" * 9999, "\ufeffa cat"),
    ]
    text = "\n".join(chance.choices(lines, k=chance.randrange(1, 5))) + chance.choice(["", "\n", "\r\n"])
    content = text.encode("utf-8", "surrogatepass")
    target.write_bytes(content if chance.random() < 0.8 else content + b"\xff\xfe\x00")
    return target


def hostile_recipe(target: Path, chance: random.Random) -> Path:
    """A TOML recipe with keys, values and paths nobody should follow."""
    lines = chance.choice(
        [
            'seed = "x"',
            "[optimizer]\nsteps = 1000000000000000000000",
            "[optimizer]\nlearning_rate = nan",
            '[model]\nbase = "/etc/passwd"',
            '[model]\nbase = "owner/absent-model"',
            "[data]\nfolder = 5",
            "[[extra]]\nfunction = 'os:system'",
            "a = " + "[" * 5000,
            "x" * 100_000,
            "[model.base]\nx = 1",
            "\x00",
            "[provenance]\ninputs = 5",
            'data = {folder = "' + "a/" * 3000 + '"}',
            "[optimizer]\nsteps = -5\nbatch_size = 0",
        ]
    )
    target.write_text(lines)
    if chance.random() < 0.3:
        damage(target, chance)
    return target


_CHANGES: dict[str, Callable[[Path, random.Random], None]] = {
    ".json": lambda victim, chance: _change_json(victim, chance),
    ".jsonl": _change_line,
    ".toml": _change_table,
    ".png": _change_picture,
    ".safetensors": damage_tensors,
}
