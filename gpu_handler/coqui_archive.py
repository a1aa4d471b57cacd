"""A model of Coqui's catalogue: one zip file, continued where an interrupted download stopped, unpacked into a folder.

The catalogue ships inside the coqui-tts package; it says where the zip lies and under which licence. Reading it needs no
import of that package, and so no torch.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any

from gpu_handler.file_hash import COPY_BLOCK_BYTES
from livedub.errors import ConfigurationError, MissingPrerequisiteError

_READ_TIMEOUT_S = 30.0
_LIMIT_S = 3_600.0
_ATTEMPTS = 5
_PAUSE_S = 1.0
_LARGEST_BYTES = 4 << 30
_RANGE_REFUSED = 416
_SCHEMES = ("https://",)


def catalogue_entry(name: str, catalogue: Path | None = None) -> dict[str, Any]:
    """Coqui's own entry for a model such as `tts_models/es/css10/vits`.

    Raises:
        MissingPrerequisiteError: coqui-tts is not installed.
        ConfigurationError: its catalogue has no such model.
    """
    path = catalogue or _installed_catalogue()
    kind, language, dataset, model = name.split("/")
    try:
        entry: dict[str, Any] = json.loads(path.read_bytes())[kind][language][dataset][model]
    except KeyError as error:
        raise ConfigurationError(
            f"{name} is not in the catalogue of the coqui-tts that is installed.",
            remedy="Install the version that the locks pin.",
        ) from error
    return entry


def _installed_catalogue() -> Path:
    spec = importlib.util.find_spec("TTS")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPrerequisiteError(
            "coqui-tts is not installed, and it knows where Coqui's models lie.",
            remedy="Fetch them in an image, or in the environment of setup/torch_environment.sh.",
        )
    return Path(next(iter(spec.submodule_search_locations))) / ".models.json"


def fetch_from_coqui(name: str, folder: Path, *, catalogue: Path | None = None) -> None:
    """Download and unpack the zip of a model into `folder`; what lies in its one top folder comes to lie directly there.

    Raises:
        ConfigurationError: the catalogue has no such model, or no zip for it.
        MissingPrerequisiteError: it cannot be downloaded or is no zip file.
    """
    url = catalogue_entry(name, catalogue).get("github_rls_url")
    if not isinstance(url, str) or not url.startswith(_SCHEMES):
        raise ConfigurationError(
            f"{name} is not one zip file in Coqui's catalogue.",
            remedy="Name it as a hub source in models.json.",
        )
    archive = folder.with_suffix(".zip")
    archive.parent.mkdir(parents=True, exist_ok=True)
    _download(url, archive, deadline_s=time.monotonic() + _LIMIT_S)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _unpack(archive, folder)
    except (zipfile.BadZipFile, OSError) as error:
        archive.unlink(missing_ok=True)
        raise MissingPrerequisiteError(
            f"{name}: what was downloaded is no usable zip file ({error}).", remedy="Try again."
        ) from error
    archive.unlink()


def _download(url: str, target: Path, *, deadline_s: float) -> None:
    """Fetch `url`; each attempt goes on where the last one stopped."""
    partial = target.with_name(f"{target.name}.part")
    problem: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * attempt)
        try:
            _continue(url, partial, deadline_s)
        except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
            problem = error
            if isinstance(error, urllib.error.HTTPError) and error.code == _RANGE_REFUSED:
                partial.unlink(missing_ok=True)  # it changed on the server
            continue
        partial.replace(target)
        return
    raise MissingPrerequisiteError(
        f"{url} cannot be downloaded: {problem}", remedy="Check what this machine reaches, then try again."
    )


def _continue(url: str, partial: Path, deadline_s: float) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - its scheme was checked
    with urllib.request.urlopen(request, timeout=_READ_TIMEOUT_S) as answer:  # noqa: S310
        resumed = answer.status == 206
        have = have if resumed else 0
        expected = _expected_bytes(answer, have)
        with partial.open("ab" if resumed else "wb") as sink:
            while block := answer.read(COPY_BLOCK_BYTES):
                sink.write(block)
                have += len(block)
                if have > _LARGEST_BYTES or time.monotonic() > deadline_s:
                    raise MissingPrerequisiteError(
                        f"{url} is larger than {_LARGEST_BYTES >> 30} GiB or took longer than {_LIMIT_S:.0f} s.",
                        remedy="Check the network; what was downloaded is kept and continued.",
                    )
    if expected is not None and have < expected:
        raise ConnectionError(f"the connection ended after {have} of {expected} bytes")


def _expected_bytes(answer: HTTPResponse, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return have + int(length) if length and length.isdigit() else None


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        files = [entry for entry in zipped.infolist() if not entry.is_dir()]
        names = [PurePosixPath(entry.filename) for entry in files]
        tops = {name.parts[0] for name in names}
        skipped = 1 if len(tops) == 1 and all(len(name.parts) > 1 for name in names) else 0
        for entry, name in zip(files, names, strict=True):
            if name.is_absolute() or ".." in name.parts:
                continue
            path = folder.joinpath(*name.parts[skipped:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(entry) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, COPY_BLOCK_BYTES)
