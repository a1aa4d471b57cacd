"""Model weights as data: fetched by a command, cached in a folder that is safe to delete, checked by sha256 before use.

Layout of the folder (`STS_MODEL_DIR`): `<model>/` holds a model's files and a stamp; `.partial/<model>/` what an
interrupted download has so far; `.lock` serialises fetches. Each may be deleted at any time: the next fetch rebuilds it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from gpu_handler import model_registry
from gpu_handler.coqui_archive import fetch_from_coqui
from gpu_handler.file_hash import sha256_of
from gpu_handler.hub_client import downloaded_files, fetch_from_hub
from gpu_handler.model_packages import build_from_packages
from gpu_handler.model_registry import Model, ModelFile, Pin, is_commit, registry
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from livedub.file_lock import exclusive

__all__ = ["fetch", "is_complete", "registry", "verify"]

_SCRATCH_PREFIX = ".fetching-"
_PARTIAL = ".partial"
_STAMP_NAME = ".complete.json"
_LOCK_TIMEOUT_S = 5 * 3_600
_DISK_RESERVE_BYTES = 256 << 20

Say = Callable[[str], None]


def is_complete(name: str, folder: Path) -> bool:
    """Whether model `name` lies whole under `folder`, judged by stamp and file sizes (no hashing)."""
    model = registry().model(name)
    home = folder.expanduser() / name
    try:
        stamp = json.loads((home / _STAMP_NAME).read_text())
        return (
            model.is_pinned
            and stamp.get("digest") == model.digest
            and all((home / file.path).stat().st_size == file.size_bytes for file in model.files)
        )
    except (OSError, ValueError, AttributeError):
        return False


def fetch(names: Iterable[str], folder: Path, *, pin: bool = False, say: Say = print) -> None:
    """Make every named model lie under `folder`; quick when it already does.

    A model comes to its place whole, by one rename, so an interrupted fetch leaves either the old model or none; what
    a hub download has so far is kept and continued. With `pin` the size and sha256 of a model that has none yet are
    measured and written to `locks/models-hub.json`, for a person to review.

    Raises:
        ConfigurationError: a name is not in the registry, the lock does not pin one of its packages, or a model has no
            sha256 yet and `pin` is not asked for.
        MissingPrerequisiteError: something could not be fetched, or is not what was registered.
    """
    wanted = {name: registry().model(name) for name in names}
    folder = folder.expanduser()
    if not pin:
        _require_pins(wanted)
    if all(is_complete(name, folder) for name in wanted):
        for name in wanted:
            say(f"model {name}: present")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder):
        _clear_leftovers(folder)
        for name, model in wanted.items():
            if is_complete(name, folder) or _adopt(name, model, folder):
                say(f"model {name}: present")
                continue
            say(f"model {name}: fetching {model.size_bytes / 1e6:.0f} MB ({model.origin}; {model.licence})")
            _require_space(name, model, folder)
            with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=folder) as scratch:
                _bring(name, model, Path(scratch), folder, say)
            say(f"model {name}: ready in {folder / name}")


def verify(name: str, folder: Path) -> Path:
    """The folder of model `name`, after checking the sha256 of each of its files.

    Raises:
        ConfigurationError: nobody has recorded its sha256 yet.
        MissingPrerequisiteError: a file is missing or is not the registered one.
    """
    model = registry().model(name)
    _require_pins({name: model})
    home = folder.expanduser() / name
    for file in model.files:
        path = home / file.path
        if not path.is_file():
            raise MissingPrerequisiteError(
                f"model {name}: {path} is missing.", remedy=f"Run {_remedy(name, model)}."
            )
        if sha256_of(path) != file.sha256:
            raise MissingPrerequisiteError(
                f"model {name}: {path} is damaged (its sha256 is not the registered one).",
                remedy=f"Delete {home}, then run {_remedy(name, model)}.",
            )
    return home


def _remedy(name: str, model: Model) -> str:
    return "`make setup`" if "cpu" in model.profiles else f"`livedub models fetch {name}`"


def _require_pins(models: Mapping[str, Model]) -> None:
    unpinned = [name for name, model in models.items() if not model.is_pinned]
    if unpinned:
        raise ConfigurationError(
            f"nobody has recorded the sha256 of {', '.join(unpinned)} yet.",
            remedy=f"In a checkout run `livedub models fetch --pin {' '.join(unpinned)}`, review "
            "locks/models-hub.json and commit it.",
        )


def _require_space(name: str, model: Model, folder: Path) -> None:
    """Refuse before the download what would fill the disk after it; packages need their space twice."""
    needed = model.size_bytes * (2 if model.packages else 1) + _DISK_RESERVE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MissingPrerequisiteError(
            f"model {name} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free.",
            remedy="Free some, or set STS_MODEL_DIR to another disk.",
        )


def _adopt(name: str, model: Model, folder: Path) -> bool:
    """Stamp files that are the registered ones already, whatever put them there."""
    home = folder / name
    if not model.is_pinned or any(
        not (path := home / file.path).is_file()
        or path.stat().st_size != file.size_bytes
        or sha256_of(path) != file.sha256
        for file in model.files
    ):
        return False
    _stamp(home, model)
    return True


def _bring(name: str, model: Model, scratch: Path, folder: Path, say: Say) -> None:
    if model.packages:
        built = build_from_packages(name, model, scratch)
    else:
        built, model = _download(name, model, folder / _PARTIAL / name, scratch / "built", say)
    _stamp(built, model)
    home = folder / name
    if home.exists():
        home.rename(scratch / "replaced")
    built.rename(home)
    shutil.rmtree(folder / _PARTIAL / name, ignore_errors=True)


def _download(name: str, model: Model, partial: Path, built: Path, say: Say) -> tuple[Path, Model]:
    """What a hub or Coqui holds, checked, moved to `built`; and the model, now pinned."""
    files = partial / "files"
    commit = ""
    if model.hub is not None:
        patterns = tuple(file.path for file in model.files) or model.hub.include
        commit = fetch_from_hub(model.hub, patterns, files, size_bytes=model.size_bytes)
        if is_commit(model.hub.revision) and commit != model.hub.revision:
            raise MissingPrerequisiteError(
                f"model {name}: the hub answered with commit {commit}, not {model.hub.revision}.",
                remedy="Check HF_ENDPOINT.",
            )
    else:
        fetch_from_coqui(model.coqui, files)
    if model.is_pinned:
        _check(name, model, files)
    else:
        model = _pin(name, model, files, commit, say)
    for file in model.files:
        target = built / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        (files / file.path).replace(target)
    return built, model


def _check(name: str, model: Model, files: Path) -> None:
    for file in model.files:
        path = files / file.path
        if not path.is_file():
            raise MissingPrerequisiteError(
                f"model {name}: its source holds no {file.path}.", remedy="Check gpu_handler/models.json."
            )
        if sha256_of(path) != file.sha256:
            path.unlink()  # else the next fetch would continue from it
            raise MissingPrerequisiteError(
                f"model {name}: {file.path} as downloaded has another sha256 than the registered one.",
                remedy="Try again; if it stays so, what the source serves has changed and must not be used.",
            )


def _pin(name: str, model: Model, files: Path, commit: str, say: Say) -> Model:
    found = tuple(
        ModelFile(
            path=path.relative_to(files).as_posix(), size_bytes=path.stat().st_size, sha256=sha256_of(path)
        )
        for path in downloaded_files(files)
        if path.stat().st_size
    )
    if not found:
        raise MissingPrerequisiteError(
            f"model {name}: its source holds none of the files it should.",
            remedy="Check gpu_handler/models.json.",
        )
    pin = Pin(source=model.source, commit=commit, files=found)
    pinned = model.pinned(pin)
    model_registry.write_pin(model_registry.PINS_PATH, name, pin)
    model_registry.registry.cache_clear()
    say(f"model {name}: pinned {len(found)} files in {model_registry.PINS_PATH}; review and commit it")
    return pinned


def _stamp(home: Path, model: Model) -> None:
    (home / _STAMP_NAME).write_text(json.dumps({"digest": model.digest}))


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed fetch left behind; only its lock's holder may."""
    for leftover in folder.glob(f"{_SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _exclusive(folder: Path) -> AbstractContextManager[None]:
    """One fetch at a time per folder; a second one waits, then finds the models there."""
    busy = MissingPrerequisiteError(
        f"another process has been fetching into {folder} for {_LOCK_TIMEOUT_S} s.",
        remedy="Stop it, then fetch again.",
    )
    return exclusive(folder / ".lock", patience_s=_LOCK_TIMEOUT_S, refusal=busy, mode=0o644)
