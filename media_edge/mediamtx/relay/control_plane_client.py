"""Signed requests to the control plane's HTTP API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import BaseModel

from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision.contract import MAX_BODY_BYTES
from livedub.supervision.signing import sign

_NONCE_BYTES = 16


class ControlPlaneError(LivedubError):
    """The control plane cannot be reached, or not in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the control plane said."""

    status: int
    body: bytes


class ControlPlane:
    """The control plane as the relay sees it: every request is signed, with its own time and nonce."""

    def __init__(
        self,
        api_url: str,
        key: bytes,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
        now_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._answered_at_s: float | None = None
        # No proxy of the environment: this is one known address, often on the loopback or inside the network.
        self._client = httpx.AsyncClient(
            base_url=api_url, timeout=timeout_s, trust_env=False, follow_redirects=False, transport=transport
        )

    @property
    def answered_ago_s(self) -> float | None:
        """Seconds since the last answer that was no server error; None before the first."""
        return None if self._answered_at_s is None else self._monotonic_s() - self._answered_at_s

    async def post(self, path: str, message: BaseModel) -> Answer:
        """Send `message` to `path` (`/v1/...`: that is what the signature covers, whatever the API's own address).

        Raises:
            ControlPlaneError: no answer in time.
            InvalidInputError: the message is larger than the API takes.
        """
        body = message.model_dump_json().encode()
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInputError(
                f"A request to {path} of {len(body)} bytes is larger than {MAX_BODY_BYTES}.",
                remedy="Spread the streams over more media hosts.",
            )
        headers = sign(
            self._key,
            body,
            method="POST",
            path=path,
            timestamp_ms=int(self._now_s() * 1_000),
            nonce=secrets.token_hex(_NONCE_BYTES),
        )
        try:
            response = await self._client.post(
                path, content=body, headers={**headers, "content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise ControlPlaneError(
                f"The control plane does not answer POST {path}: {error or type(error).__name__}.",
                remedy="Look at RELAY_API_URL and at the way there.",
            ) from error
        if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            self._answered_at_s = self._monotonic_s()
        return Answer(response.status_code, response.content)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
