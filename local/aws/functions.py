"""Calls functions: in step, or asynchronously with Lambda's two retries."""

from __future__ import annotations

import logging
from collections.abc import Callable

from local.aws.background_work import BackgroundWork
from local.aws.function_pool import FunctionBusyError, FunctionPools
from local.aws.function_spec import FunctionSpec, InvokeResult

_LOG = logging.getLogger(__name__)
_RETRY_DELAYS_S = (60.0, 120.0)
"""Lambda retries a failed asynchronous call after one minute, then after two."""

LogSink = Callable[[FunctionSpec, str], None]


class Functions:
    """All ways to call a function.

    Args:
        pools: where they run.
        background: runs asynchronous calls.
        log: takes what functions write.
    """

    def __init__(self, pools: FunctionPools, background: BackgroundWork, log: LogSink) -> None:
        self._pools = pools
        self._background = background
        self._log = log

    def call(self, spec: FunctionSpec, payload: bytes) -> InvokeResult:
        """Call and wait.

        Raises:
            FunctionBusyError: all its environments are busy.
        """
        result = self._pools.invoke(spec, payload)
        if result.log:
            self._log(spec, result.log)
        return result

    def call_later(self, spec: FunctionSpec, payload: bytes) -> None:
        """Call soon, and again twice where it fails; nobody hears the answer."""
        self._background.soon(lambda: self._attempt(spec, payload, attempt=0))

    def _attempt(self, spec: FunctionSpec, payload: bytes, *, attempt: int) -> None:
        try:
            result = self.call(spec, payload)
        except FunctionBusyError as error:
            reason = str(error)
        else:
            if not result.failed:
                return
            reason = result.payload.decode(errors="replace")[:500]
        if attempt == len(_RETRY_DELAYS_S):
            _LOG.error("gave up an asynchronous call of %s: %s", spec.name, reason)
            return
        _LOG.warning("an asynchronous call of %s failed, will be retried: %s", spec.name, reason)
        self._background.later(
            _RETRY_DELAYS_S[attempt], lambda: self._attempt(spec, payload, attempt=attempt + 1)
        )
