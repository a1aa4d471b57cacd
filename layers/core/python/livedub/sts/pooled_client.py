"""Pooled HTTP for the STS clients: bounded exchanges, and every failure of the network as a typed error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import httpx

from livedub.loopback import is_loopback
from livedub.sts.errors import StsBadAnswer, StsFailure, StsTimeout, StsUnavailable
from livedub.sts.lines import LineBuffer

TEXT_ALLOWANCE_BYTES = 1024 * 1024
"""What an answer may have besides audio."""

_CONNECT_TIMEOUT_MS = 2_000
_KEEPALIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer; `retry_after_ms` is 0 where none was given."""

    status_code: int
    retry_after_ms: int
    body: bytes


class AnswerLines:
    """An answer that is read line by line, while the service is still working."""

    def __init__(self, response: httpx.Response, largest_line_bytes: int) -> None:
        self.status_code = response.status_code
        self.retry_after_ms = _retry_after_ms(response)
        self._chunks = response.aiter_bytes()
        self._buffer = LineBuffer(largest_line_bytes)
        self._lines: list[bytes] = []
        self._ended = False

    async def next_line(self, timeout_ms: int) -> bytes | None:
        """The next line; None after the last.

        Raises:
            StsFailure: the line did not come within `timeout_ms`, is too long, or the connection broke.
        """
        with _typed_failures(timeout_ms), anyio.fail_after(max(0, timeout_ms) / 1_000):
            while not self._lines and not self._ended:
                chunk = await anext(self._chunks, None)
                self._ended = chunk is None
                self._lines += self._buffer.end() if chunk is None else self._buffer.feed(chunk)
        return self._lines.pop(0) if self._lines else None

    async def rest(self, timeout_ms: int, largest_bytes: int) -> bytes:
        """The whole body of an answer that turned out to be a single document."""
        with _typed_failures(timeout_ms), anyio.fail_after(max(0, timeout_ms) / 1_000):
            return await _collect(self._chunks, largest_bytes)


class PooledClient:
    """One connection pool to one service. Safe to cancel: an exchange given up closes its connection."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        max_connections: int = 16,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            limits=httpx.Limits(max_connections=max_connections, keepalive_expiry=_KEEPALIVE_S),
            # A proxy meant for the internet must not swallow what goes to a service on this machine.
            trust_env=not is_loopback(httpx.URL(url).host),
            transport=transport,
        )

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        timeout_ms: int,
        largest_bytes: int = TEXT_ALLOWANCE_BYTES,
    ) -> HttpAnswer:
        """Ask and read the whole answer.

        Raises:
            StsFailure: no answer within `timeout_ms`, one of more than `largest_bytes`, or no connection.
        """
        with _typed_failures(timeout_ms), anyio.fail_after(timeout_ms / 1_000):
            # httpx bounds each read and write, the scope bounds their sum.
            response = await self._client.send(self._request(method, path, body, timeout_ms), stream=True)
            try:
                answer = await _collect(response.aiter_bytes(), largest_bytes)
            finally:
                await response.aclose()
            return HttpAnswer(response.status_code, _retry_after_ms(response), answer)

    @asynccontextmanager
    async def open_lines(
        self, path: str, body: str, *, timeout_ms: int, largest_line_bytes: int
    ) -> AsyncGenerator[AnswerLines]:
        """POST and read the answer line by line; leaving the block early ends the work behind it.

        Raises:
            StsFailure: no answer began within `timeout_ms`, or no connection.
        """
        request = self._request("POST", path, body, timeout_ms)
        with _typed_failures(timeout_ms), anyio.fail_after(timeout_ms / 1_000):
            response = await self._client.send(request, stream=True)
        try:
            yield AnswerLines(response, largest_line_bytes)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the pool; safe to call twice."""
        await self._client.aclose()

    def _request(self, method: str, path: str, body: str | None, timeout_ms: int) -> httpx.Request:
        timeout_s = timeout_ms / 1_000
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_MS / 1_000))
        headers = {"content-type": "application/json"} if body is not None else {}
        return self._client.build_request(method, path, content=body, headers=headers, timeout=timeout)


async def _collect(chunks: AsyncIterator[bytes], largest_bytes: int) -> bytes:
    collected: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > largest_bytes:
            raise StsBadAnswer(f"STS answered with more than {largest_bytes} bytes")
        collected.append(chunk)
    return b"".join(collected)


@contextmanager
def _typed_failures(timeout_ms: int) -> Generator[None]:
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise StsUnavailable(
            f"no connection to STS within {min(timeout_ms, _CONNECT_TIMEOUT_MS)} ms.",
            remedy="Check STS_SERVICE_URL and the network.",
        ) from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise StsTimeout(f"STS did not answer within {timeout_ms} ms") from error
    except (httpx.DecodingError, httpx.RemoteProtocolError) as error:
        raise _protocol_failure(error) from error
    except httpx.TransportError as error:
        raise StsUnavailable(
            f"STS cannot be reached: {error or type(error).__name__}.",
            remedy="Start the service or correct STS_SERVICE_URL.",
        ) from error


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
