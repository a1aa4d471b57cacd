"""What both APIs share: reading JSON bodies within their bounds, keys, refusals."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local.runpod.endpoint import Endpoint

_JSON = "application/json"


class Refusal(Exception):  # noqa: N818 - an answer on its way out
    """An answer other than 200."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem

    def response(self) -> Response:
        """The answer as RunPod gives it: `error` says what is wrong."""
        return answer({"error": self.problem}, self.status)


def answer(document: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(json.dumps(document, ensure_ascii=False), status, media_type=_JSON)


def named(endpoints: Mapping[str, Endpoint], http: Request) -> Endpoint:
    """The endpoint that the path names.

    Raises:
        Refusal: 404.
    """
    endpoint = endpoints.get(http.path_params["endpoint_id"])
    if endpoint is None:
        raise Refusal(404, f"there is no such endpoint here, only {', '.join(endpoints)}.")
    return endpoint


def check_key(http: Request, key: str) -> None:
    """Ask for the key, with or without `Bearer`: RunPod's clients send it so, its workers without.

    Raises:
        Refusal: 401.
    """
    given = http.headers.get("authorization", "").removeprefix("Bearer ").encode("utf-8", "replace")
    if key and not hmac.compare_digest(given, key.encode()):
        raise Refusal(401, "the API key is missing or wrong.")


async def read_json(http: Request, most_bytes: int) -> tuple[Any, int]:
    """The body's JSON and its size.

    Raises:
        Refusal: 413 for a body over `most_bytes`, 400 for one that is no JSON.
    """
    body = bytearray()
    async for block in http.stream():
        body += block
        if len(body) > most_bytes:
            raise Refusal(413, f"the body exceeds {most_bytes} bytes.")
    try:
        return json.loads(body), len(body)
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}.") from error
