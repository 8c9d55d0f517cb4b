"""Make the vectors again: what other tools read in prompts, from the tools themselves.

    python tests/vectors/make_vectors.py a1111 --peer FOLDER   # with modules/prompt_parser.py; needs lark
    python tests/vectors/make_vectors.py comfyui --peer FOLDER # with prompt_control/
    python tests/vectors/make_vectors.py swarmui --peer FOLDER # with SwarmTextHandling.py somewhere below
    python tests/vectors/make_vectors.py compel                # needs compel installed

With `--suite FILE ...` nothing is written: every string in the tool's own test files is read by both, and
the counts are printed.

The texts are this project's own: idioms of people's prompts, and strings drawn with a fixed seed. A
vector is one JSON object per line: `text`, `steps`, and either `read`, a list of [last step, [[words,
weight], ...]], or `not_one_prompt`, why the tool sees no single prompt there. Lines with a `prompt` were
written by dfprompt for that DF-Prompt. The first line names project, version and date. No code of the tools
is here: they are imported from the folder named.
"""

from __future__ import annotations

import argparse
import ast
import doctest
import importlib
import importlib.util
import json
import random
import re
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from dfprompt.errors import DFPromptError
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span
from dfprompt.prompt.dialects import export_prompt

HERE = Path(__file__).parent
STEPS = (1, 4, 10, 20)
READINGS = 700  # texts to read per dialect, and half as many prompts to write
Pieces = list[tuple[str, float]]
Peer = Callable[[str, int], "list[Pieces] | str"]

