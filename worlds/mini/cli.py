"""The commands of the mini world's factory: build, check, measure and show the embedded world."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from dfprompt.cli import console
from dfprompt.errors import InputError
from dfprompt.sources import check_device
from dfprompt.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

app = typer.Typer(
    name="worlds.mini",
    help="The mini world: a small text-to-image world trained by dfprompt itself, which runs anywhere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_WEIGHTS = typer.Option(
    None, "--weights", metavar="DIR", help="A built world's weights; default: the packaged ones."
)
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("build")
def build(
    stage: list[str] = typer.Option(
        ["all"],
        "--stage",
        metavar="S",
        help="render, vae, decoder, text, unet, clip, judge, taste, lm or all; may be repeated.",
    ),
    output: Path = typer.Option(Path("mini-build"), "--output", metavar="DIR", help="Where the build lives."),
    seed: int = typer.Option(1, "--seed", metavar="S", help="The one seed everything is drawn from."),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    budget: float | None = typer.Option(
        None,
        "--budget",
        metavar="MIN",
        min=0.01,
        help="Fit the trainings into this many minutes of two CPU cores.",
    ),
    processes: int = typer.Option(
        1, "--processes", metavar="N", min=1, help="Processes that render pictures."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with a build that was stopped or killed."),
    train_on: bool = typer.Option(
        False, "--continue", help="Begin the autoencoder and the denoiser at the installed weights."
    ),
    start_from: Path | None = typer.Option(
        None, "--start-from", metavar="DIR", help="The same, at the weights of another build."
    ),
    install: bool = typer.Option(False, "--install", help='Put the result where "mini" is found.'),
) -> None:
    """Train the mini world from one seed: hours on a CPU, minutes on a GPU; resumable after a kill.

    \b
    Examples:
      python -m worlds.mini build --budget 150 --install
      python -m worlds.mini build --resume
      python -m worlds.mini build --stage vae --stage text --output my-world --device cuda
    """
    from dfprompt.api.world import mini_folder
    from dfprompt.sources import pick_device
    from worlds.mini.jobs import build_mini, install_mini

    if train_on and start_from:
        raise InputError("--continue starts from the installed weights; leave out it or --start-from")
    check_device(device)
    stages = () if stage == ["all"] else tuple(stage)
    with _Bars() as bars:
        weights = build_mini(
            output,
            stages=stages,
            seed=seed,
            device=str(pick_device(device)),
            minutes=budget,
            resume=resume,
            processes=processes,
            start_from=mini_folder() if train_on else start_from,
            report=bars.show,
        )
    console.write(str(install_mini(weights) if install else weights))


@app.command("check")
def check(
    weights: Path | None = _WEIGHTS,
    images: int = typer.Option(192, "--images", metavar="N", min=32, help="Pictures per quality, about."),
    card: bool = typer.Option(
        False, "--card", help="Write the model card and its samples into --weights DIR."
    ),
    headroom_file: Path | None = typer.Option(
        None, "--headroom", metavar="FILE", help="A headroom-*.json to put into the card."
    ),
    as_json: bool = _JSON,
) -> None:
    """Measure the built world: what the judges read, reconstruction, retrieval, tastes, seconds per picture.

    \b
    Examples:
      python -m worlds.mini check
      python -m worlds.mini check --weights mini-build/weights --images 400 --json
      python -m worlds.mini check --weights mini-build/weights --card --headroom headroom/headroom-reward.json
    """
    from worlds.mini.jobs import check_mini, read_headroom, write_mini_card

    if card and weights is None:
        raise InputError("--card writes beside the weights; say which with --weights DIR")
    headroom = read_headroom(headroom_file) if headroom_file else None  # before minutes of measuring
    rows = check_mini(weights, images=images)
    if card and weights is not None:
        console.note(f"the card: {write_mini_card(weights, rows, headroom=headroom)}")
    if as_json:
        console.write_json({"checks": rows})
        return
    table = Table("quality", "measured", "goal", "reached", "measured on")
    for row in rows:
        reached = "yes" if row["reached"] else "no"
        table.add(row["name"], row["measured"], row["goal"], reached, row["measured_on"])
    console.rich_console().print(table.rich())


@app.command("show")
def show(
    output: Path = typer.Option(..., "--output", metavar="FILE", help="The PNG to write."),
    seed: int = typer.Option(1, "--seed", metavar="S", help="Which scenes, and the seed of the pictures."),
    weights: Path | None = _WEIGHTS,
    force: bool = typer.Option(False, "--force", help="Overwrite FILE."),
) -> None:
    """Draw a contact sheet: renders, reconstructions, generated pictures, every modifier, ranges and weights.

    \b
    Examples:
      python -m worlds.mini show --output mini.png
      python -m worlds.mini show --seed 7 --output other.png --force
    """
    from worlds.mini.jobs import show_mini

    if output.exists() and not force:
        raise InputError(f"{output} exists already; choose another name or add --force")
    console.write(str(show_mini(output, weights=weights, seed=seed)))


@app.command("headroom")
def headroom(
    output: Path = typer.Option(..., "--output", metavar="DIR", help="Where pictures, tables and plot go."),
    per_scene: int = typer.Option(20, "--per-scene", metavar="K", min=2, help="Prompts per scene."),
    modifier: list[str] = typer.Option([], "--modifier", metavar="M", help="Only these; may be repeated."),
    by: str = typer.Option("taste", "--by", help="taste (the raters' formula) or reward (what was learnt)."),
    weights: Path | None = _WEIGHTS,
    as_json: bool = _JSON,
) -> None:
    """Measure what choosing effect ranges and weights is worth: all fifteen pairs of every modifier.

    Pictures are kept in DIR, so that a stopped run goes on and a second reading costs nothing.

    \b
    Examples:
      python -m worlds.mini headroom --output headroom
      python -m worlds.mini headroom --output headroom --by reward --json
    """
    from worlds.mini.headroom_report import measure_mini_headroom

    if by not in ("taste", "reward"):
        raise InputError(f"--by {by} is neither taste nor reward")
    with _Bars() as bars:
        result = measure_mini_headroom(
            output,
            weights=weights,
            per_scene=per_scene,
            modifiers=modifier,
            by=by,  # type: ignore[arg-type]
            report=lambda name, done, total: bars.show("modifiers", done, total, {}),
        )
    if as_json:
        console.write_json(result)
        return
    table = Table("step", "gain", "95 % interval", "subject kept against plain")
    for title, key, arm in (
        ("plain to the default pair (full, 1)", "plain_to_default", "default"),
        ("default to the best single pair", "default_to_single", "single"),
        ("single to each modifier's best pair", "single_to_modifier", "modifier"),
        ("modifier's to each scene's best pair", "modifier_to_scene", "scene"),
    ):
        gain, kept = result[key], result["fidelity"][arm]
        table.add(
            title,
            f"{gain['mean']:+.3f}",
            f"{gain['low']:+.3f} to {gain['high']:+.3f}",
            f"{kept['mean']:+.1f} ({kept['low']:+.1f} to {kept['high']:+.1f}) points",
        )
    console.rich_console().print(table.rich())
    best = Table("pleasing modifier", "its best pair")
    for name in result["pleasing"]:
        best.add(name, result["best_pairs"][name])
    console.rich_console().print(best.rich())


class _Bars:
    """One progress bar per stage on stderr, with the loss and the speed beside it."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
        )
        self.progress.start()
        return self

    def show(self, stage: str, step: int, steps: int, row: dict[str, float]) -> None:
        """Move a stage's bar."""
        assert self.progress is not None
        figures = "  ".join(f"{k} {v:.3g}" for k, v in row.items() if k != "step")
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=steps, figures=figures)
        self.progress.update(self.tasks[stage], completed=step, figures=figures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress is not None:
            self.progress.stop()
