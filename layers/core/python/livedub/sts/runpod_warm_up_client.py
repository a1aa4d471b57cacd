"""Waking a RunPod endpoint up without waiting for it; with the standard library, for a function that must start fast."""

from __future__ import annotations

import http.client
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from livedub.sts.errors import StsBadAnswer, StsUnavailable
from livedub.sts.runpod_job import DEFAULT_BASE_URL, api_base, endpoint_id, http_failure
from livedub.sts.runpod_warm_up import Readiness, read_readiness, warm_up_job

_TIMEOUT_S = 4.0
"""Of each time the network is waited for; the caller bounds the whole."""

_LARGEST_BYTES = 64 * 1024


def wake_up(service_url: str, *, api_key: str, base_url: str = DEFAULT_BASE_URL) -> Readiness:
    """Look at the endpoint of `runpod://ID` and hand it a job of silence where nothing else would start a worker.

    Returns what it was like before. Safe to repeat: while that job waits, or a worker starts, no other is handed in.

    Raises:
        ConfigurationError: an address is none.
        StsFailure: RunPod does not answer, or refuses.
    """
    endpoint = f"{urlsplit(api_base(base_url)).path}/{endpoint_id(service_url)}"
    with _connection(base_url) as connection:
        readiness = read_readiness(_exchange(connection, "GET", f"{endpoint}/health", api_key))
        if readiness is Readiness.ASLEEP:
            _exchange(connection, "POST", f"{endpoint}/run", api_key, warm_up_job())
        return readiness


@contextmanager
def _connection(base_url: str) -> Generator[http.client.HTTPConnection]:
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        yield connection
    except (OSError, http.client.HTTPException) as error:
        raise StsUnavailable(
            f"RunPod's API does not answer: {error or type(error).__name__}.",
            remedy="Check STS_RUNPOD_BASE_URL and RunPod's status.",
        ) from error
    finally:
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, api_key: str, body: str = ""
) -> bytes:
    headers = {"authorization": f"Bearer {api_key}", "accept": "application/json"}
    if body:
        headers["content-type"] = "application/json"
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    answer = response.read(_LARGEST_BYTES + 1)
    if failure := http_failure(response.status, 0, about_job=False):
        raise failure
    if len(answer) > _LARGEST_BYTES:
        raise StsBadAnswer(f"RunPod answered with more than {_LARGEST_BYTES} bytes")
    return answer
