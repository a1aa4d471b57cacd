"""Tells a broken CUDA context from other failures, by the words of the libraries that meet it.

A sticky CUDA error (CUDA C++ Programming Guide, "Error checking") fails every later call of the process: only a new
process mends it. Running out of memory is no such error, and what a new process would meet again (no device, a
driver too old for the kernels) is none that replacing the worker heals.
"""

from __future__ import annotations

import re

_BROKEN = re.compile(
    r"""
    cuda\ (?:error|failed\ with\ error)   # PyTorch and CTranslate2 put it before cudaGetErrorString's text
    | illegal\ memory\ access
    | misaligned\ address
    | device-side\ assert
    | unspecified\ launch\ failure
    | uncorrectable\ ecc
    | cu(?:blas|dnn)[\w ]*not[_ ]initialized
    | cu(?:blas|dnn)[\w ]*execution[_ ]failed
    | cublas_status_internal_error
    | cudnn_status_internal_error
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NOT_MENDED_BY_RESTART = re.compile(
    r"""
    out\ of\ memory
    | alloc[_ ]failed
    | failed\ to\ allocate
    | no\ kernel\ image
    | driver\ version\ is\ insufficient
    | no\ cuda-capable\ device
    | invalid\ device\ ordinal
    """,
    re.IGNORECASE | re.VERBOSE,
)


def suspects_broken_device(message: str) -> bool:
    """Whether an engine's error message speaks of a CUDA context that only a new process can replace."""
    return _BROKEN.search(message) is not None and _NOT_MENDED_BY_RESTART.search(message) is None
