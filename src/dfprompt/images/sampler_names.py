"""Samplers by the names of AUTOMATIC1111 and Forge, of ComfyUI, and by this project's own."""

from __future__ import annotations

from typing import NamedTuple


class SamplerName(NamedTuple):
    """A sampler and the spacing of its steps, by A1111 1.10's names; None where the sampler has its own."""

    sampler: str
    spacing: str | None = None


_A1111 = {
    "ddim": SamplerName("DDIM"),
    "ddpm": SamplerName("DDPM"),
    "euler": SamplerName("Euler", "Uniform"),
    "euler_karras": SamplerName("Euler", "Karras"),
    "euler_a": SamplerName("Euler a", "Uniform"),
    "heun": SamplerName("Heun", "Uniform"),
    "dpm2": SamplerName("DPM2", "Uniform"),
    "dpm2_a": SamplerName("DPM2 a", "Uniform"),
    "dpmpp_2m": SamplerName("DPM++ 2M", "Uniform"),
    "dpmpp_2m_karras": SamplerName("DPM++ 2M", "Karras"),
    "dpmpp_2m_sde": SamplerName("DPM++ 2M SDE", "Uniform"),
    "dpmpp_2m_sde_karras": SamplerName("DPM++ 2M SDE", "Karras"),
    "unipc": SamplerName("UniPC"),
    "pndm": SamplerName("PLMS"),
    "lms": SamplerName("LMS", "Uniform"),
    "lcm": SamplerName("LCM"),
    "flow_euler": SamplerName("Euler", "Simple"),
    "flow_heun": SamplerName("Heun", "Simple"),
}
_CLASSES = {  # what a pipeline's own scheduler is called in a recipe
    "ddim": "ddim",
    "ddpm": "ddpm",
    "eulerdiscrete": "euler",
    "eulerancestraldiscrete": "euler_a",
    "heundiscrete": "heun",
    "kdpm2discrete": "dpm2",
    "kdpm2ancestraldiscrete": "dpm2_a",
    "dpmsolvermultistep": "dpmpp_2m",
    "unipcmultistep": "unipc",
    "pndm": "pndm",
    "lmsdiscrete": "lms",
    "lcm": "lcm",
    "flowmatcheulerdiscrete": "flow_euler",
    "flowmatchheundiscrete": "flow_heun",
}
_COMFYUI = {
    "ddim": "ddim",
    "ddpm": "ddpm",
    "euler": "euler",
    "euler_ancestral": "euler_a",
    "heun": "heun",
    "dpm_2": "dpm2",
    "dpm_2_ancestral": "dpm2_a",
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "uni_pc": "unipc",
    "lms": "lms",
    "lcm": "lcm",
}


def name_for_a1111(scheduler: str) -> SamplerName | None:
    """Return A1111's names for a scheduler of ours, or for a class of diffusers; None where it has none.

    >>> name_for_a1111("dpmpp_2m_karras"), name_for_a1111("UniPCMultistepScheduler").sampler
    (SamplerName(sampler='DPM++ 2M', spacing='Karras'), 'UniPC')
    """
    plain = scheduler.lower().removesuffix("scheduler")
    return _A1111.get(scheduler) or _A1111.get(_CLASSES.get(plain, ""))


def name_from_a1111(sampler: str, spacing: str | None) -> str | None:
    """Return our name for a sampler of A1111's, `DPM++ 2M Karras` in one word as well; None for one we lack.

    >>> name_from_a1111("DPM++ 2M", "Karras"), name_from_a1111("DPM++ 2M Karras", None)
    ('dpmpp_2m_karras', 'dpmpp_2m_karras')
    """
    if spacing is None and sampler.endswith(" Karras"):
        sampler, spacing = sampler.removesuffix(" Karras"), "Karras"
    exact = next((ours for ours, name in _A1111.items() if name == (sampler, spacing)), None)
    if exact is not None or spacing == "Karras":
        return exact
    return next((ours for ours, name in _A1111.items() if name.sampler == sampler), None)


def name_from_comfyui(sampler: str, scheduler: str | None) -> str | None:
    """Return our name for a sampler and a scheduler of ComfyUI's; None for what we lack.

    >>> name_from_comfyui("dpmpp_2m", "karras")
    'dpmpp_2m_karras'
    """
    ours = _COMFYUI.get(sampler)
    if scheduler != "karras" or ours is None:
        return ours
    return f"{ours}_karras" if f"{ours}_karras" in _A1111 else None
