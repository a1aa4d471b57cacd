"""STS over HTTP: one pooled client, deadlines that hold, at most one retry."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable

import anyio
import httpx
from pydantic import ValidationError

from livedub.sts.answer import read_answer
from livedub.sts.contract import MAX_AUDIO_BASE64_BYTES, ErrorCode, Health, StsRequest, StsResult
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable

_NS_PER_MS = 1_000_000
_OK = 200
_CONNECT_TIMEOUT_MS = 2_000
_HEALTH_TIMEOUT_MS = 3_000
_RETRY_PAUSE_MS = 50
_MIN_RETRY_MS = 200
"""With less time left than this a second attempt only costs the service work that nobody airs."""
_TEXT_ALLOWANCE_BYTES = 1024 * 1024
_KEEPALIVE_S = 30.0


class HttpSts:
    """`SpeechToSpeech` over `http(s)://`; see that protocol for what its methods promise."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        max_connections: int = 16,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            limits=httpx.Limits(max_connections=max_connections, keepalive_expiry=_KEEPALIVE_S),
            # A proxy meant for the internet must not swallow what goes to a service on this machine.
            trust_env=not _is_loopback(httpx.URL(url).host),
            transport=transport,
        )

    async def process(self, request: StsRequest) -> StsResult:
        """As `SpeechToSpeech.process`; one retry where the failure may pass and the deadline allows it."""
        deadline_ns = self._clock_ns() + request.deadline_ms * _NS_PER_MS
        try:
            return await self._attempt(request, deadline_ns)
        except StsFailure as failure:
            pause_ms = _pause_before_retry_ms(failure)
            if pause_ms is None or self._left_ms(deadline_ns) < pause_ms + _MIN_RETRY_MS:
                raise
        await asyncio.sleep(pause_ms / 1_000)
        return await self._attempt(request, deadline_ns)

    async def health(self) -> Health:
        """As `SpeechToSpeech.health`; an answer that is still loading is `ready` false, not an error."""
        status_code, _, body = await self._exchange(
            "GET", "health", None, _HEALTH_TIMEOUT_MS, _TEXT_ALLOWANCE_BYTES
        )
        try:
            health = Health.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise StsUnavailable(
                f"GET health answered HTTP {status_code}, which no STS service says",
                remedy="Check STS_SERVICE_URL.",
            ) from error
        if health.ready and status_code != _OK:
            raise StsUnavailable(f"GET health answered HTTP {status_code}")
        return health

    async def aclose(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    def _left_ms(self, deadline_ns: int) -> int:
        return (deadline_ns - self._clock_ns()) // _NS_PER_MS

    async def _attempt(self, request: StsRequest, deadline_ns: int) -> StsResult:
        left_ms = self._left_ms(deadline_ns)
        if left_ms < 1:
            raise StsTimeout(f"the deadline of {request.deadline_ms} ms passed before STS could be asked")
        # The service counts from receipt: a second attempt must not ask for more time than there is.
        body = request.model_copy(update={"deadline_ms": min(request.deadline_ms, left_ms)}).model_dump_json()
        largest_bytes = _TEXT_ALLOWANCE_BYTES + len(request.config.targets) * MAX_AUDIO_BASE64_BYTES
        status_code, retry_after_ms, answer = await self._exchange(
            "POST", "api/v1/sts/process", body, left_ms, largest_bytes
        )
        return read_answer(request, status_code, answer, retry_after_ms)

    async def _exchange(
        self, method: str, path: str, body: str | None, timeout_ms: int, largest_bytes: int
    ) -> tuple[int, int, bytes]:
        """One HTTP exchange: status, Retry-After in ms (0 without), body; every failure typed."""
        timeout_s = timeout_ms / 1_000
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_MS / 1_000))
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            # httpx bounds each read and write, the scope bounds their sum.
            with anyio.fail_after(timeout_s):
                async with self._client.stream(
                    method, path, content=body, headers=headers, timeout=timeout
                ) as response:
                    answer = await _read_bounded(response, largest_bytes)
                    return response.status_code, _retry_after_ms(response), answer
        except httpx.ConnectTimeout as error:
            raise StsUnavailable(
                f"no connection to STS within {round(min(timeout_ms, _CONNECT_TIMEOUT_MS))} ms",
                remedy="Check STS_SERVICE_URL and the network.",
            ) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise StsTimeout(f"STS did not answer within {timeout_ms} ms") from error
        except (httpx.DecodingError, httpx.RemoteProtocolError) as error:
            raise _protocol_failure(error) from error
        except httpx.TransportError as error:
            raise StsUnavailable(
                f"STS cannot be reached: {error or type(error).__name__}",
                remedy="Start the service or correct STS_SERVICE_URL.",
            ) from error


async def _read_bounded(response: httpx.Response, largest_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > largest_bytes:
            raise StsBadAnswer(f"STS answered with more than {largest_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _protocol_failure(error: httpx.HTTPError) -> StsFailure:
    """A peer that hung up is unreachable (a stale connection, a restart); one that speaks no HTTP answers nonsense."""
    if "disconnected" in str(error) or "closed connection" in str(error):
        return StsUnavailable(f"STS hung up: {error}")
    return StsBadAnswer(f"STS does not speak HTTP: {error}")


def _retry_after_ms(response: httpx.Response) -> int:
    """Retry-After in its seconds form (RFC 9110, section 10.2.3); a date or nonsense counts as absent."""
    value = response.headers.get("retry-after", "")
    seconds = len(value) <= 4 and value.isascii() and value.isdigit()
    return int(value) * 1_000 if seconds else 0


def _pause_before_retry_ms(failure: StsFailure) -> int | None:
    """How long to wait before the one retry; None where a second attempt is pointless."""
    if isinstance(failure, StsUnavailable):
        return _RETRY_PAUSE_MS
    if isinstance(failure, StsRefused) and failure.retryable and failure.code is not ErrorCode.TIMEOUT:
        return max(_RETRY_PAUSE_MS, failure.retry_after_ms)
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
