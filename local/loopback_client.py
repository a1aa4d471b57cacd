"""Plain HTTP to servers on this machine: readiness, statistics, control."""

from __future__ import annotations

import ssl

import httpx

from livedub.errors import LivedubError


class LoopbackError(LivedubError):
    """A local server did not answer as it should."""


def _client(timeout_s: float) -> httpx.AsyncClient:
    # trust_env=False: a proxy of the environment has no business between us and the loopback. The bare TLS
    # context spares reading the CA bundle for every request; nothing here speaks https.
    return httpx.AsyncClient(
        timeout=timeout_s, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )


async def http_status(url: str, *, timeout_s: float) -> int | None:
    """The status GET `url` answers with; None when nothing answers in time."""
    try:
        async with _client(timeout_s) as client:
            return (await client.get(url)).status_code
    except httpx.HTTPError:
        return None


async def http_request(method: str, url: str, *, timeout_s: float) -> str:
    """The body of a 2xx answer.

    Raises:
        LoopbackError: no answer in time, or another status.
    """
    try:
        async with _client(timeout_s) as client:
            response = await client.request(method, url)
    except httpx.HTTPError as error:
        raise LoopbackError(
            f"{method} {url} failed: {error or type(error).__name__}.",
            remedy="Look at the server's log in the run folder.",
        ) from error
    if not response.is_success:
        raise LoopbackError(f"{method} {url} answered {response.status_code}: {response.text[:200]}")
    return response.text
