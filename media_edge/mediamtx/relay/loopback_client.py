"""HTTP to the media server beside us: bounded in time and size, never by a proxy."""

from __future__ import annotations

import ssl

import httpx

from media_edge.mediamtx.relay.publishers import MediaServerError

_TIMEOUT_S = 1.5
_LONGEST_ANSWER_BYTES = 16 * 1024 * 1024


class LoopbackHttp:
    """A connection pool to one address."""

    def __init__(self, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # The bare TLS context spares reading the CA bundle: nothing here speaks https.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=_TIMEOUT_S,
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            transport=transport,
        )

    async def request(self, method: str, path: str) -> tuple[int, bytes]:
        """Status and body.

        Raises:
            MediaServerError: nothing answers in time, or without end.
        """
        try:
            async with self._client.stream(method, path) as response:
                body = bytearray()
                async for data in response.aiter_bytes():
                    body += data
                    if len(body) > _LONGEST_ANSWER_BYTES:
                        raise MediaServerError(f"The media server's answer to {path} has no end.")
                return response.status_code, bytes(body)
        except httpx.HTTPError as error:
            raise MediaServerError(
                f"The media server does not answer {method} {path}: {error or type(error).__name__}.",
                remedy="Look at its log, and at RELAY_SERVER_API_URL.",
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
