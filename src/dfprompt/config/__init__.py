"""Configuration: frozen pydantic models, TOML recipes, `--set`, every problem named at once."""

from dfprompt.config.assignments import apply_assignments, parse_assignment
from dfprompt.config.base import Config, describe_fields, iter_config_classes, undocumented_fields
from dfprompt.config.problems import nearest
from dfprompt.config.provenance import collect_provenance, git_commit, save_resolved, write_recipe
from dfprompt.config.recipes import find_recipe, load_config, make_config, read_recipe
from dfprompt.config.tomltext import to_toml

__all__ = [
    "Config",
    "apply_assignments",
    "collect_provenance",
    "describe_fields",
    "find_recipe",
    "git_commit",
    "iter_config_classes",
    "load_config",
    "make_config",
    "nearest",
    "parse_assignment",
    "read_recipe",
    "save_resolved",
    "to_toml",
    "undocumented_fields",
    "write_recipe",
]
