"""HTTP with an API of ours: one pool of connections, a bearer token, a second try of what may be asked twice."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx

from livedub.errors import ConfigurationError
from livedub.loopback import is_loopback

_CONNECT_TIMEOUT_S = 3.0

_Api = TypeVar("_Api", bound="BearerApi")


class BearerApi:
    """A context manager over one connection pool; `url` is the API's address without what its paths begin with."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float,
        variable: str,
        example: str,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`variable` is where `url` was set, `example` what could stand there: for the error.

        Raises:
            ConfigurationError: `url` is no http(s) address.
        """
        address = _address(url, variable, example)
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url,
            headers={"authorization": f"Bearer {token}", "accept": "application/json"},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            # A proxy meant for the internet must not swallow what goes to a service on this machine.
            trust_env=not is_loopback(address.host),
            transport=transport,
        )

    def __enter__(self: _Api) -> _Api:  # noqa: PYI019 - typing has Self since Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> httpx.Response:
        """The answer, whatever its status. What is `repeatable` is asked a second time when the connection broke.

        Raises:
            httpx.HTTPError: nobody answered.
        """
        attempts = 2 if repeatable else 1
        while True:
            attempts -= 1
            try:
                return self._client.request(method, path, json=body, params=query, headers=headers)
            except httpx.HTTPError as error:
                if not attempts or isinstance(error, httpx.ConnectError):
                    raise


def _address(url: str, variable: str, example: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{variable} {url!r} is no URL: {error}.") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError(
            f"{variable} is {url!r}, which is no http(s) address.", remedy=f"Give something like {example}."
        )
    return address
