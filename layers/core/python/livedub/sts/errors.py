"""How a request to STS fails, as types: what to log, whether to try again, whether the breaker should count it."""

# ruff: noqa: N818 - the names say what happened; every one of them is an error by its base

from __future__ import annotations

from livedub.errors import LivedubError
from livedub.sts.contract import ErrorCode, Stage


class StsFailure(LivedubError):
    """Base of every failed STS request.

    Attributes:
        reason: stable label for event log and metrics: `breaker_open` or `sts_error:<CODE>`.
        retryable: the same request may succeed later; such failures count for the circuit breaker.
    """

    def __init__(self, message: str, *, reason: str, retryable: bool, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason
        self.retryable = retryable


class StsUnavailable(StsFailure):
    """No service answered: connection refused or lost, or the service says that it is not ready."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message, reason="sts_error:UNAVAILABLE", retryable=True, remedy=remedy)


class StsTimeout(StsFailure):
    """The answer did not come within the request's deadline."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(
            message, reason=f"sts_error:{ErrorCode.TIMEOUT.value}", retryable=True, remedy=remedy
        )


class StsRefused(StsFailure):
    """The service answered with a typed error; clients decide on `code`, never on the message.

    Attributes:
        code: the contract's error code.
        stage: where in the service it happened.
        retry_after_ms: how long the service asked to wait, 0 where it did not.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        stage: Stage,
        retryable: bool,
        retry_after_ms: int = 0,
        remedy: str = "",
    ) -> None:
        super().__init__(message, reason=f"sts_error:{code.value}", retryable=retryable, remedy=remedy)
        self.code = code
        self.stage = stage
        self.retry_after_ms = retry_after_ms


class StsBadAnswer(StsFailure):
    """The answer breaks the contract: not JSON, another fragment's, wrong length.

    Worth no retry of the same request inside its deadline, yet it counts for the breaker: a service that talks
    nonsense is as useless as a dead one.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(
            message, reason=f"sts_error:{ErrorCode.MODEL_ERROR.value}", retryable=True, remedy=remedy
        )


class StsBreakerOpen(StsFailure):
    """The circuit breaker is open: nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="breaker_open", retryable=True)
