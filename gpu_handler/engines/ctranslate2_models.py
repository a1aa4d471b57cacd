"""What must hold before CTranslate2 is handed a model.

It throws from C++ when it does not, and in a process with many native libraries such a throw has been seen to end in
a segmentation fault instead of a Python exception. So nothing that can be known beforehand is left to it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from livedub.errors import MissingPrerequisiteError

WEIGHTS_NAME = "model.bin"
_TYPES = ("default", "auto")
_BINARY_VERSIONS = range(2, 7)
"""Of the weights file: its first four bytes."""


def check_model(library: Any, folder: Path, device: str, compute_type: str, *, variables: str) -> None:
    """Whether `folder` holds weights, and this machine has the device and computes on it in that number format.

    Args:
        library: the ctranslate2 module.
        folder: of the model.
        device: `cpu` or `cuda`.
        compute_type: CTranslate2's name of a number format.
        variables: prefix of the two settings that chose them, such as `STS_MT`.

    Raises:
        MissingPrerequisiteError: one of these does not hold; names it.
    """
    if device == "cuda" and library.get_cuda_device_count() == 0:
        raise MissingPrerequisiteError(
            f"{variables}_DEVICE: CTranslate2 sees no CUDA device.",
            remedy=f"Set {variables}_DEVICE=cpu, or check the driver (nvidia-smi).",
        )
    supported = library.get_supported_compute_types(device)
    if compute_type not in supported and compute_type not in _TYPES:
        raise MissingPrerequisiteError(
            f"{variables}_COMPUTE_TYPE: {compute_type!r} is not computed on this {device}.",
            remedy=f"Choose one of: {', '.join(sorted(supported))}.",
        )
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise MissingPrerequisiteError(
            f"{folder} holds no {WEIGHTS_NAME}: it is no CTranslate2 model.",
            remedy="Fetch or convert the model again.",
        )
    with weights.open("rb") as source:
        head = source.read(4)
    if len(head) < 4 or struct.unpack("<I", head)[0] not in _BINARY_VERSIONS:
        raise MissingPrerequisiteError(
            f"{weights} is damaged: it does not start as CTranslate2's weights do.",
            remedy="Delete it, then fetch or convert the model again.",
        )
