"""Which error becomes which HTTP answer. The code decides, and it is stable; details of our own trouble go to the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from livedub.database.errors import DatabaseBusyError, DatabaseUnavailableError
from livedub.errors import ConfigurationError, InvalidInputError, LivedubError, MissingPrerequisiteError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import MediaError

_Code = LibraryErrorCode

_STATUS = {
    _Code.UNAUTHORIZED: 401,
    _Code.CALLBACK_FORGED: 401,
    _Code.CALLBACK_EXPIRED: 401,
    _Code.CALLBACK_REPLAYED: 401,
    _Code.NO_SUCH_KEY: 404,
    _Code.NO_SUCH_ASSET: 404,
    _Code.NO_SUCH_JOB: 404,
    _Code.NO_SUCH_ROUTE: 404,
    _Code.UNKNOWN_PRESET: 404,
    _Code.ILLEGAL_TRANSITION: 409,
    _Code.FENCED: 409,
    _Code.CANCELLED: 409,
    _Code.SOURCE_CHANGED: 409,
    _Code.OUTPUT_IN_USE: 409,
    _Code.ATTEMPTS_EXHAUSTED: 409,
    _Code.PRESET_BUILTIN: 409,
    _Code.BODY_TOO_LARGE: 413,
    _Code.INTERNAL: 500,
    _Code.MISCONFIGURED: 500,
    _Code.WORK_FAILED: 502,
    _Code.NO_SUCH_BUCKET: 502,
    _Code.ACCESS_DENIED: 502,
    _Code.STORAGE_REFUSED: 502,
    _Code.ENDPOINT_DOWN: 503,
    _Code.CATALOGUE_DOWN: 503,
    _Code.QUEUE_DOWN: 503,
    _Code.TIMED_OUT: 504,
    _Code.DISK_FULL: 507,
}
_OTHERWISE = 422
"""The request was read and cannot be served as it is: its fault, and repeating it does not help."""

_OURS = MediaError(
    code=_Code.INTERNAL,
    message="The library could not serve the request.",
    remedy="Look at the function's log.",
)


def problem(error: Exception) -> MediaError:
    """What went wrong, in stable words. What nobody expected says nothing about itself."""
    if isinstance(error, ValidationError):
        error = malformed_request([dict(item) for item in error.errors()])
    if isinstance(error, LibraryError):
        return MediaError.of(error)
    if isinstance(error, DatabaseBusyError | DatabaseUnavailableError):
        return MediaError(
            code=_Code.CATALOGUE_DOWN, message="The catalogue does not answer.", remedy="Try again shortly."
        )
    if isinstance(error, ConfigurationError | MissingPrerequisiteError):
        return MediaError(
            code=_Code.MISCONFIGURED,
            message="The library's API is not set up properly.",
            remedy="Look at the function's log: it names the setting.",
        )
    if isinstance(error, InvalidInputError):
        return MediaError(code=_Code.INVALID_REQUEST, message=error.message, remedy=error.remedy)
    return _OURS


def status_of(code: LibraryErrorCode) -> int:
    """The HTTP status that goes with a code."""
    return _STATUS.get(code, _OTHERWISE)


def is_ours(error: Exception) -> bool:
    """Whether it says something about us that an operator wants to see with its traceback."""
    return not isinstance(error, LivedubError | ValidationError) or status_of(problem(error).code) == 500


def malformed_request(items: Iterable[Mapping[str, Any]]) -> LibraryError:
    """What pydantic says is wrong with a request: names and reasons only, for values may be long, or secrets."""
    found = list(items)
    page = any(item["loc"][-1:] == ("limit",) and item["type"] == "less_than_equal" for item in found)
    problems = "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {str(item['msg']).removeprefix('Value error, ')}"
        for item in found[:8]
    )
    return LibraryError(
        _Code.PAGE_TOO_LARGE if page else _Code.INVALID_REQUEST,
        f"{problems[:500]}.",
        "GET /api/openapi.json says what may be asked.",
    )
