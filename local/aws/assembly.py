"""The synthesized cloud assembly of the control plane and what it needs: made anew when what it comes from has changed, else as it lies there.

An assembly's folder is named after its inputs, so nobody sees one half written or replaced. `build/cdk.out/local` is a
link to the latest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from livedub.errors import LivedubError, MissingPrerequisiteError
from livedub.file_lock import exclusive

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "local"
ARCHIVES = "archives"
"""Beside the assemblies: their assets as they are uploaded."""

_INPUTS = ("infra", "functions", "layers/core", "locks/functions.txt", "setup/build_layer.sh")
_NOT_INPUTS = frozenset({"__pycache__", "node_modules", ".ruff_cache"})
_KEPT = 3
_ATTEMPTS = 3
_BUILD_TIMEOUT_S = 300.0
_LOCK_TIMEOUT_S = 600.0


class AssemblyError(LivedubError):
    """The assembly could not be made."""


def ensure_assembly(root: Path = ROOT) -> Path:
    """The folder of an assembly of the environment `local` that is up to date; makes it where it must.

    Takes milliseconds when nothing changed and some seconds when something did. Needs no network then, but the
    packages of locks/functions.txt where those changed.

    Raises:
        MissingPrerequisiteError: `make setup` has not run.
        AssemblyError: the layer could not be built or the app not be synthesized.
    """
    out = root / "build" / "cdk.out"
    out.mkdir(parents=True, exist_ok=True)
    wanted = _named(out, root)
    if not _complete(wanted):
        with _exclusive(out / f".{ENVIRONMENT}.lock"):
            wanted = _named(out, root)
            if not _complete(wanted):
                wanted = _build(root, out)
    _link(out / ENVIRONMENT, wanted)
    _prune(out, wanted)
    return wanted


def _named(out: Path, root: Path) -> Path:
    return out / f"{ENVIRONMENT}-{_digest(root)[:16]}"


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in _input_files(root):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _input_files(root: Path) -> Iterator[Path]:
    for name in _INPUTS:
        start = root / name
        if start.is_file():
            yield start
        for folder, folders, files in os.walk(start):
            folders[:] = sorted(set(folders) - _NOT_INPUTS)
            yield from (Path(folder) / file for file in sorted(files))


def _complete(assembly: Path) -> bool:
    return (assembly / "manifest.json").is_file()


def _build(root: Path, out: Path) -> Path:
    python = root / ".venv" / "bin" / "python"
    if not python.is_file():
        raise MissingPrerequisiteError(f"{python} is missing.", remedy="Run make setup.")
    for _ in range(_ATTEMPTS):
        before = _named(out, root)
        _run([str(root / "setup" / "build_layer.sh")], root, {}, "building the layer of third-party packages")
        with tempfile.TemporaryDirectory(prefix=f".{ENVIRONMENT}-", dir=out) as staging:
            fresh = Path(staging) / "assembly"
            _synthesize(root, python, fresh)
            if _named(out, root) == before:
                fresh.rename(before)
                return before
    raise AssemblyError(
        f"the sources changed during each of {_ATTEMPTS} syntheses.",
        remedy="Wait until nobody writes to them.",
    )


def _synthesize(root: Path, python: Path, target: Path) -> None:
    environment = {
        # How the cdk command tells an app its context and where to write.
        "CDK_CONTEXT_JSON": json.dumps({"environment": ENVIRONMENT, "parts": "control-plane"}),
        "CDK_OUTDIR": str(target),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "layers" / "core" / "python")]),
        "PYTHONSAFEPATH": "1",
    }
    _run([str(python), "-m", "infra.app"], root, environment, "synthesizing the control plane")


def _run(argv: list[str], cwd: Path, env: dict[str, str], doing: str) -> None:
    try:
        done = subprocess.run(  # noqa: PLW1510 - the code is looked at below, with the output
            argv,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise AssemblyError(f"{doing} took more than {_BUILD_TIMEOUT_S:.0f} s.") from error
    except OSError as error:
        raise AssemblyError(f"{doing}: {argv[0]} cannot be run: {error.strerror}.") from error
    if done.returncode:
        tail = "\n".join((done.stderr + done.stdout).strip().splitlines()[-20:])
        raise AssemblyError(f"{doing} failed with exit code {done.returncode}:\n{tail}")


def _exclusive(lock: Path) -> AbstractContextManager[None]:
    busy = AssemblyError(
        f"{lock} is held by another process for over {_LOCK_TIMEOUT_S:.0f} s.",
        remedy="See what synthesizes there (fuser shows it) and end it.",
    )
    return exclusive(lock, patience_s=_LOCK_TIMEOUT_S, refusal=busy, mode=0o644)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == Path(target.name):
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    fresh.replace(link)


def _prune(out: Path, current: Path) -> None:
    """Keep the latest few and what was packed of them: a stack that has just started may read the one before."""
    others = [path for path in out.glob(f"{ENVIRONMENT}-*") if path.is_dir() and path != current]
    others.sort(key=lambda path: path.stat().st_mtime)
    kept = [current, *others[-(_KEPT - 1) :]]
    for path in others[: -(_KEPT - 1)]:
        shutil.rmtree(path, ignore_errors=True)
    for archive in (out / ARCHIVES).glob("*.zip"):
        if not any((assembly / archive.stem).exists() for assembly in kept):
            archive.unlink(missing_ok=True)