SUBJECTS = (
    "a red fox",
    "portrait of a sailor",
    "old harbour",
    "a cat, a dog",
    "snow on a (small) hill",
    "猫と雪",
)
STYLES = ("film grain", "sharp focus", "oil paint", "neon glow", "8k", "best quality", "close-up")
IDIOMS = {
    "a1111": (
        "{a}, ({b}:1.2), {c}",
        "(({b})), {a}, [{c}]",
        "{a}, [{b}:{c}:0.4]",
        "{a}, [{b}:8]",
        "{a}, [{b}::0.6], <lora:ink_v2:0.8>",
        "{a} [({b}:1.3)::0.5] BREAK {c}",
        "[{b}|{c}] of {a}",
        "(masterpiece, {b}:1.2), {a}, <lora:brush (v3):0.7>, {c}",
        "{a} # {b}\n, {c}",
        "{a} | {b}, [{c}:0.5]",
        "{{{b}|{c}}} {a}, [{c}:0.5]",
        "{a}, {b}, :3",
        "{a} AND {b}",
        "{a} \\(1990\\), ({b}:0.8)",
        "{a}, --ar 16:9",
        "({b}, {a}",
        "{a}), {b}",
        "[[{b}:0.3]::0.7] {a}",
        "({a} [{b}:{c}:0.5]:1.1)",
        "{a}, [{b}:{c}:1.5]",
    ),
    "comfyui": (
        "{a}, ({b}:1.2), {c}",
        "(({b})) {a}",
        "{a} [{b}:{c}:0.4]",
        "{a} [{b}:{c}:0.3,0.7]",
        "{a} [{b}:0.2,0.6]",
        "{a} [{b}:{c}:{b}:0.1]",
        "{a} [{b}|{c}:0.2]",
        "{a} [SEQ:{b}:0.3:{c}:0.8]",
        "{a} [{b}:{c}:SECOND_PASS]",
        "{a} # {b}\n{c}",
        "{a} [<lora:ink:0.7>:0.5], {b}",
        "{a} <lora:brush:0.8> <emb:soft>",
        "{a} CAT {b}",
        "{a} AND {b} :0.5",
        '{a} with the words "DOG AND CAT"',
        "STYLE(A1111) {a} ({b}:1.2)",
        "{a} \\({b}\\) \\# [{c}\\: x:0.5]",
        "{a} BREAK {b}",
        "{a} COUPLE MASK() {b}",
        "{a} [{b}: 0.5]",
        "DEF(LIGHT=[{b}:{c}:0.4]) {a}, LIGHT",
        "DEF(MIX(0.5)=[{b}:{c}:$1]) {a}, MIX, MIX(0.2)",
        'DEF(X=$1 on $2) {a}, X(ink; paper), X(), "X", [X:0.5]',
    ),
    "compel": (
        "{a}, {b}++, {c}-",
        "{a} ({b})1.3, {c}",
        '{a} "{b}"--',
        "({a}, {b}).attend(0.7)",
        '("{a}", "{b}").blend(0.7, 0.3)',
        '("{a}", "{b}").and()',
        "a (cat).swap(dog) in {a}",
        "{a} ({b}:1.2)",
        "{a}! {b}+, wow!+",
        "{a} \\(1990\\)+",
        "(({a})1.1 {b})0.8",
        "{a} ({b}",
        "withLora(ink, 0.7) {a}",
        "C++ {a}",
    ),
    "swarmui": (
        "{a}, ({b}:1.2), {c}",
        "{a}, <fromto[0.5]:{b} | {c}>",
        "{a}, <fromto[4]:{b}||{c}>",
        "<alternate:cat, dog> and {b}",
        "{a} <alt:{b}|{c}|{b}>",
        "{a} <lora:ink:0.8>, {b}",
        "{a} <break> {b}",
        "{a} <comment:{b}>, {c}",
        "{a} ({b}) \\({c}\\)",
        "{a} <fromto[0.2]:| ({b}:1.3)>",
    ),
}
BRACKETS = (
    "cat",
    "red dog",
    " ",
    "(",
    ")",
    "[",
    "]",
    "(",
    ")",
    "[",
    "]",
    ":",
    ":",
    ":0.5]",
    ":1.3)",
    ":3]",
    "|",
    "[a|b]",
)
TOKENS = {
    "a1111": (
        *BRACKETS,
        *(
            "\\(",
            "\\]",
            "\\",
            "\\:",
            "#c\n",
            "#",
            "<lora:a:1>",
            "<lora:n_(v2):0.8>",
            "0.5",
            "1.2",
            "AND",
            "BREAK",
        ),
        *(
            ",",
            "\n",
            "1e1",
            "-1",
            ".5",
            " : 2",
            "{",
            "}",
            '"',
            "CAT",
            "<",
            ">",
            "[a:b:0.25]",
            "(c:-0.5)",
            "[: d : 2 ]",
        ),
    ),
    "comfyui": (
        *BRACKETS,
        *(
            "\\(",
            "\\]",
            "\\",
            "\\:",
            "\\#",
            "#c\n",
            "<lora:a:1>",
            "<lora:n_(v2):0.8:1>",
            "<emb:e>",
            "<lora:x>",
            "0.5",
        ),
        *(
            "AND",
            "BREAK",
            "CAT",
            ",",
            "\n",
            "1e1",
            "-1",
            " : 2",
            ":2",
            ":0.3,0.7]",
            "[SEQ:",
            ":HR]",
            "[a|b:0.3]",
            '"',
        ),
        *("{", "}", "<", ">", "AVG", "COUPLE"),
    ),
    "compel": (
        *(
            "cat",
            "red dog",
            " ",
            " ",
            "x",
            "(",
            ")",
            "(",
            ")",
            '"',
            '"',
            "+",
            "++",
            "-",
            "--",
            ",",
            ".",
            "!",
            "?",
            "1.2",
        ),
        *(
            "0.5",
            ".5",
            "2",
            "\\(",
            "\\)",
            "\\+",
            ".attend(0.5)",
            ".attend(++)",
            "(a b)1.3",
            '"a b"--',
            "=",
            ":1.2)",
        ),
        *("a-b", "a+b", ";", "\n", "é", "[", "]", "|", "#", "{", "}", "<", ">", "AND", ".swap(b)"),
    ),
    "swarmui": (
        *(
            "cat",
            "red dog",
            " ",
            "(",
            ")",
            "(x:1.3)",
            "<fromto[0.5]:a, b>",
            "<fromto[3]:a|b>",
            "<alternate:a, b>",
        ),
        *(
            "<alt:a||b||c>",
            "<lora:f:0.8>",
            "<break>",
            "\\(",
            "\\)",
            "\\[",
            "\\]",
            ",",
            "|",
            ":",
            "12:30",
            "#",
            "{",
            "}",
        ),
        *("AND", "<", ">", "<fromto[1]:x,>", "<fromto[.25]:, y>", '"', "\n"),
    ),
}


