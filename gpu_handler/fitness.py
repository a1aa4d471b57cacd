"""What a worker must find before it loads models: its GPU with enough memory, model files, room on disk.

Each check names what is missing and what to do. A restart on the same machine mends none of it, which is why a
failure is a `MissingPrerequisiteError`: the worker stays up and tells it to whoever asks.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from gpu_handler.model_registry import registry
from gpu_handler.models import is_complete
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

logger = logging.getLogger(__name__)

_QUERY = ("nvidia-smi", "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits")
_QUERY_TIMEOUT_S = 20.0
_BYTES_PER_MIB = 1024 * 1024

Query = Callable[[], str]


def check_fitness(settings: StsSettings) -> None:
    """Run every check that the settings ask for, the cheapest first.

    Raises:
        MissingPrerequisiteError: the worker cannot work here.
    """
    check_disk(settings)
    check_models(settings)
    check_gpu(settings)


def check_disk(settings: StsSettings) -> None:
    """Look for room: engines unpack into the temporary folder, caches lie beside the models.

    Raises:
        MissingPrerequisiteError: there is less than `min_disk_mb`.
    """
    for folder in {Path(tempfile.gettempdir()), _existing(settings.model_dir.expanduser())}:
        free_mib = shutil.disk_usage(folder).free // _BYTES_PER_MIB
        if free_mib < settings.min_disk_mb:
            raise MissingPrerequisiteError(
                f"{folder} has {free_mib} MiB of free disk, STS_MIN_DISK_MB asks for {settings.min_disk_mb}.",
                remedy="Give the worker a larger container disk, or free some of it.",
            )


def check_models(settings: StsSettings) -> None:
    """Look for the profile's models, by size only: loading one reads and hashes it anyway.

    Where engines are chosen one by one, loading alone tells what they need.

    Raises:
        MissingPrerequisiteError: a model is not there, or not whole.
    """
    if settings.transcriber or settings.translator or settings.synthesizer:
        return
    known = registry()
    names = known.of_profile(settings.profile)
    absent = [
        name for name in names if not (known.model(name).is_pinned and is_complete(name, settings.model_dir))
    ]
    if absent:
        raise MissingPrerequisiteError(
            f"profile {settings.profile}: {', '.join(absent)} not found whole in STS_MODEL_DIR "
            f"({settings.model_dir.expanduser()}).",
            remedy=f"Run `livedub models fetch {' '.join(absent)}` into that folder, or mount the volume that has them.",
        )


def check_gpu(settings: StsSettings, query: Query | None = None) -> None:
    """Look for a GPU with enough memory, where any engine is to run on one.

    Args:
        settings: tells which engines run on CUDA, and how much memory they need.
        query: what answers as `nvidia-smi` does, a line per GPU of total and free MiB; for tests.

    Raises:
        MissingPrerequisiteError: there is none, or none with enough memory.
    """
    if settings.profile == "mock" or not wants_cuda(settings):
        return
    memory = _memory_mib((query or _nvidia_smi)())
    if not memory:
        raise MissingPrerequisiteError(
            "an engine is to run on CUDA (STS_*_DEVICE), and this machine shows no GPU.",
            remedy="Give the worker a GPU (outside RunPod: the NVIDIA container toolkit), or set STS_PROFILE=cpu.",
        )
    total_mib = max(total for total, _ in memory)
    free_mib = max(free for _, free in memory)
    if total_mib < settings.min_vram_mb:
        raise MissingPrerequisiteError(
            f"the GPU has {total_mib} MiB of memory, STS_MIN_VRAM_MB asks for {settings.min_vram_mb}.",
            remedy="Choose a larger GPU, smaller models, or lower STS_MIN_VRAM_MB.",
        )
    if free_mib < settings.min_vram_mb:
        logger.warning("only %d of %d MiB of GPU memory are free before loading", free_mib, total_mib)


def wants_cuda(settings: StsSettings) -> bool:
    """Whether any engine is to run on a GPU."""
    return "cuda" in {settings.whisper_device, settings.mt_device, settings.tts_device}


def _nvidia_smi() -> str:
    """What nvidia-smi says; empty where it, or a driver, is missing."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("nvidia-smi does not answer: %s", error)
        return ""
    if done.returncode:
        logger.warning("nvidia-smi failed: %s", (done.stderr or done.stdout).strip()[:300])
        return ""
    return done.stdout


def _memory_mib(text: str) -> list[tuple[int, int]]:
    """Total and free memory of each GPU that says so; a slice of one (MIG) may not, and then there is nothing to check."""
    memory: list[tuple[int, int]] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 2 and all(field.isdigit() for field in fields):
            memory.append((int(fields[0]), int(fields[1])))
    return memory


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
