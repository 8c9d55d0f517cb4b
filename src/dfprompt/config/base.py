"""The base of every configuration: frozen, closed, each field documented in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen group of settings; write one line of documentation under each field.

    >>> class Render(Config):
    ...     steps: int = 10
    >>> Render(steps=20).steps
    20
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @classmethod
    def refuse_in_file(cls, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield what a file must not say, a line each: files come from anywhere, what is typed does not."""
        for name, field in cls.model_fields.items():
            kind, inner = field.annotation, values.get(name)
            if isinstance(kind, type) and issubclass(kind, Config) and isinstance(inner, Mapping):
                yield from (f"{name}.{line}" for line in kind.refuse_in_file(inner))


def iter_config_classes(root: type[Config] = Config) -> Iterator[type[Config]]:
    """Every configuration class defined so far, subclasses of subclasses included."""
    for child in root.__subclasses__():
        yield child
        yield from iter_config_classes(child)


def undocumented_fields(config: type[Config]) -> tuple[str, ...]:
    """The fields of one class that lack their line of documentation, or have more than one line."""
    return tuple(
        name
        for name, field in config.model_fields.items()
        if not field.description or "\n" in field.description.strip()
    )


def describe_fields(config: type[Config], prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Rows (key, type, default, meaning) of a configuration, nested groups flattened with dots.

    >>> class Render(Config):
    ...     steps: int = 10
    >>> describe_fields(Render)
    [('steps', 'int', '10', '')]
    """
    rows: list[tuple[str, str, str, str]] = []
    for name, field in config.model_fields.items():
        key, kind = prefix + name, field.annotation
        if isinstance(kind, type) and issubclass(kind, Config):
            rows += describe_fields(kind, key + ".")
            continue
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        type_name = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        rows.append((key, type_name, default, field.description or ""))
    return rows


def _shown(default: Any) -> str:
    return "none" if default is None else str(default)