def texts(dialect: str) -> Iterator[str]:
    """Yield the texts to read: every idiom with several fillings, then drawn ones."""
    chance = random.Random(f"{dialect} texts")
    for idiom in IDIOMS[dialect]:
        for _ in range(8):
            b, c = chance.sample(STYLES, 2)
            yield idiom.format(a=chance.choice(SUBJECTS), b=b, c=c)
    while True:
        yield "".join(chance.choices(TOKENS[dialect], k=chance.randrange(2, 11)))


WORDS = (
    *(
        "cat",
        "|",
        "#",
        "\\",
        ":",
        "CAT",
        "AND",
        "BREAK",
        "{",
        "}",
        "<",
        ">",
        "(",
        ")",
        "[",
        "]",
        "<lora:x:1>",
        ":3",
    ),
    *("12:30", "a, b", " ", "x+", '"q"', "red dog", "1.2)", "\n", "_", "COUPLE"),
)


def prompts(dialect: str) -> Iterator[DFPrompt]:
    """Yield DF-Prompts to write, with what tools take for control among their words."""
    chance = random.Random(f"{dialect} prompts")

    def words() -> str:
        text = "".join(chance.choices(WORDS, k=chance.randrange(1, 4)))
        return text if text.strip() else "cat"

    while True:
        pieces: list[str | Span] = []
        for _ in range(chance.randrange(1, 4)):
            if chance.random() < 0.4:
                pieces.append(words())
                continue
            low, high = sorted(chance.sample(range(11), 2))
            scheduled = dialect != "compel" and chance.random() < 0.6
            effect = EffectRange(high / 10, low / 10) if scheduled else "full"
            tag = chance.random() < 0.1
            weight = 1 if tag else chance.choice((1, 1.3, "0.5", "-0.7"))
            pieces += [Span("<lora:f (v2):0.8>" if tag else words(), "full" if tag else effect, weight), ", "]
        yield DFPrompt(pieces)


def compact(table: list[Pieces]) -> list[list[Any]]:
    """Neighbouring steps that read alike, once: [last step, pieces]."""
    rows, at = [], -1
    for pieces, group in groupby(table):
        at += sum(1 for _ in group)
        rows.append([at, [[words, round(weight, 6)] for words, weight in pieces if words]])
    return rows


def vectors(dialect: str, peer: Peer) -> Iterator[dict[str, Any]]:
    """Yield the vectors of a dialect."""
    chance = random.Random(f"{dialect} steps")
    seen: set[str] = set()
    for text in texts(dialect):
        if len(seen) >= READINGS:
            break
        if text not in seen:
            seen.add(text)
            yield vector(text, 1 if dialect == "compel" else chance.choice(STEPS), peer)
    written = 0
    for prompt in prompts(dialect):
        if written >= READINGS // 2:
            return
        steps = 10
        try:
            exported = export_prompt(prompt, dialect, steps)
        except DFPromptError:
            continue
        if not exported.lost:
            written += 1
            yield {**vector(exported.text, 1 if dialect == "compel" else steps, peer), "prompt": str(prompt)}


