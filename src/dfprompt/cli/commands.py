"""Every command with its module and what it is for; a module is imported when its command is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from dfprompt.cli import moved
from dfprompt.cli.defaults import apply_defaults


class Listed(NamedTuple):
    """A line of the help: the group it stands in, the module with its `register`, what the command does."""

    group: str
    module: str
    purpose: str


COMMANDS = {
    "start": Listed("Begin", "start", "Draw first pictures on your model: four questions, or none."),
    "optimize": Listed(
        "Write", "optimize", "Append modifiers to plain words, each with a range and a weight."
    ),
    "parse": Listed("Write", "language", "Show what each part of a DF-Prompt says, or where it is wrong."),
    "plan": Listed("Write", "language", "Show which words act at which denoising steps."),
    "convert": Listed("Write", "convert", "Translate a prompt to and from the syntax of other tools."),
    "generate": Listed("Draw", "generate", "Draw DF-Prompts with any pipeline."),
    "compare": Listed("Draw", "compare", "Draw plain words and rewrites of them from the same seeds."),
    "studio": Listed("Draw", "studio", "Write, draw and compare in a browser, on this machine alone."),
    "serve": Listed("Draw", "serve", "Draw for other programs, in the form image clients have in common."),
    "tune": Listed("Draw", "tune", "Search the best words, ranges and weights for one prompt."),
    "inspect": Listed("Draw", "inspect", "Show how a picture was drawn; draw it again."),
    "capabilities": Listed("Draw", "capabilities", "Say what each family of pipelines can do."),
    "curate": Listed("Learn", "curate", "Clean prompts and keep those whose modifiers help."),
    "train": Listed("Learn", "train", "Train a policy: on prompts first, then on rewards."),
    "learn": Listed("Learn", "learn", "Make a policy of what your searches have drawn."),
    "taste": Listed("Learn", "taste", "Learn your own taste from choices between two pictures."),
    "plot": Listed("Learn", "plot", "Draw the learning curves of a training."),
    "restrain": Listed("Learn", "restrain", "Measure what a policy's restraint costs and brings."),
    "calibrate": Listed("Learn", "score", "Set a reward's thresholds from plain pictures."),
    "score": Listed("Measure", "score", "Score pictures against the words they answer."),
    "serve-reward": Listed("Measure", "serve_reward", "Serve a reward to other machines and environments."),
    "judge-check": Listed("Measure", "judge_check", "Say how often judges agree with people's choices."),
    "study": Listed("Measure", "study", "Let people compare methods without knowing which is which."),
    "evaluate": Listed("Measure", "evaluate", "Compare methods on many prompts, with intervals."),
    "merge": Listed("Measure", "merge", "Put the parts of an evaluation or curation together."),
    "ablate": Listed("Measure", "ablate", "Find out when, how strongly and which words act."),
}
_MOVED = {"mini": ("dfprompt mini", "worlds.mini")}
_STYLE: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}


_UsageError: Any = typer.BadParameter.__base__  # of click, or of the copy of it that typer has
QUOTES = 'put quotes around one prompt: "a red house"'


class _Commands(MutableMapping[str, Any]):
    """Command objects by name, made of their modules when they are first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in COMMANDS and name not in _MOVED:
                raise KeyError(name)
            self._made |= _make(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _make(name: str) -> dict[str, Any]:
    made = _read(name)
    if name in COMMANDS:
        for each, command in made.items():
            apply_defaults(command, (each,), _read_all)
    return made


def _read(name: str) -> dict[str, Any]:
    app = typer.Typer(**_STYLE)
    app.callback()(_nothing)  # a group even of a single command
    if name in _MOVED:
        moved.register(app, name, *_MOVED[name])
    else:
        importlib.import_module(f"dfprompt.cli.{COMMANDS[name].module}").register(app)
    made: Any = typer.main.get_command(app)
    return dict(made.commands)


def _read_all() -> dict[str, Any]:
    return {each: command for name in COMMANDS for each, command in _read(name).items()}


def _takes_a_prompt(context: Any) -> bool:
    arguments = (each for each in context.command.params if each.param_type_name == "argument")
    return any("TEXT" in (each.metavar or "") for each in arguments)


def _nothing() -> None:
    """Do nothing."""


class WholeGroup(TyperGroup):
    """A group whose help says of each command what it does, in a whole sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, no description cut short."""
        shown = [(name, each) for name, each in self.commands.items() if not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=1000)) for name, each in shown])


class CommandGroup(TyperGroup):
    """The group of all commands; its help is written without importing any of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()

    def invoke(self, ctx: Any) -> Any:
        """Run a command; words beside its prompt are most often a prompt without its quotes."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            if error.message.startswith("Got unexpected extra argument") and _takes_a_prompt(error.ctx):
                error.message += f"; {QUOTES}"
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by what one wants to do, no description cut short."""
        width = max(map(len, COMMANDS))
        for group in dict.fromkeys(each.group for each in COMMANDS.values()):
            rows = [
                (f"{name:{width}}", each.purpose) for name, each in COMMANDS.items() if each.group == group
            ]
            with formatter.section(group):
                formatter.write_dl(rows)
