"""Tells the relay beside a media server to disconnect a publisher."""

from __future__ import annotations

import httpx

from livedub.supervision.store_errors import StoreUnavailableError


class RelayKicker:
    """Implements MediaKicker."""

    def __init__(self, timeout_s: float) -> None:
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)

    def kick(self, url: str, path: str, token: str) -> None:
        """See MediaKicker.

        Raises:
            StoreUnavailableError: the relay did not answer, or not well.
        """
        try:
            answer = self._client.post(url, json={"path": path, "token": token})
        except httpx.HTTPError as error:
            raise StoreUnavailableError(f"The relay did not answer: {type(error).__name__}.") from None
        if answer.is_error:
            raise StoreUnavailableError(f"The relay answered {answer.status_code}.")

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
