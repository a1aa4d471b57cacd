"""How a fragment fails in one stage, and which failures mean that memory ran out."""

from __future__ import annotations

from livedub.sts.contract import ErrorCode, Stage, StsError

_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "cublas_status_alloc_failed")


class StageError(Exception):
    """A fragment, or one language of it, failed in one stage; becomes the answer's `error`."""

    def __init__(self, stage: Stage, code: ErrorCode, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.error = StsError(stage=stage, code=code, message=message, retryable=retryable)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed for want of memory: every runtime says so in words of its own."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in message for sign in _OUT_OF_MEMORY)


def stage_error(stage: Stage, error: BaseException) -> StageError:
    """What an engine raised, as the contract's error; a `StageError` stays as it is."""
    if isinstance(error, StageError):
        return error
    code = ErrorCode.GPU_OOM if is_out_of_memory(error) else ErrorCode.MODEL_ERROR
    return StageError(stage, code, f"{type(error).__name__}: {error}", retryable=True)