def vector(text: str, steps: int, peer: Peer) -> dict[str, Any]:
    """Return one vector."""
    found = peer(text, steps)
    outcome = {"not_one_prompt": found} if isinstance(found, str) else {"read": compact(found)}
    return {"text": text, "steps": steps, **outcome}


def a1111(folder: Path) -> Peer:
    """Forge's or A1111's own prompt parser."""
    if importlib.util.find_spec("torch") is None:
        sys.modules["torch"] = types.ModuleType("torch")  # the parser names it only for its tensors
    sys.path.insert(0, str(folder if (folder / "prompt_parser.py").exists() else folder / "modules"))
    parser = importlib.import_module("prompt_parser")

    def read(text: str, steps: int) -> list[Pieces] | str:
        # Comments and network tags go before the parser sees the text.
        text = re.sub(r"#[^\n]*(\n|$)", "\n", re.sub(r"(^|\n)#[^\n]*(\n|$)", "\n", text))
        text = re.sub(r"<(\w+):([^>]+)>", "", text)
        parts, flat, _ = parser.get_multicond_prompt_list([text])
        if len(parts[0]) > 1:
            return "several prompts"
        schedule = parser.get_learned_conditioning_prompt_schedules([flat[0]], steps)[0]
        entries = [
            next((entry for entry in schedule if step <= entry[0]), schedule[0]) for step in range(steps)
        ]
        try:
            read = {entry[1]: parser.parse_prompt_attention(entry[1]) for entry in entries}
        except ValueError:
            return "no number"
        return [
            [(words, weight) for words, weight in read[entry[1]] if weight != -1 or words != "BREAK"]
            for entry in entries
        ]

    return read


def comfyui(folder: Path) -> Peer:
    """comfyui-prompt-control's own parser and splitters; the core's emphasis stated again."""
    package = types.ModuleType("prompt_control")
    package.__path__ = [str(folder / "prompt_control")]
    sys.modules["prompt_control"] = package
    stubs = {
        "comfy_extras.nodes_mask": ("FeatherMask", "MaskComposite"),
        "nodes": ("ConditioningAverage",),
        "prompt_control.adv_encode": ("advanced_encode_from_tokens",),
        "prompt_control.attention_couple_ppm": ("set_cond_attnmask",),
        "prompt_control.cutoff": ("process_cuts",),
    }
    for name, attributes in stubs.items():  # what encodes, which is not asked here
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, None)
        sys.modules[name] = module
    sys.modules.setdefault("comfy_extras", types.ModuleType("comfy_extras"))
    parser, encoder, tools, cutoff = (
        importlib.import_module(f"prompt_control.{name}")
        for name in ("parser_parsy", "prompts", "utils", "cutoff_parser")
    )
    functions = "STYLE MASK_SIZE SDXL NOISE MASK IMASK FEATHER MASKW AREA TE_WEIGHT CLIP_L TE".split()
    functions += "SHIFT SHUFFLE".split()

    def encoded(text: str) -> Pieces | str:
        if any(re.search(rf"\b{name}\(", text) for name in functions):
            return "a function"
        if any(len(list(tools.split_quotable(text, rf"\b{word}\b"))) > 1 for word in ("AND", "CAT")):
            return "several prompts"
        if re.search(r"\b(COUPLE|AVG)\(", text):  # unclosed, it would be looked for without end
            return "several prompts"
        if tools.get_function(text, "(COUPLE|AVG)", None, require_args=False)[1]:
            return "several prompts"
        text, settings = encoder.process_settings(text, {}, None, (512, 512), {})
        if settings.get("strength") == 0:
            return "no prompt"
        if cutoff.parse_cuts(text)[1]:
            return "a function"
        return [piece for chunk in tools.split_quotable(text, r"\bBREAK\b") for piece in core_emphasis(chunk)]

    def read(text: str, steps: int) -> list[Pieces] | str:
        if re.search(r"\bDEF\((?:[^()]|\([^()]*\))*$", text):  # unclosed, it would be looked for without end
            return "a function"
        try:
            entries = [
                (end, encoded(found["prompt"]))
                for end, found in parser.parse_prompt_schedules(text).parsed_prompt
                if end
            ]
        except ValueError:
            return "no number"
        reasons = [found for _, found in entries if isinstance(found, str)]
        if reasons:
            return reasons[0]
        # `embedding:NAME` stands for a tag here; dfprompt keeps tags out of the words.
        tags = re.compile(
            "|".join(f"embedding:{re.escape(name)}" for name in re.findall(r"<emb:([^:<>]+)>", text))
        )
        known = [
            (end, [(tags.sub("", words) if tags.pattern else words, weight) for words, weight in found])
            for end, found in entries
            if not isinstance(found, str)
        ]
        return [
            next((found for end, found in known if step / steps < end - 1e-9), known[-1][1])
            for step in range(steps)
        ]

    return read


