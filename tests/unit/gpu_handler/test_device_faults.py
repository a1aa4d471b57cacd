"""What a broken CUDA context is told by; the texts are those of the libraries."""

import pytest

from gpu_handler.device_faults import suspects_broken_device

BROKEN = [
    "RuntimeError: CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...",
    "AcceleratorError: CUDA error: device-side assert triggered",
    "RuntimeError: CUDA error: unspecified launch failure",
    "RuntimeError: CUDA error: misaligned address",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "RuntimeError: cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED",
    "RuntimeError: cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
    "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "RuntimeError: cuDNN failed with status CUDNN_STATUS_INTERNAL_ERROR",
    "RuntimeError: CUDA failed with error an illegal memory access was encountered",
    "cuBLAS not initialized",
    "cuDNN not initialized",
]
WORKING = [
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...",
    "RuntimeError: CUDA error: out of memory",
    "RuntimeError: CUDA failed with error out of memory",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "RuntimeError: cuDNN failed with status CUDNN_STATUS_ALLOC_FAILED",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "RuntimeError: CUDA error: no CUDA-capable device is detected",
    "RuntimeError: CUDA error: invalid device ordinal",
    "RuntimeError: CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
    "ValueError: the translator returned nothing",
    "deadline_ms (900) passed in stage asr.",
    "",
]


@pytest.mark.parametrize("message", BROKEN)
def test_a_sticky_error_asks_for_a_new_process(message: str):
    assert suspects_broken_device(message)
    assert suspects_broken_device(message.upper())


@pytest.mark.parametrize("message", WORKING)
def test_memory_shortage_wrong_machines_and_other_failures_do_not(message: str):
    assert not suspects_broken_device(message)
