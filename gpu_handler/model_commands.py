"""What `python -m gpu_handler models` does: list, fetch, verify, and the licences with what they ask."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Sequence

from gpu_handler.model_registry import Model, ModelRegistry, registry
from gpu_handler.models import fetch, is_complete, verify
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError

ACTIONS = ("list", "fetch", "verify", "licences")

Say = Callable[[str], None]


def run_models_command(
    action: str, names: Sequence[str], settings: StsSettings, *, pin: bool = False, say: Say = print
) -> None:
    """Do `action`; without names `fetch` and `verify` mean the profile's models, `list` and `licences` all of them.

    Raises:
        ConfigurationError: a name is unknown, a licence is not accepted, or a model has no sha256 yet.
        MissingPrerequisiteError: something cannot be fetched, is missing or damaged.
    """
    known = registry()
    chosen = tuple(names) or _default_names(action, settings, known)
    entries = {name: known.model(name) for name in chosen}
    if action == "fetch":
        _require_accepted_licences(entries, settings)
        fetch(chosen, settings.model_dir, pin=pin, say=say)
    elif action == "verify":
        for name in chosen:
            say(f"{name}: every file is as registered, in {verify(name, settings.model_dir)}")
    elif action == "list":
        for line in list_lines(entries, settings):
            say(line)
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for line in licence_lines(entries, width):
            say(line)


def _default_names(action: str, settings: StsSettings, known: ModelRegistry) -> tuple[str, ...]:
    if action in ("fetch", "verify"):
        return known.of_profile(settings.profile)
    return tuple(sorted(known.models))


def _require_accepted_licences(entries: dict[str, Model], settings: StsSettings) -> None:
    refused = [f"{name} ({model.licence})" for name, model in entries.items() if not model.commercial_use]
    if refused and not settings.allow_noncommercial:
        raise ConfigurationError(
            f"the licence of {', '.join(refused)} forbids commercial use.",
            remedy="Read `livedub models licences`; if that is your case, set STS_ALLOW_NONCOMMERCIAL=1.",
        )
    if any(model.licence == "CPML" for model in entries.values()) and not settings.coqui_tos_agreed:
        raise ConfigurationError(
            "Coqui's terms (CPML) are not accepted.",
            remedy="Read `livedub models licences xtts-v2`; to accept, set COQUI_TOS_AGREED=1.",
        )


def list_lines(entries: dict[str, Model], settings: StsSettings) -> list[str]:
    """One line per model: name, whether it is here, how its sha256 is known, size, profiles, licence, purpose."""
    width = max(map(len, entries), default=0)
    return [
        f"{name:<{width}}  {_state(name, model, settings):<8}  {model.checked:<9}  "
        f"{_megabytes(model):>8}  {','.join(model.profiles) or '-':<7}  {model.licence:<15}  {model.purpose} ({model.origin})"
        for name, model in entries.items()
    ]


def _state(name: str, model: Model, settings: StsSettings) -> str:
    return "present" if model.is_pinned and is_complete(name, settings.model_dir) else "absent"


def _megabytes(model: Model) -> str:
    return f"{model.size_bytes / 1e6:.0f} MB" if model.size_bytes else "? MB"


def licence_lines(entries: dict[str, Model], width: int) -> list[str]:
    """A table of licences: model, licence, commercial use, what it asks."""
    names = max((len(name) for name in entries), default=0)
    licences = max((len(model.licence) for model in entries.values()), default=0)
    rest = max(24, width - names - licences - len("commercial") - 6)
    lines = [f"{'model':<{names}}  {'licence':<{licences}}  commercial  what it asks"]
    for name, model in entries.items():
        asks = textwrap.wrap(model.obligations, rest)
        commercial = "yes" if model.commercial_use else "NO"
        lines.append(f"{name:<{names}}  {model.licence:<{licences}}  {commercial:<10}  {asks[0]}")
        lines += [" " * (names + licences + len("commercial") + 6) + more for more in asks[1:]]
    return lines
