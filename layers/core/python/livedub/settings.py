"""What settings classes have in common: how their variables are named and shown in `.env.example`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from livedub.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its name, default as it would be written, and meaning."""

    name: str
    default: str
    description: str


def variables(settings: type[BaseSettings]) -> Iterator[Variable]:
    """Every variable that `settings` reads, under the first name it listens to."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    for field_name, field in settings.model_fields.items():
        yield Variable(_name(prefix, field_name, field), _written(field), field.description or "")


def fields_of(settings: type[BaseSettings], values: Mapping[str, str]) -> dict[str, str]:
    """Those of `values`, by variable, that `settings` reads: by field, under whichever name it listens to."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    found: dict[str, str] = {}
    for field_name, field in settings.model_fields.items():
        for name in _names(prefix, field_name, field):
            if name in values:
                found[field_name] = values[name]
                break
    return found


def render_env_example(groups: Sequence[tuple[str, type[BaseSettings]]]) -> str:
    """The text of `.env.example`: each group's title, then each variable with its meaning and default."""
    blocks: list[str] = [
        "# Every variable livedub reads, with its default. Regenerate with `make env-example`.\n"
    ]
    for title, settings in groups:
        blocks.append(f"\n# --- {title} ---\n")
        for variable in variables(settings):
            comment = textwrap.fill(variable.description, 118, initial_indent="# ", subsequent_indent="# ")
            blocks.append(f"\n{comment}\n{variable.name}={variable.default}\n")
    return "".join(blocks)


def explain(error: ValidationError, settings: type[BaseSettings]) -> ConfigurationError:
    """One readable error for all that is wrong with the environment: each variable, its problem, its meaning."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    problems: list[str] = []
    for item in error.errors():
        message = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            problems.append(message)
            continue
        location = str(item["loc"][0])
        field = settings.model_fields.get(location) or settings.model_fields.get(
            location.lower().removeprefix(prefix.lower())
        )
        name = (
            _name(prefix, location, field)
            if location in settings.model_fields and field
            else location.upper()
        )
        problems.append(
            f"{name}: {message}" + (f" ({field.description})" if field and field.description else "")
        )
    return ConfigurationError("; ".join(problems), remedy="See .env.example.")


def _name(prefix: str, field_name: str, field: FieldInfo) -> str:
    return _names(prefix, field_name, field)[0]


def _names(prefix: str, field_name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice).upper() for choice in alias.choices]
    if isinstance(alias, str):
        return [alias.upper()]
    return [f"{prefix}{field_name}".upper()]


def _written(field: FieldInfo) -> str:
    default: Any = None if field.is_required() else field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, bool):
        return str(default).lower()
    return str(default)
