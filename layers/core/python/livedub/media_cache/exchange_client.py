"""One request to one host of the media cache: connections kept, a deadline, a breaker, and errors that say what to do.

A request that meets the end of its connection, in the handshake or after it, is sent again on a new one, twice at most:
a server that reloads its certificate closes idle connections and those its old listener had just accepted, now and then
after it read a request. Every request here may be repeated without harm.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from livedub.media_cache.errors import (
    MediaCacheError,
    MediaCacheRefusedError,
    MediaCacheUnavailableError,
    MediaCacheUntrustedError,
)
from livedub.media_cache.tls_bundle import CaBundle, ssl_context
from livedub.media_cache.tls_diag import diag_of
from livedub.media_cache.wire import MAX_OBJECT_BYTES
from livedub.sts.breaker import BreakerConfig, CircuitBreaker, Outcome

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64

_KEEPALIVE_S = 60.0
"""Less than the server's idle time, so that the client is who closes."""
_TRY_LATER = frozenset({408, 429, 507})
_TRIES = 3
_PAUSE_S = 0.05
"""Before the last try: what ended two connections in a row may take a moment."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, wherever it goes; `good` are the statuses that answer it."""

    method: str
    path: str
    good: Collection[int]
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said."""

    status_code: int
    body: bytes


class _Handshake:
    """Sees, through httpcore's trace hook, whether a request that failed to connect had reached the host."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        if event == "connection.start_tls.started":
            self.begun = True


class HostExchange:
    """Belongs to one asyncio loop.

    Args:
        hosts: their addresses.
        tls: what vouches for them; None trusts the machine's authorities.
        deadline_ms: longest that one exchange may take.
        breaker: leaves a host alone for a while after so many failures; None always asks.
        transport: instead of the network, for tests.

    Raises:
        CaBundleError: OpenSSL refuses the bundle.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        tls: CaBundle | None,
        deadline_ms: int,
        breaker: BreakerConfig | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._tls = tls
        self._deadline_ms = deadline_ms
        self._breakers = {host: CircuitBreaker(breaker) for host in hosts} if breaker else {}
        self._context = ssl_context(tls)
        self._transport = transport
        self._pool = self._connections(keep_alive=MAX_CONNECTIONS)
        # What is sent again must not meet another connection that the server has closed meanwhile.
        self._single_use = self._connections(keep_alive=0)

    async def send(self, host: str, ask: Ask, deadline_ms: int) -> Answer:
        """Send `ask` to `host`; an answer that is not among its good ones is an error.

        Raises:
            MediaCacheUnavailableError: no answer within `deadline_ms`, or none that helps now.
            MediaCacheUntrustedError: the host's certificate is not vouched for.
            MediaCacheRefusedError: the host will not.
        """
        breaker = self._breakers.get(host)
        if breaker is None:
            return await self._ask(host, ask, deadline_ms)
        ticket = breaker.admit(time.monotonic_ns())
        if ticket is None:
            raise MediaCacheUnavailableError(f"{host} is left alone for a while: {breaker.reason}")
        outcome = Outcome.ABANDONED
        try:
            answer = await self._ask(host, ask, deadline_ms)
            outcome = Outcome.SUCCESS
        except MediaCacheUnavailableError:
            outcome = Outcome.FAILURE
            raise
        except MediaCacheRefusedError:
            outcome = Outcome.REFUSED
            raise
        else:
            return answer
        finally:
            breaker.settle(ticket, outcome, time.monotonic_ns())

    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""
        await self._pool.aclose()
        await self._single_use.aclose()

    async def _ask(self, host: str, ask: Ask, deadline_ms: int) -> Answer:
        try:
            with anyio.fail_after(deadline_ms / 1_000):
                answer = await self._exchange(host, ask)
        except TimeoutError as error:
            raise MediaCacheUnavailableError(
                f"{host} did not answer {ask.method} within {deadline_ms} ms.",
                remedy="Check the host's load and the network.",
            ) from error
        except httpx.HTTPError as error:
            raise self._network_failure(host, error) from error
        if answer.status_code not in ask.good:
            raise _refusal(host, ask, answer)
        return answer

    async def _exchange(self, host: str, ask: Ask) -> Answer:
        """Send and read; again where the connection ended before the answer did."""
        for tries in range(1, _TRIES + 1):
            handshake = _Handshake()
            try:
                return await self._once(self._pool if tries == 1 else self._single_use, host, ask, handshake)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if tries == _TRIES:
                    raise
            except httpx.ConnectError as error:
                if tries == _TRIES or not handshake.begun or _verification_error(error) is not None:
                    raise
            logger.debug("%s ended a connection; asking again", host)
            if tries == _TRIES - 1:
                await anyio.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, connections: httpx.AsyncClient, host: str, ask: Ask, handshake: _Handshake
    ) -> Answer:
        request = connections.build_request(
            ask.method, host + ask.path, headers=dict(ask.headers), content=ask.content
        )
        request.extensions["trace"] = handshake
        response = await connections.send(request, stream=True)
        try:
            body = await _collect(host, response.aiter_raw())
        finally:
            await response.aclose()
        return Answer(response.status_code, body)

    def _connections(self, *, keep_alive: int) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._context,
            headers={"accept-encoding": "identity"},
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=keep_alive,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            timeout=self._deadline_ms / 1_000,  # the real deadline is one scope around all of it
            trust_env=False,  # a private host is behind no proxy
            transport=self._transport,
        )

    def _network_failure(self, host: str, error: httpx.HTTPError) -> MediaCacheUnavailableError:
        untrusted = _verification_error(error)
        if untrusted is None:
            return MediaCacheUnavailableError(
                f"{host} cannot be reached: {str(error) or type(error).__name__}.",
                remedy="Check the address and whether the host runs.",
            )
        trusted = ", ".join(f"{print_[:16]}..." for print_ in diag_of(self._tls).fingerprints)
        return MediaCacheUntrustedError(
            f"the certificate of {host} is not trusted: {untrusted.verify_message}; trusted are "
            f"{trusted or 'the authorities of this machine'}.",
            remedy="Compare with `livedub media check-tls`; set TTS_MEDIA_CACHE_CA_BUNDLE to the host's bundle.",
        )


async def _collect(host: str, chunks: AsyncIterator[bytes]) -> bytes:
    collected: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_OBJECT_BYTES:
            raise MediaCacheUnavailableError(f"{host} answered with more than {MAX_OBJECT_BYTES} bytes")
        collected.append(chunk)
    return b"".join(collected)


def _verification_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The reason at the bottom of what httpx and httpcore wrapped."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _refusal(host: str, ask: Ask, answer: Answer) -> MediaCacheError:
    status_code = answer.status_code
    said = answer.body[:200].decode("utf-8", "replace").strip()
    message = f"{host} answered {ask.method} with HTTP {status_code}" + (f": {said}" if said else "") + "."
    if status_code == 507:
        return MediaCacheUnavailableError(message, remedy="Its disk is full: see whether the clean-up runs.")
    if status_code >= 500 or status_code in _TRY_LATER:
        return MediaCacheUnavailableError(message, remedy="See the host's log.")
    if status_code in {401, 403}:
        remedy = "Set TTS_MEDIA_CACHE_UPLOAD_TOKEN to one of the host's tokens."
        return MediaCacheRefusedError(message, status_code=status_code, remedy=remedy)
    return MediaCacheRefusedError(message, status_code=status_code, remedy="Is this a media cache?")
