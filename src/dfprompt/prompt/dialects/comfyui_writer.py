r"""A DF-Prompt as ComfyUI's text, for comfyui-prompt-control's rules as `comfyui.read` has them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects import comfyui
from dfprompt.prompt.dialects.checking import check_written
from dfprompt.prompt.dialects.comfyui_clock import Sampling
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.emphasis import BREAK
from dfprompt.prompt.dialects.overlay import ONE, ZERO
from dfprompt.prompt.dialects.stretches import as_said, stretches_of
from dfprompt.prompt.exact import format_decimal
from dfprompt.prompt.tags import split_tags

_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]:#"})
_TOP_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]#"})
_CLOCK = "percents count sampling time: they are steps under a uniform schedule only"
_ROUNDING = Context(prec=30, rounding=ROUND_HALF_EVEN)


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write prompt-control's text; with a number of steps each switch falls on its step exactly."""
    return write_for(prompt, Sampling(steps), remarks)


def write_for(prompt: DFPrompt, run: Sampling, remarks: Remarks) -> str:
    """Write prompt-control's text for a run whose steps, clock or scheduler are known."""
    out: list[str] = []
    said: list[str | Span] = []
    for piece, stretches in stretches_of(prompt, run.steps, remarks, run.on_the_prompts_clock):
        for stretch in stretches:
            begin = percent(stretch.begin, stretch.first, run, remarks)
            end = percent(stretch.end, None if stretch.last is None else stretch.last + 1, run, remarks)
            is_scheduled = (begin, end) != (ZERO, ONE)
            if is_scheduled and run.times is None and run.clock == "steps":
                remarks.assume(_CLOCK)
            if isinstance(piece, Span) and piece.tag:
                words = _tag(piece.text, stretch.weight, remarks)
            else:
                text = piece if isinstance(piece, str) else piece.text
                text = _without_bars(text, remarks) if is_scheduled else text
                words = _words(text, stretch.weight, is_scheduled)
                said += as_said(text, begin, end, stretch.weight)
            if words[:1] == "(" and out and out[-1].endswith("\\\\"):
                out.append(" ")  # a backslash would make the parenthesis literal
            out.append(_scheduled(words, begin, end))
    text = "".join(out)
    check_written(
        prompt,
        said,
        text,
        comfyui.read_on_its_clock,
        run.steps,
        "ComfyUI",
        remarks,
        timing=run.on_the_prompts_clock,
        their_timing=run.on_its_clock,
    )
    return text


def _tag(tag: str, weight: Decimal, remarks: Remarks) -> str:
    if tag == BREAK:
        return " BREAK "
    if comfyui.TAG.fullmatch(tag) is None:
        remarks.lose(f"{quote(tag)} is no tag that prompt-control reads, and it is left out")
        return ""
    if weight != 1 and not tag.startswith("<emb:"):
        remarks.lose(f"the weight {format_decimal(weight)} of {quote(tag)}: write it into the tag")
        return tag
    return tag if weight == 1 else f"({tag}:{format_decimal(weight)})"


def _without_bars(text: str, remarks: Remarks) -> str:
    if "|" in text:
        remarks.lose('"|" has no escape inside of a schedule of ComfyUI; a comma stands for it')
    return text.replace("|", ",")


def _words(text: str, weight: Decimal, is_scheduled: bool) -> str:
    if is_scheduled or weight != 1:
        words = text.translate(_ESCAPED)
    else:
        pieces = split_tags(text.translate(_TOP_ESCAPED))
        words = "".join(piece.replace(":", "\\:", 1) if at % 2 else piece for at, piece in enumerate(pieces))
    return words if weight == 1 else f"({words}:{format_decimal(weight)})"


def _scheduled(words: str, begin: Decimal, end: Decimal) -> str:
    if not words or (begin, end) == (ZERO, ONE):
        return words
    if end == ONE:
        return f"[{words}:{format_decimal(begin)}]"
    if begin == ZERO:
        return f"[{words}::{format_decimal(end)}]"
    return f"[{words}:{format_decimal(begin)},{format_decimal(end)}]"


def percent(share_done: Decimal, border: int | None, run: Sampling, remarks: Remarks) -> Decimal:
    """Return a share done in two decimals; with the border's step known, one that falls on it."""
    steps = run.steps
    if border is not None and steps is not None:
        if border <= 0 or border >= steps:
            return ZERO if border <= 0 else ONE
        if run.times is not None:
            return _on_the_clock(border, run, remarks)
        digits = 100 * border // steps
        if digits * steps > 100 * (border - 1):
            candidate = Decimal(digits).scaleb(-2)
            nearest = _ROUNDING.quantize(share_done, Decimal("0.01"))
            fits = 100 * (border - 1) < nearest * 100 * steps <= 100 * border
            return nearest if fits else candidate
    rounded = _ROUNDING.quantize(share_done, Decimal("0.01"))
    if rounded != share_done:
        remarks.lose(
            f"the share {format_decimal(share_done)} is rounded to {rounded}: ComfyUI keeps two decimals"
        )
    return rounded


def _on_the_clock(border: int, run: Sampling, remarks: Remarks) -> Decimal:
    """A percent between two steps, where they lie far enough apart for one of two decimals."""
    assert run.times is not None
    found = run.between(border, 2)
    if found is None:
        remarks.lose(
            f"steps {border} and {border + 1} lie within a hundredth of sampling time, and ComfyUI keeps two "
            "decimals"
        )
        found = round(run.times[border], 2)
    return Decimal(int(found * 100)).scaleb(-2)
