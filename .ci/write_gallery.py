"""Draw docs/images/gallery/ and write docs/gallery.md: `write_gallery.py`.

What is shown is decided by a rule and not by eye: the first held-out prompts of the mini world by their own
order, each with the next of the styles below; the first two noises. `dfprompt compare --vary` draws all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
STYLES = ("watercolor", "oil painting", "golden hour", "vignette", "mist", "dramatic lighting")
HEAD = """# Gallery

The same words from the same two noises, five times: plain, and with a style all the time, early, late, and
late and gently. The bars say when words act, from noise (left) to image (right). The model is the
[mini world](mini-world.md) in the package: 64 x 64 pixels, made by this project.

Nothing was chosen by looking: these are the first prompts that the model was never trained on, by their own
order, each with the next style of a fixed list (`.ci/write_gallery.py`). Some styles hardly change these
pictures; that is shown too. How often late keeps a subject that all the time loses was counted on more pairs:
[why time matters](concepts.md).
"""


def shown() -> list[tuple[str, str]]:
    """Prompt and style of every picture."""
    from dfprompt.api.mini_evaluation import make_mini_prompts

    return list(zip([each.text for each in make_mini_prompts(len(STYLES))], STYLES, strict=True))


def slug(style: str) -> str:
    return style.replace(" ", "-")


def page() -> str:
    """The page."""
    parts = [HEAD]
    for prompt, style in shown():
        command = f'dfprompt compare "{prompt}" --vary "{style}" --reward none --seeds 2'
        picture = f"![{prompt}: {style} at five times](images/gallery/{slug(style)}.webp)"
        parts.append(f"## {style.capitalize()}: {prompt}\n\n{picture}\n\n```text\n{command}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Draw and write."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for prompt, style in shown():
            folder = Path(place) / slug(style)
            command = [
                sys.executable,
                "-m",
                "dfprompt",
                "compare",
                prompt,
                "--vary",
                style,
                "--reward",
                "none",
            ]
            subprocess.run([*command, "--seeds", "2", "--output", str(folder)], check=True)
            with Image.open(folder / "grid.png") as grid:
                half = grid.width // 2, grid.height // 2
                small = grid.convert("RGB").resize(half, Image.Resampling.LANCZOS)
            small.save(PICTURES / f"{slug(style)}.webp", quality=88, method=6)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
