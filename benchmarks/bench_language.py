"""The language: parse times, how they grow, and the ratio to compel's parser in the same run."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from functools import partial

from dfprompt.errors import DFPromptError, ParseError
from dfprompt.prompt import export_prompt, import_prompt, make_plan, parse_prompt
from machine import best_processor_seconds, best_seconds, header

SIZES = (10, 20, 40, 80)
GROWTH = (1_000, 2_000, 4_000, 8_000, 16_000)


def scheduled(count: int) -> str:
    """So many weighted, scheduled spans, no two alike."""
    spans = (
        f"[film grain {n}:0.{99 - n % 49}->0.{n % 40 + 10}:{1 + n % 50 / 100:.2f}]" for n in range(count)
    )
    return ", ".join(spans)


def weighted_for_compel(count: int) -> str:
    """The same words and weights in compel's notation, which has no schedules."""
    return ", ".join(f"(film grain {n}){1 + n % 50 / 100:.2f}" for n in range(count))


def print_ratios() -> None:
    """Time both parsers on the same words."""
    try:
        from compel.prompt_parser import PromptParser
    except ImportError:
        print("  compel is not installed: pip install -e '.[compel]' for the ratio")
        return
    parser = PromptParser()
    print("  spans   dfprompt   compel   compel / dfprompt")
    for count in SIZES:
        ours = best_seconds(partial(parse_prompt, scheduled(count)))
        theirs = best_seconds(partial(parser.parse_conjunction, weighted_for_compel(count)), repeats=3)
        print(f"  {count:5}   {ours * 1e3:5.2f} ms  {theirs * 1e3:6.1f} ms   {theirs / ours:.0f}x")
    unclosed = "(" * 5 + "a cat"
    theirs = best_seconds(partial(parser.parse_conjunction, unclosed), repeats=1)
    ours = best_seconds(partial(refuse, "[" * 5 + "a cat"))
    print(f"  five unclosed brackets: dfprompt {ours * 1e3:.2f} ms (an error), compel {theirs * 1e3:.0f} ms")


def refuse(text: str) -> None:
    """Parse what must not parse."""
    try:
        parse_prompt(text)
    except ParseError:
        return
    raise AssertionError("this should not have parsed")


def exponent(seconds: list[float], sizes: tuple[int, ...]) -> float:
    """Least-squares slope of log time over log size: 1 is linear."""
    xs, ys = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in xs)


def print_growth() -> None:
    """Valid prompts, nested and unclosed brackets: all should be linear."""
    kinds = {
        "weighted, scheduled spans": lambda n: partial(parse_prompt, scheduled(n)),
        "unclosed brackets": lambda n: partial(refuse, "[" * 20 * n),
        "an unclosed field": lambda n: partial(refuse, "[x" + ":1" * 10 * n),
        "escapes": lambda n: partial(parse_prompt, "\\[" * 10 * n),
    }
    for name, make in kinds.items():
        seconds = [best_processor_seconds(make(size)) for size in GROWTH]
        print(f"  {name}: time grows with size to the power {exponent(seconds, GROWTH):.2f}")


# What a text of 100 kB may be made of, in every dialect.
HOSTILE = {
    "open round brackets": "(",
    "open square brackets": "[",
    "schedules": "[a:b:0.5] ",
    "nested schedules": "[a:",
    "alternation": "[a|b] ",
    "alternation with a period": "[a|b:0.01] ",
    "nested alternation": "[a|",
    "emphasis": "(a:1.2) ",
    "closing brackets": ")]",
    "colons": ":",
    "bars": "|",
    "comments": "#\n",
    "backslashes": "\\",
    "tags": "<lora:a:1>",
    "open tags": "<a:",
    "quotation marks": '"a" ',
    "signs": "a++ ",
    "SwarmUI's switches": "<fromto[0.5]:a,b>",
    "SwarmUI's alternation": "<alternate:a,b>",
    "ramps": "[a::0->1] ",
    "macros": "DEF(A=b)",
    "calls of a macro": "A(1) ",
    "words": "cat, ",
}
STEPS = (20, 1_000)
SIZES_OF_TEXT = (3_125, 6_250, 12_500, 25_000, 50_000, 100_000)


def print_dialects() -> None:
    """Reading 100 kB of anything is an answer or an error, within a second, and linear before any cap.

    Where a cap ends the reading early at larger sizes, growth is that of the sizes up to the slowest one.
    """
    for dialect in ("native", "a1111", "comfyui", "swarmui", "compel", "pae"):
        slowest, steepest = ("", 0.0), ("", 0.0)
        for name, unit in HOSTILE.items():
            for steps in STEPS:
                seconds = [
                    best_processor_seconds(partial(answer, unit * (n // len(unit)), dialect, steps))
                    for n in SIZES_OF_TEXT
                ]
                kind = f"{name} at {steps} steps"
                slowest = max(slowest, (kind, max(seconds)), key=lambda each: each[1])
                rising = seconds.index(max(seconds)) + 1
                if rising > 3:
                    grown = exponent(seconds[:rising], SIZES_OF_TEXT[:rising])
                    steepest = max(steepest, (kind, grown), key=lambda each: each[1])
        goal(f"{dialect}: up to 100 kB of {slowest[0]}, the slowest", slowest[1], 1.0)
        verdict = "met" if steepest[1] <= 1.2 else "MISSED"
        print(
            f"  {dialect}: {steepest[0]}, time grows to the power {steepest[1]:.2f} (goal <= 1.2: {verdict})"
        )


def print_ramps() -> None:
    """Writing ramps at many steps is an answer or an error, within a second."""
    for dialect in ("a1111", "comfyui", "swarmui"):
        slowest = max(
            best_processor_seconds(partial(answer, "[a::0->1] " * count, "native", 1_000, dialect), repeats=1)
            for count in (1, 4, 20, 200)
        )
        goal(f"{dialect}: up to 200 ramps at 1,000 steps, written", slowest, 1.0)


def answer(text: str, dialect: str, steps: int, target: str = "native") -> None:
    """Read a text, and write it for another tool; an error is an answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            prompt = import_prompt(text, dialect, steps).prompt
            if target != "native":
                export_prompt(prompt, target, steps)
        except DFPromptError:
            return


def goal(name: str, seconds: float, limit: float) -> None:
    """Print a time against its goal."""
    verdict = "met" if seconds < limit else "MISSED"
    print(f"  {name}: {seconds * 1e3:.2f} ms (goal < {limit * 1e3:g} ms: {verdict})")


def main() -> None:
    """Print everything."""
    print(header("The DF-Prompt language"))
    goal(
        "80 weighted, scheduled spans", best_seconds(partial(parse_prompt, scheduled(80)), repeats=20), 0.002
    )
    goal("10,000 spans", best_seconds(partial(parse_prompt, scheduled(10_000))), 0.3)
    prompt = parse_prompt(scheduled(80))
    goal("a plan of 80 spans over 50 steps", best_seconds(partial(make_plan, prompt, 50)), 0.05)
    asked = [sys.executable, "-m", "dfprompt.cli.main", "--help"]
    goal(
        "dfprompt --help", best_seconds(partial(subprocess.run, asked, capture_output=True, check=True)), 0.3
    )
    print_growth()
    print_dialects()
    print_ramps()
    print_ratios()


if __name__ == "__main__":
    main()
