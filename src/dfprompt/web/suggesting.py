"""What a policy would add to a prompt: rewrites, and their modifiers one by one."""

from __future__ import annotations

from typing import Any

from dfprompt.api.policies import optimize_prompt
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy
from dfprompt.policy.bans import Bans
from dfprompt.policy.settings import SamplingSettings
from dfprompt.prompt import DFPrompt
from dfprompt.requests.write import OptimizeRequest


def suggest(
    text: str, prompt: DFPrompt, policy: Policy, request: OptimizeRequest, pipeline: ImagePipeline
) -> dict[str, Any]:
    """Return up to `request.candidates` rewrites, the likeliest first, each with its modifiers.

    `prompt` is what `text` means; what is added stands behind the text as it is written.
    """
    sampling = SamplingSettings(max_modifiers=request.max_modifiers, bans=Bans(words=request.ban))
    found = optimize_prompt(
        prompt,
        policy,
        candidates=request.candidates,
        seed=request.seed,
        sampling=sampling,
        pipeline=pipeline.pipe,
    )
    return {
        "policy": policy.name,
        "for": text,
        "candidates": [
            {
                "text": behind(text, str(prompt), str(rewrite.prompt)),
                "modifiers": [{"words": span.text, "span": str(span)} for span in rewrite.modifiers],
                "dropped": [{"words": words, "reason": reason} for words, reason in rewrite.dropped],
            }
            for rewrite in found
        ],
    }


def behind(text: str, own: str, rewritten: str) -> str:
    """Return what was added to a prompt behind the text as its writer wrote it; `own` is how we write it.

    >>> behind("a [cat: late]", "a [cat:late]", "a [cat:late], [snow:early]")
    'a [cat: late], [snow:early]'
    """
    return text + rewritten.removeprefix(own) if rewritten.startswith(own) else rewritten
