"""How a request is refused: which error becomes which answer. Codes are stable; clients decide on them."""

from __future__ import annotations

from livedub.errors import ConfigurationError, InvalidInputError, LivedubError
from livedub.supervision.authorize import AuthorizationError
from livedub.supervision.contract import ApiError
from livedub.supervision.signing import SignatureRejectedError
from livedub.supervision.store_errors import StoreBusyError, StoreUnavailableError
from livedub.supervision.stream_settings import SettingsError

_SIGNATURE_CODES = {
    "UNSIGNED": "UNSIGNED",
    "STALE": "STALE_SIGNATURE",
    "BAD_SIGNATURE": "BAD_SIGNATURE",
}
_BY_TYPE: tuple[tuple[type[LivedubError], int, str], ...] = (
    (StoreBusyError, 503, "BUSY"),
    (StoreUnavailableError, 503, "UNAVAILABLE"),
    (ConfigurationError, 500, "MISCONFIGURED"),
    (InvalidInputError, 400, "BAD_PATH"),
)


class RequestRefusedError(LivedubError):
    """The request cannot be served as it is; `status` and `code` go into the answer."""

    def __init__(self, code: str, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.status = status


def refusal(error: Exception) -> tuple[int, ApiError]:
    """HTTP status and body for what a request failed with. What nobody expected says nothing about itself."""
    if isinstance(error, SignatureRejectedError):
        return 401, _body(_SIGNATURE_CODES[error.code], error)
    if isinstance(error, RequestRefusedError | AuthorizationError | SettingsError):
        return error.status, _body(error.code, error)
    for kind, status, code in _BY_TYPE:
        if isinstance(error, kind):
            # Details of our own trouble go to the log; a caller can only try again.
            return status, _body(code, error) if status < 500 else _trouble(code)
    return 500, _trouble("INTERNAL")


def _body(code: str, error: LivedubError) -> ApiError:
    return ApiError(code=code, message=error.message, remedy=error.remedy)


def _trouble(code: str) -> ApiError:
    return ApiError(
        code=code, message="The control plane could not serve the request.", remedy="Try again shortly."
    )
