"""A client of the library's API, as much of it as hosts need that have no database."""

from __future__ import annotations

from http import HTTPStatus

import httpx

from livedub.library.library_errors import LibraryError, LibraryErrorCode

_TIMEOUT_S = 30.0
"""What API Gateway gives the function."""


def register_prefix(api_url: str, token: str, prefix: str) -> None:
    """Have the library look at every object of the bucket `in` whose key begins with `prefix`.

    Raises:
        LibraryError: it does not answer (CATALOGUE_DOWN), or refuses.
    """
    try:
        answer = httpx.post(
            f"{api_url.rstrip('/')}/api/assets/scan",
            json={"prefix": prefix},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_TIMEOUT_S,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LibraryError(
            LibraryErrorCode.CATALOGUE_DOWN,
            f"The library's API at {api_url} does not answer: {error}",
            "Check LIBRARY_API_URL and that it runs.",
        ) from error
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise LibraryError(
            LibraryErrorCode.UNAUTHORIZED,
            f"The library's API at {api_url} refuses our token.",
            "Check LIBRARY_API_TOKEN.",
        )
    if not answer.is_success:
        raise LibraryError(
            LibraryErrorCode.CATALOGUE_DOWN,
            f"The library's API at {api_url} answered {answer.status_code} to a scan of {prefix}.",
            "Look into its log.",
        )