def core_emphasis(text: str) -> Pieces:
    """ComfyUI's emphasis by recursion over the text, an explicit weight replacing what is around it."""
    text = text.replace("\\)", "\0\1").replace("\\(", "\0\2")
    return [(words.replace("\0\1", ")").replace("\0\2", "("), weight) for words, weight in _levels(text, 1.0)]


def _levels(text: str, weight: float) -> Pieces:
    pieces: Pieces = []
    for part in _parts(text):
        if len(part) < 2 or part[0] != "(" or part[-1] != ")":
            pieces.append((part, weight))
            continue
        inner, colon, number = part[1:-1].rpartition(":")
        try:
            pieces += _levels(inner, float(number)) if colon and inner else _levels(part[1:-1], weight * 1.1)
        except ValueError:
            pieces += _levels(part[1:-1], weight * 1.1)
    return pieces


def _parts(text: str) -> list[str]:
    parts, level = [""], 0
    for letter in text:
        if letter == "(":
            if level == 0:
                parts.append("")
            level += 1
        parts[-1] += letter
        if letter == ")":
            level -= 1
            if level == 0:
                parts.append("")
    return [part for part in parts if part]


def compel(folder: Path | None) -> Peer:
    """compel's own parser, as installed."""
    from compel.prompt_parser import FlattenedPrompt, Fragment, PromptParser

    parser = PromptParser()

    def read(text: str, steps: int) -> list[Pieces] | str:
        if text.count("(") + text.count('"') > 8:
            return "too slow"
        try:
            found = parser.parse_conjunction(text).prompts
        except PromptParser.ParsingException:
            return "no prompt"
        if not found:
            return [[]] * steps
        if len(found) > 1 or not isinstance(found[0], FlattenedPrompt):
            return "several prompts"
        if not all(type(child) is Fragment for child in found[0].children):
            return "a swap"
        return [[(child.text, child.weight) for child in found[0].children]] * steps

    return read


