"""Translation models as Hugging Face lays them out, converted to CTranslate2: a third of the time, a quarter of the memory.

Converting needs transformers and torch, running the result does not, so it is done once, in a process of its own:
`python -m gpu_handler.engines.convert SOURCE TARGET [--quantization int8]`. The result lies beside its source as
`<name>.ct2-<type>` and is safe to delete.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gpu_handler.engines.ctranslate2_models import WEIGHTS_NAME
from gpu_handler.engines.translation_models import MARIAN_FILES, MULTILINGUAL_FILES
from livedub.errors import LivedubError, MissingPrerequisiteError
from livedub.file_lock import exclusive
from livedub.parent_death import die_with_parent

QUANTIZATIONS = ("int8", "float16", "float32")

_TOKENIZER_FILES = (*MARIAN_FILES, *MULTILINGUAL_FILES)
_STAMP_NAME = "source.sha256"
_TIMEOUT_S = 1_200


def is_converted(folder: Path) -> bool:
    """Whether `folder` is a CTranslate2 model."""
    return (folder / WEIGHTS_NAME).is_file()


def converted(folder: Path, compute_type: str) -> Path:
    """The CTranslate2 form of the model in `folder`, converted now where it is missing or its source changed.

    Whoever comes second waits for the first. A conversion that is cut off leaves nothing behind that counts.

    Raises:
        MissingPrerequisiteError: transformers or torch is missing, or the folder cannot be converted or written to.
    """
    if is_converted(folder):
        return folder
    target = folder.with_name(f"{folder.name}.ct2-{quantization_for(compute_type)}")
    if not _is_current(target, folder):
        _convert_apart(folder, target, quantization_for(compute_type))
    return target


def quantization_for(compute_type: str) -> str:
    """The number format on disk that a CTranslate2 compute type is loaded from without loss of speed."""
    if compute_type.startswith("int8"):
        return "int8"
    return "float16" if "float16" in compute_type else "float32"


def convert(source: Path, target: Path, quantization: str) -> None:
    """Convert `source` into the folder `target`, which appears whole or not at all; quick when it is there.

    Raises:
        MissingPrerequisiteError: transformers or torch is missing, or the folder beside `target` cannot be written to.
        ValueError: CTranslate2 does not know the model's architecture.
    """
    try:
        import torch  # noqa: F401 # pyright: ignore[reportMissingImports] - else the converter fails obscurely
        import transformers  # noqa: F401 # pyright: ignore[reportMissingImports]
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise _missing(source, error.name or "torch") from error
    copied = [name for name in _TOKENIZER_FILES if (source / name).is_file()]
    scratch_prefix = f".converting-{target.name}-"
    with _exclusive(target):
        if _is_current(target, source):
            return
        for leftover in target.parent.glob(f"{scratch_prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=scratch_prefix, dir=target.parent) as scratch:
            built = Path(scratch) / "built"
            converter = TransformersConverter(str(source), copy_files=copied)
            converter.convert(str(built), quantization=quantization)
            (built / _STAMP_NAME).write_text(_digest(source))
            if target.exists():
                target.rename(Path(scratch) / "replaced")
            built.rename(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the conversion's own process."""
    parser = argparse.ArgumentParser(
        prog="python -m gpu_handler.engines.convert",
        description="Convert a translation model to CTranslate2.",
    )
    parser.add_argument("source", type=Path, help="a Marian, M2M100 or NLLB model's folder")
    parser.add_argument("target", type=Path, help="the folder to write; replaced where it exists")
    parser.add_argument("--quantization", choices=QUANTIZATIONS, default="int8")
    options = parser.parse_args(arguments)
    die_with_parent(signal.SIGTERM)
    try:
        convert(options.source, options.target, options.quantization)
    except (LivedubError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _convert_apart(source: Path, target: Path, quantization: str) -> None:
    """Convert in a process of its own, so that torch's memory goes when it is done."""
    for library in ("torch", "transformers"):
        if importlib.util.find_spec(library) is None:
            raise _missing(source, library)
    command = [sys.executable, "-m", "gpu_handler.engines.convert", str(source), str(target)]
    try:
        done = subprocess.run(
            [*command, "--quantization", quantization],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            cwd=Path(__file__).resolve().parents[2],
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingPrerequisiteError(
            f"converting {source} took longer than {_TIMEOUT_S} s.",
            remedy=f"Run it by hand: {' '.join(command)}.",
        ) from error
    if done.returncode != 0:
        raise MissingPrerequisiteError(
            f"converting {source} to CTranslate2 failed: {done.stderr.strip()[-600:]}.",
            remedy=f"Check that the folder holds a whole model and that {target.parent} can be written to.",
        )


def _missing(source: Path, library: str) -> MissingPrerequisiteError:
    return MissingPrerequisiteError(
        f"{source} is not in CTranslate2's format, and converting it needs {library}, which is not installed.",
        remedy="Run setup/torch_environment.sh, then "
        f".venv-torch/bin/python -m gpu_handler.engines.convert {source} {source}.ct2-int8.",
    )


def _is_current(target: Path, source: Path) -> bool:
    """Whether `target` was made from what `source` holds now."""
    try:
        return is_converted(target) and (target / _STAMP_NAME).read_text() == _digest(source)
    except OSError:
        return False


def _digest(source: Path) -> str:
    """Names, sizes and times of a model's files: another download is another model."""
    described = sorted(
        f"{path.name} {status.st_size} {status.st_mtime_ns}"
        for path in source.iterdir()
        if path.is_file() and (status := path.stat())
    )
    return hashlib.sha256("\n".join(described).encode()).hexdigest()


@contextmanager
def _exclusive(target: Path) -> Iterator[None]:
    """One conversion per target at a time; whoever comes second finds it done."""
    lock = target.parent / f".{target.name}.lock"
    busy = MissingPrerequisiteError(
        f"another process has been converting into {target} for {_TIMEOUT_S} s.",
        remedy="Stop it and start again.",
    )
    with ExitStack() as held:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(exclusive(lock, patience_s=_TIMEOUT_S, refusal=busy, mode=0o644))
        except OSError as error:
            raise MissingPrerequisiteError(
                f"{target.parent} cannot be written to: {error.strerror}.",
                remedy="Converted models lie beside their source: make the folder writable, or convert elsewhere.",
            ) from error
        yield


if __name__ == "__main__":
    sys.exit(main())
