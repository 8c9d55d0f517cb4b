"""The commands of the stage 2 experiments: every arm, or every part of the reward, from one command each."""

from __future__ import annotations

import typer

from experiments.stage_two import arms_command, reward_command

app = typer.Typer(
    name="experiments.stage_two",
    help="Stage 2 as an experiment: many trainings and one evaluation, from one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
arms_command.register(app)
reward_command.register(app)
