"""Whose permission a model needs: licences by model, and the gate that non-commercial ones must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_handler import models
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence's name, and whether it lets a business use the model."""

    name: str
    commercial_use: bool = True


OPUS_MT = Licence("CC-BY-4.0")
M2M100 = Licence("MIT")
NLLB = Licence("CC-BY-NC-4.0", commercial_use=False)
XTTS = Licence("Coqui Public Model License 1.0 (CPML)", commercial_use=False)
UNKNOWN = Licence("unknown")


def licence_of(model: str, otherwise: Licence) -> Licence:
    """What the registry says of `model`; `otherwise` for a folder that is not from there.

    A family that forbids commercial use forbids it whatever its folder is called.
    """
    known = models.registry().models.get(model)
    if known is None or not otherwise.commercial_use:
        return otherwise
    return Licence(known.licence, commercial_use=known.commercial_use)


def permit(model: str, licence: Licence, settings: StsSettings) -> None:
    """Let `model` pass or not.

    Raises:
        ConfigurationError: its licence forbids commercial use and `STS_ALLOW_NONCOMMERCIAL` does not take that on.
    """
    if licence.commercial_use or settings.allow_noncommercial:
        return
    raise ConfigurationError(
        f"{model}: its licence ({licence.name}) forbids commercial use.",
        remedy="Set STS_ALLOW_NONCOMMERCIAL=1 if yours is not commercial, or choose another model.",
    )


def of_all(found: Sequence[Licence]) -> Licence:
    """One for an engine that holds several models: every name once, commercial only where all are."""
    names = list(dict.fromkeys(licence.name for licence in found))
    return Licence(", ".join(names) or UNKNOWN.name, all(licence.commercial_use for licence in found))