def swarmui(folder: Path) -> Peer:
    """SwarmUI's own text node; its tags put into the node's form as its C# code is described to do."""
    source = next(folder.rglob("SwarmTextHandling.py")).read_text(encoding="utf-8")
    tensors = types.SimpleNamespace(cat=lambda texts, dim: texts[0] + " " + texts[1])
    modules = {
        "torch": types.ModuleType("torch"),
        "comfy": types.ModuleType("comfy"),
        "nodes": types.ModuleType("nodes"),
    }
    setattr(modules["nodes"], "MAX_RESOLUTION", 1)  # noqa: B010
    saved = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    space: dict[str, Any] = {}
    exec(compile(source, "SwarmTextHandling.py", "exec"), space)
    for name, module in saved.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module
    space["torch"] = tensors

    class Clip:
        def tokenize(self, text: str, llama_template: object = None) -> str:
            return text

        def encode_from_tokens_scheduled(self, tokens: str) -> list[list[Any]]:
            return [[tokens, {"pooled_output": None}]]

    def expand(match: re.Match[str]) -> str:
        name, when, body = match[1].lower(), match[2], match[3] or ""
        if name in ("lora", "comment", "embed"):
            return ""
        if name == "break":
            return "<break>"
        separator = "||" if "||" in body else "|" if "|" in body else ","
        entries = [re.sub(r"([\\:|\[\]])", r"\\\1", entry.strip()) for entry in body.split(separator)]
        if name == "fromto":
            return f"[{':'.join(entries)}:{float(when):g}]" if len(entries) == 2 else match[0]
        return f"[{'|'.join(entries)}]"

    def read(text: str, steps: int) -> list[Pieces] | str:
        tag = r"<(lora|fromto|alternate|alt|break|comment|embed)(?:\[([^\[\]<>]*)\])?(?::([^<>]*))?>"
        form = re.sub(tag, expand, text, flags=re.IGNORECASE)
        (found,) = space["SwarmClipTextEncodeAdvanced"]().encode(Clip(), steps, form, 1, 1, 1, 1)
        rows = [(each[1]["start_percent"], each[0]) for each in found]
        shown = [
            next(text for start, text in reversed(rows) if start <= (step + 1e-6) / steps)
            for step in range(steps)
        ]
        return [core_emphasis(text.replace("<break>", " ")) for text in shown]

    return read


PEERS: dict[str, tuple[Callable[[Any], Peer], str]] = {
    "a1111": (a1111, "stable-diffusion-webui-forge, modules/prompt_parser.py"),
    "comfyui": (comfyui, "comfyui-prompt-control"),
    "swarmui": (swarmui, "SwarmUI, SwarmTextHandling.py"),
    "compel": (compel, "compel"),
}


def strings(source: str) -> Iterator[str]:
    """Every string constant of a program that is not blank."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip():
            yield node.value


def count_suite(dialect: str, peer: Peer, files: list[Path]) -> None:
    """Print what becomes of the strings in a tool's own tests (its examples, where the file is no test)."""
    sys.path.insert(0, str(HERE.parent))
    from vector_files import outcome

    texts: dict[str, None] = {}
    for file in files:
        for text in strings(file.read_text(encoding="utf-8")):
            examples = [example.source for example in doctest.DocTestParser().get_examples(text)]
            texts.update(dict.fromkeys([each for source in examples for each in strings(source)] or [text]))
    steps = (1,) if dialect == "compel" else (1, 2, 4, 10, 20, 30, 33)
    found: Counter[str] = Counter()
    for text in texts:
        for number in steps:
            result = outcome(dialect, vector(text, number, peer)) if len(text) < 1000 else "no prompt"
            found[result] += 1
            if result == "different" or "refused" in result or "though" in result:
                sys.stdout.write(f"{result}: {text!r} at {number} steps\n")
    sys.stdout.write(f"{dialect}: {len(texts)} inputs x {len(steps)}: {dict(found)}\n")


def main() -> None:
    """Write one dialect's file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dialect", choices=PEERS)
    parser.add_argument("--peer", type=Path, help="the folder of the tool's sources")
    parser.add_argument("--version", default="unknown", help="the version or commit of the tool")
    parser.add_argument("--suite", type=Path, nargs="+", help="test files of the tool: count, write nothing")
    asked = parser.parse_args()
    make, project = PEERS[asked.dialect]
    if asked.suite:
        count_suite(asked.dialect, make(asked.peer), asked.suite)
        return
    head = {"project": project, "version": asked.version, "date": datetime.now(UTC).date().isoformat()}
    lines = [head, *vectors(asked.dialect, make(asked.peer))]
    target = HERE / f"{asked.dialect}.jsonl"
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    target.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{target.name}: {len(lines) - 1} vectors, {len(text) // 1000} kB\n")


if __name__ == "__main__":
    main()
