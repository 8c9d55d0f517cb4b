"""A drawing setting is written down once: a field of the request is option, keyword and recipe key."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = "How much the pictures sparkle, in percent."
FIELD = f'''    sparkle: Annotated[int | None, Flag(metavar="PERCENT")] = Field(default=None, ge=0, le=100)
    """{LINE}"""
'''
CHECK = f"""
import inspect, runpy, sys
from pathlib import Path
from dfprompt.config import load_config, save_resolved
from dfprompt.errors import ConfigError
from dfprompt.training.rl_settings import PpoSettings
from dfprompt.requests.render import RenderRequest
from dfprompt.api.gallery import draw_texts
recipe = Path("recipe.toml"); recipe.write_text("[pictures]\\nsparkle = 7\\n")
settings = load_config(PpoSettings, recipe)
assert settings.pictures.sparkle == 7
save_resolved(settings, "saved.toml")
assert "sparkle = 7" in Path("saved.toml").read_text()
assert load_config(PpoSettings, "saved.toml") == settings
assert "sparkle" in inspect.signature(draw_texts).parameters
assert RenderRequest(sparkle=3).sparkle == 3
page = runpy.run_path(sys.argv[1])["page"]()
assert "| `pictures.sparkle` | int | - | {LINE} |" in page, page
try:
    draw_texts(["a cat"], sparkle=101)
except ConfigError as error:
    assert "sparkle" in str(error)
else:
    raise AssertionError("101 percent were taken")
"""


@pytest.fixture(scope="module")
def changed_package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a copy of the package, of links, in which the render request has one field more."""
    spec = importlib.util.find_spec("dfprompt")
    assert spec is not None
    assert spec.origin is not None
    package, place = Path(spec.origin).parent, tmp_path_factory.mktemp("changed") / "src"
    copy = place / "dfprompt"
    (copy / "requests").mkdir(parents=True)
    for folder, target in ((package, copy), (package / "requests", copy / "requests")):
        for entry in folder.iterdir():
            if entry.name not in ("requests", "render.py", "__pycache__"):
                (target / entry.name).symlink_to(entry)
    source = (package / "requests" / "render.py").read_text(encoding="utf-8")
    start = '    pipeline: Annotated[Any, Flag(metavar="X", kind=str)] = "mini"\n'
    assert source.count(start) == 1
    (copy / "requests" / "render.py").write_text(source.replace(start, FIELD + start), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(place), "COLUMNS": "100"}


def test_a_field_of_the_render_request_is_everywhere(changed_package: dict[str, str], tmp_path: Path) -> None:
    writer = str(ROOT / ".ci" / "write_settings_page.py")
    ran = subprocess.run(
        [sys.executable, "-c", CHECK, writer],
        cwd=tmp_path,
        env=changed_package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "command",
    [["generate"], ["compare"], ["tune"], ["evaluate"], ["ablate", "range"], ["calibrate"]],
    ids=" ".join,
)
@pytest.mark.few("generate", "ablate range")
def test_it_is_an_option_of_every_command_that_draws(
    changed_package: dict[str, str], command: list[str]
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "dfprompt.cli.main", *command, "--help"],
        env=changed_package,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--sparkle PERCENT" in ran.stdout
    assert LINE in " ".join(ran.stdout.split())
