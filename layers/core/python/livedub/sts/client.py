"""Speech to speech as its callers see it: the protocol, a client for each URL scheme, and the guarded client.

sts = connect_guarded_sts(url, api_key=key, settings=StsClientSettings())
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
from livedub.sts.client_settings import StsClientSettings
from livedub.sts.contract import Health, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsBreakerOpen, StsFailure
from livedub.sts.hedge import HedgePolicy
from livedub.sts.partials import OnPartial
from livedub.sts.runpod_job import DEFAULT_BASE_URL, endpoint_id

logger = logging.getLogger(__name__)


class SpeechToSpeech(Protocol):
    """An STS service. Safe to cancel; several requests may be under way at once."""

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """Dub one fragment within its `deadline_ms`.

        `on_partial` gets what is ready before the result: at most one `text` partial and one `audio` partial per
        language, each checked like the result, awaited in the caller's task before this returns. The result holds
        everything again, and may come, or fail to, with or without partials before it. An exception out of
        `on_partial` is raised here and ends the work.

        Returns:
            A result with status success or partial that fits the request.

        Raises:
            StsFailure: anything else.
        """
        ...

    async def health(self) -> Health:
        """Whether the service is ready; raises `StsFailure` where nothing answers."""
        ...

    async def warm_up(self, *, timeout_ms: int) -> None:
        """Wake the service up and return when it is ready, within `timeout_ms`; meant to run beside the work.

        Raises:
            StsFailure: it did not get ready in time.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; safe to call twice."""
        ...


class GuardedSpeechToSpeech(SpeechToSpeech, Protocol):
    """A service behind a circuit breaker, or several, each behind its own."""

    @property
    def breaker_state(self) -> BreakerState:
        """For metrics."""
        ...


def connect_sts(
    url: str, *, api_key: str = "", runpod_base_url: str = DEFAULT_BASE_URL, retry: bool = True
) -> SpeechToSpeech:
    """A client for the service at `url` (`STS_SERVICE_URL`); connects on first use.

    `http(s)://host` is an STS service or a load-balancing endpoint, `runpod://<endpoint_id>` a RunPod queue endpoint.

    Raises:
        ConfigurationError: the scheme is unknown or the address incomplete.
    """
    scheme, host = _address(url)
    if scheme not in {"http", "https", "runpod"} or not (host or scheme == "runpod"):
        raise ConfigurationError(
            f"STS_SERVICE_URL has scheme {scheme!r} and host {host!r}.",
            remedy="Give an address such as http://127.0.0.1:8000 or runpod://ENDPOINT_ID.",
        )
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConfigurationError(
            "STS_API_KEY holds characters that no HTTP header may carry.",
            remedy="Use printable ASCII, without line breaks.",
        )
    api_key = api_key.partition(",")[
        0
    ].strip()  # a service may accept several, for rotation: the first is the new one
    # The protocol must not cost its users httpx.
    if scheme == "runpod":
        from livedub.sts.runpod_client import RunpodSts  # noqa: PLC0415

        return RunpodSts(endpoint_id(url), base_url=runpod_base_url, api_key=api_key, retry=retry)
    from livedub.sts.http_client import HttpSts  # noqa: PLC0415

    return HttpSts(url, api_key=api_key, retry=retry)


def connect_guarded_sts(url: str, *, api_key: str, settings: StsClientSettings) -> GuardedSpeechToSpeech:
    """As `connect_sts`, behind a circuit breaker, hedged where a second service is configured.

    Raises:
        ConfigurationError: an address or a key cannot be used.
    """
    hedged = bool(settings.sts_hedge_url)

    def guarded(address: str, key: str) -> GuardedSts:
        client = connect_sts(
            address, api_key=key, runpod_base_url=settings.sts_runpod_base_url, retry=not hedged
        )
        return GuardedSts(client, CircuitBreaker(settings.sts_breaker), name=address if hedged else "")

    first = guarded(url, api_key)
    if not hedged:
        return first
    from livedub.sts.hedged import HedgedSts  # noqa: PLC0415 - it builds on this module

    second = guarded(settings.sts_hedge_url, settings.sts_hedge_api_key.get_secret_value() or api_key)
    return HedgedSts(first, second, HedgePolicy(settings.sts_hedge))


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
        name: str = "",
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._label = f" of {name}" if name else ""
        self._sts = sts
        self._breaker = breaker
        self._clock_ns = clock_ns
        self._logged_state = breaker.state

    @property
    def breaker_state(self) -> BreakerState:
        """For metrics."""
        return self._breaker.state

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """As `SpeechToSpeech.process`; raises `StsBreakerOpen` without sending while the breaker is open."""
        ticket = self._breaker.admit(self._clock_ns())
        self._log_transition()
        if ticket is None:
            raise StsBreakerOpen(f"STS is not asked, its circuit breaker is open: {self._breaker.reason}")
        outcome = Outcome.FAILURE
        listener = _Listener(on_partial)
        try:
            result = await self._sts.process(request, listener.hear if on_partial is not None else None)
            outcome = _outcome_of(result)
        except StsFailure as failure:
            outcome = Outcome.FAILURE if failure.retryable else Outcome.REFUSED
            raise
        except asyncio.CancelledError:
            outcome = self._outcome_of_cancelling(request, ticket, answering=listener.heard)
            raise
        else:
            return result
        finally:
            self._breaker.settle(ticket, outcome, self._clock_ns())
            self._log_transition()

    async def health(self) -> Health:
        """As the client behind it; the breaker does not listen."""
        return await self._sts.health()

    async def warm_up(self, *, timeout_ms: int) -> None:
        """As the client behind it; the breaker does not listen."""
        await self._sts.warm_up(timeout_ms=timeout_ms)

    async def aclose(self) -> None:
        """Close the client behind it."""
        await self._sts.aclose()

    def _outcome_of_cancelling(self, request: StsRequest, ticket: Ticket, *, answering: bool) -> Outcome:
        """A caller that stops waiting after the deadline says that the service was too slow.

        One that stops before says nothing, but where the service was answering already: then it is healthy.
        """
        if self._clock_ns() - ticket.started_ns >= request.deadline_ms * 1_000_000:
            return Outcome.FAILURE
        return Outcome.REFUSED if answering else Outcome.ABANDONED

    def _log_transition(self) -> None:
        state = self._breaker.state
        if state is self._logged_state:
            return
        self._logged_state = state
        if state is BreakerState.OPEN:
            logger.warning(
                "STS circuit breaker%s opened: %s; fragments keep their original audio",
                self._label,
                self._breaker.reason,
            )
        elif state is BreakerState.HALF_OPEN:
            logger.info("STS circuit breaker%s lets one fragment through as a probe", self._label)
        else:
            logger.info("STS circuit breaker%s closed: the service answers again", self._label)


class _Listener:
    """Hands partials on, and knows whether there were any."""

    def __init__(self, on_partial: OnPartial | None) -> None:
        self._on_partial = on_partial
        self.heard = False

    async def hear(self, part: StsPartial) -> None:
        """Take one."""
        self.heard = True
        if self._on_partial is not None:
            await self._on_partial(part)


def _outcome_of(result: StsResult) -> Outcome:
    if result.error is None or result.dubs:
        return Outcome.SUCCESS
    return Outcome.FAILURE if result.error.retryable else Outcome.REFUSED
