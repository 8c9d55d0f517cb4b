"""DF-Prompts in ComfyUI: words that know when and how strongly to act, as conditioning on exact steps."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
