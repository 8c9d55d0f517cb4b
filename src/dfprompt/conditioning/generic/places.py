"""Which characters each token that a denoiser hears comes from: the pipelines' templates and cuts, retraced.

Every function takes a pipeline, the text of a row, `length` (max_sequence_length) and `heard`, how many
tokens of the row the denoiser hears, and returns one interval of the text per token, None for tokens
that stand for no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any

from dfprompt.conditioning.tokens import Offsets
from dfprompt.errors import UnsupportedPipelineError
from dfprompt.excerpt import quote

Places = list[Offsets | None]
_MARK = "\N{OBJECT REPLACEMENT CHARACTER}dfprompt\N{OBJECT REPLACEMENT CHARACTER}"


def z_image_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Z-Image: a chat turn with thinking, cut at `length`; padding is taken out again."""
    offsets = _tokenize_chat(pipe.tokenizer, text, length, enable_thinking=True)
    return offsets[:heard]


def klein_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """FLUX.2 klein: a chat turn without thinking, padded to `length`."""
    return _tokenize_chat(pipe.tokenizer, text, length, enable_thinking=False, padding="max_length")


def flux2_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """FLUX.2 dev: a system and a user turn through the processor's template, padded to `length`."""
    from diffusers.pipelines.flux2.pipeline_flux2 import format_input

    def render(words: str) -> str:
        (messages,) = format_input(prompts=[words], system_message=pipe.system_message)
        return str(pipe.tokenizer.apply_chat_template(messages, add_generation_prompt=False, tokenize=False))

    tokenizer = getattr(pipe.tokenizer, "tokenizer", pipe.tokenizer)
    begins = bool(tokenizer.bos_token) and render(_MARK).startswith(tokenizer.bos_token)
    return _tokenize(tokenizer, render, text, length, padding="max_length", add_special_tokens=not begins)


def krea2_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Krea 2: a template whose beginning is cut off and whose end comes behind the padding."""
    dropped, ending = pipe.prompt_template_encode_start_idx, pipe.prompt_template_encode_num_suffix_tokens
    room = length + dropped - ending
    prefix = pipe.prompt_template_encode_prefix
    offsets = _tokenize(pipe.tokenizer, lambda words: prefix + words, text, room, padding="max_length")
    return [*offsets[dropped:], *[None] * ending]


def t5_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Chroma: the text itself, padded to `length`."""
    return _tokenize(pipe.tokenizer, str, text, length, padding="max_length")


def clip_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Stable Diffusion 1, 2 and XL: CLIP's one window of 77 tokens."""
    tokenizer = getattr(pipe, "tokenizer", None) or pipe.tokenizer_2
    if hasattr(pipe, "maybe_convert_prompt") and pipe.maybe_convert_prompt(text, tokenizer) != text:
        raise UnsupportedPipelineError(
            f"a textual inversion in {quote(text)} is several tokens, so its weights could not be placed; "
            "leave the weights out"
        )
    return _tokenize(tokenizer, str, text, tokenizer.model_max_length, padding="max_length")


def flux_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """FLUX.1: T5's window, padded to `length`."""
    return _tokenize(pipe.tokenizer_2, str, text, length, padding="max_length")


def sd3_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Stable Diffusion 3: the window of both CLIPs, then T5's, padded to `length`."""
    own = clip_places(pipe, text, length, heard)
    if pipe.text_encoder_3 is None:
        return [*own, *[None] * (heard - len(own))]
    return [*own, *_tokenize(pipe.tokenizer_3, str, text, length, padding="max_length")]


def qwen_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Qwen-Image: a template whose beginning is cut off; pictures may stand before the words."""
    offsets = _tokenize(pipe.tokenizer, pipe.prompt_template_encode.format, text, 10 * length)
    if heard >= length:
        raise UnsupportedPipelineError(
            f"{quote(text)} fills the window of {length} tokens, so its weights could not be placed; "
            "shorten it, or leave the weights out"
        )
    # A picture is many tokens there and one or none here, so places are counted from the end.
    return [*[None] * (heard - len(offsets)), *offsets[-heard:]]


def wan_places(pipe: Any, text: str, length: int, heard: int) -> Places:
    """Wan: the text after the pipeline's cleaning, padded to `length`."""
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    cleaned = prompt_clean(text)
    offsets = _tokenize(pipe.tokenizer, str, cleaned, length, padding="max_length")
    return _trace_back(offsets, cleaned, text)


def _tokenize_chat(
    tokenizer: Any, text: str, length: int, *, enable_thinking: bool, **options: Any
) -> Places:
    def render(words: str) -> str:
        rendered: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": words}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=enable_thinking,
        )
        return rendered

    return _tokenize(tokenizer, render, text, length, **options)


def _tokenize(tokenizer: Any, render: Callable[[str], str], text: str, length: int, **options: Any) -> Places:
    """Tokenise what `render` makes of a text as the pipelines do; return the places in the text."""
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedPipelineError(
            f"{type(tokenizer).__name__} gives no character offsets, so weights could not be placed; "
            "load the pipeline with its fast tokenizer (the one stored in tokenizer.json)"
        )
    rendered, before = render(text), render(_MARK).index(_MARK)
    stripped = len(text) - len(text.lstrip())
    skipped = 0 if rendered.startswith(text, before) else stripped
    if not rendered.startswith(text[skipped:].rstrip(), before):
        raise UnsupportedPipelineError(
            f"the template of {type(tokenizer).__name__} rewrites {quote(text)}, so its weights could not be "
            "placed; leave the weights out"
        )
    encoded = tokenizer(rendered, truncation=True, max_length=length, return_offsets_mapping=True, **options)
    offsets = [(start - before + skipped, end - before + skipped) for start, end in encoded["offset_mapping"]]
    behind = [not any(pair) for pair in encoded["offset_mapping"]]  # padding and added special tokens
    return [
        None if nothing else _within(place, len(text)) for place, nothing in zip(offsets, behind, strict=True)
    ]


def _within(place: Offsets, length: int) -> Offsets | None:
    start, end = max(0, place[0]), min(length, place[1])
    return (start, end) if start < end else None


def _trace_back(places: Sequence[Offsets | None], cleaned: str, text: str) -> Places:
    """Turn places in a cleaned text into places in the text it was made of."""
    if cleaned == text:
        return list(places)
    origin: list[Offsets] = []
    for kind, start, end, first, last in SequenceMatcher(None, text, cleaned, autojunk=False).get_opcodes():
        if kind == "equal":
            origin += [(at, at + 1) for at in range(start, end)]
        else:  # what became of these characters stands for all of them
            origin += [(start, end)] * (last - first)
    return [
        None if place is None else (origin[place[0]][0], max(origin[place[0]][1], origin[place[1] - 1][1]))
        for place in places
    ]
