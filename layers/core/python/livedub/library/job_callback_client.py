"""Tells the library's API how a job ended: a signed POST, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from livedub.errors import ConfigurationError
from livedub.library.api.callback_auth import callback_path, sign_callback
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobState, MediaError

_TIMEOUT_S = 20.0
_KNOWN_BETTER = frozenset({409})
"""The job has ended otherwise meanwhile; the catalogue's word stands."""
_SHOWN_CHARACTERS = 300


def post_callback(url: str, secret: str, job: Job, state: JobState, error: MediaError | None) -> None:
    """Report `state` of `job` to the API at `url`.

    Raises:
        ConfigurationError: `url` is no address.
        LibraryError: QUEUE_DOWN, the API cannot be reached; WORK_FAILED, it refused.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigurationError(
            f"LIBRARY_CALLBACK_URL {url!r} is no address.", remedy="Give the address of the library's API."
        )
    body = json.dumps(
        {
            "attempt": job.attempt,
            "state": state.value,
            "outputs": [output.model_dump(mode="json") for output in job.outputs],
            "error": error.model_dump(mode="json")
            if error is not None and state is JobState.FAILED
            else None,
        }
    ).encode()
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url.rstrip("/") + callback_path(job.id),
        data=body,
        headers={"Content-Type": "application/json", **sign_callback(secret, job.id, body)},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            said = refused.read().decode(errors="replace")[:_SHOWN_CHARACTERS]
        if refused.code not in _KNOWN_BETTER:
            raise LibraryError(
                LibraryErrorCode.WORK_FAILED,
                f"The library's API refuses the callback of job {job.id}: {refused.code} {said}",
                "Compare LIBRARY_CALLBACK_SECRET of both sides, and their clocks.",
            ) from refused
    except (OSError, http.client.HTTPException) as unreachable:
        raise LibraryError(
            LibraryErrorCode.QUEUE_DOWN,
            f"The library's API cannot be reached at {url}: {unreachable}.",
            "Check LIBRARY_CALLBACK_URL.",
        ) from unreachable
