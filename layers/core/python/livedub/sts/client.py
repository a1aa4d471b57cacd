"""Speech to speech as its callers see it: the protocol, a client for each URL scheme, and the guarded client.

sts = GuardedSts(connect_sts(settings.sts_service_url, api_key=key), CircuitBreaker())
result = await sts.process(request)     # or an StsFailure with .reason and .retryable
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from livedub.errors import ConfigurationError
from livedub.sts.breaker import BreakerState, CircuitBreaker, Outcome, Ticket
from livedub.sts.contract import Health, StsRequest, StsResult
from livedub.sts.errors import StsBreakerOpen, StsFailure

logger = logging.getLogger(__name__)


class SpeechToSpeech(Protocol):
    """An STS service. Safe to cancel; several requests may be under way at once."""

    async def process(self, request: StsRequest) -> StsResult:
        """Dub one fragment within its `deadline_ms`.

        Returns:
            A result with status success or partial that fits the request.

        Raises:
            StsFailure: anything else.
        """
        ...

    async def health(self) -> Health:
        """Whether the service is ready; raises `StsFailure` where nothing answers."""
        ...

    async def aclose(self) -> None:
        """Close connections; safe to call twice."""
        ...


def connect_sts(url: str, *, api_key: str = "", max_connections: int = 16) -> SpeechToSpeech:
    """A client for the service at `url` (`STS_SERVICE_URL`); connects on first use.

    Raises:
        ConfigurationError: the scheme is unknown or the address incomplete.
    """
    scheme, host = _address(url)
    if scheme == "runpod":
        raise ConfigurationError(
            "STS_SERVICE_URL names a RunPod queue endpoint (runpod://), which is not built yet",
            remedy="Give the http(s):// address of an STS service or load-balancing endpoint.",
        )
    if scheme not in {"http", "https"} or not host:
        raise ConfigurationError(
            f"STS_SERVICE_URL has scheme {scheme!r} and host {host!r}",
            remedy="Give an address such as http://127.0.0.1:8000.",
        )
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConfigurationError(
            "STS_API_KEY holds characters that no HTTP header may carry",
            remedy="Use printable ASCII, without line breaks.",
        )
    from livedub.sts.http_client import HttpSts  # noqa: PLC0415 - the protocol must not cost its users httpx

    return HttpSts(url, api_key=api_key, max_connections=max_connections)


def _address(url: str) -> tuple[str, str]:
    """Scheme and host; both empty where `url` is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is no number or too large
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""


class GuardedSts:
    """A client behind a circuit breaker: while the service is failing, `process` fails at once (`breaker_open`)."""

    def __init__(
        self,
        sts: SpeechToSpeech,
        breaker: CircuitBreaker,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._sts = sts
        self._breaker = breaker
        self._clock_ns = clock_ns
        self._logged_state = breaker.state

    @property
    def breaker_state(self) -> BreakerState:
        """For metrics."""
        return self._breaker.state

    async def process(self, request: StsRequest) -> StsResult:
        """As `SpeechToSpeech.process`; raises `StsBreakerOpen` without sending while the breaker is open."""
        ticket = self._breaker.admit(self._clock_ns())
        self._log_transition()
        if ticket is None:
            raise StsBreakerOpen(f"STS is not asked, its circuit breaker is open: {self._breaker.reason}")
        outcome = Outcome.FAILURE
        try:
            result = await self._sts.process(request)
            outcome = _outcome_of(result)
        except StsFailure as failure:
            outcome = Outcome.FAILURE if failure.retryable else Outcome.REFUSED
            raise
        except asyncio.CancelledError:
            outcome = self._outcome_of_cancelling(request, ticket)
            raise
        else:
            return result
        finally:
            self._breaker.settle(ticket, outcome, self._clock_ns())
            self._log_transition()

    async def health(self) -> Health:
        """As the client behind it; the breaker does not listen."""
        return await self._sts.health()

    async def aclose(self) -> None:
        """Close the client behind it."""
        await self._sts.aclose()

    def _outcome_of_cancelling(self, request: StsRequest, ticket: Ticket) -> Outcome:
        """A caller that stops waiting after the deadline says that the service was too slow, else it says nothing."""
        overdue = self._clock_ns() - ticket.started_ns >= request.deadline_ms * 1_000_000
        return Outcome.FAILURE if overdue else Outcome.ABANDONED

    def _log_transition(self) -> None:
        state = self._breaker.state
        if state is self._logged_state:
            return
        self._logged_state = state
        if state is BreakerState.OPEN:
            logger.warning(
                "STS circuit breaker opened: %s; fragments keep their original audio", self._breaker.reason
            )
        elif state is BreakerState.HALF_OPEN:
            logger.info("STS circuit breaker lets one fragment through as a probe")
        else:
            logger.info("STS circuit breaker closed: the service answers again")


def _outcome_of(result: StsResult) -> Outcome:
    if result.error is None or result.dubs:
        return Outcome.SUCCESS
    return Outcome.FAILURE if result.error.retryable else Outcome.REFUSED
