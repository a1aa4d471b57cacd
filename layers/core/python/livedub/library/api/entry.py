"""The one way into the library's API: size, then who asks, then the route. Errors become answers with stable codes."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from livedub.library.api.answers import HEADERS, JSON, refused, telemetry
from livedub.library.api.api_types import MAX_BODY_BYTES
from livedub.library.api.routes import OPENAPI_PATH, app
from livedub.library.library_errors import LibraryError, LibraryErrorCode

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_CALLBACK = re.compile(r"/api/jobs/([0-9a-fA-F-]{36})/callback")


def respond(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request in payload format 2.0."""
    request = APIGatewayProxyEventV2(event)
    telemetry.about(request=f"{request.http_method} {request.path[:200]}")
    telemetry.count("Requests")
    try:
        body = _body(request)
        _let_in(request, body)
        if body:
            event = _as_json(event, request.headers.get("content-type", ""), body)
    except Exception as error:  # noqa: BLE001 - logged there; nobody passes
        status, answer = refused(error)
        return {
            "statusCode": status,
            "headers": {"content-type": JSON, **HEADERS},
            "body": answer.model_dump_json(),
            "isBase64Encoded": False,
        }
    return app.resolve(event, context)


def _let_in(request: APIGatewayProxyEventV2, body: bytes) -> None:
    callback = _CALLBACK.fullmatch(request.path) if request.http_method == "POST" else None
    if callback is not None:
        _check_callback(callback[1], request, body)
    elif (request.http_method, request.path) != ("GET", OPENAPI_PATH):
        _check_token(request.headers.get("authorization", ""))


def _check_token(header: str) -> None:
    from livedub.library.api import wiring  # noqa: PLC0415 - brings settings, with the first call

    scheme, _, presented = header.partition(" ")
    token = wiring.api_token()
    fits = hmac.compare_digest(presented.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not fits or not token:
        raise LibraryError(
            LibraryErrorCode.UNAUTHORIZED,
            "The bearer token is missing or wrong.",
            "Send Authorization: Bearer with LIBRARY_API_TOKEN of this deployment.",
        )


def _check_callback(job: str, request: APIGatewayProxyEventV2, body: bytes) -> None:
    from livedub.library.api import wiring  # noqa: PLC0415 - brings settings and psycopg

    try:
        job_id = UUID(job)
    except ValueError:
        raise LibraryError(
            LibraryErrorCode.CALLBACK_FORGED, "The address names no job.", "Sign and send the job's own."
        ) from None
    wiring.library().check_callback(job_id, request.headers, body)


def _body(request: APIGatewayProxyEventV2) -> bytes:
    text = request.body or ""
    # Base64 grows by a third: what is too long in any case is not even decoded.
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if request.is_base64_encoded else text.encode()
        body.decode()
    except (binascii.Error, ValueError) as error:
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST, "The body is no text in UTF-8.", "Send JSON."
        ) from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _as_json(event: dict[str, Any], content_type: str, body: bytes) -> dict[str, Any]:
    """The event with a content type that the resolver knows.

    Every body that any route takes is a JSON object; the resolver would also take forms, and lists for their first item.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON) or body.lstrip()[:1] != b"{":
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST,
            "The body is no JSON object.",
            "Send one, with Content-Type: application/json.",
        )
    return {**event, "headers": {**event.get("headers", {}), "content-type": JSON}}


def _too_large() -> LibraryError:
    return LibraryError(
        LibraryErrorCode.BODY_TOO_LARGE,
        f"The body exceeds {MAX_BODY_BYTES} bytes.",
        "Files go to the storage, by an address of /api/assets/upload-url.",
    )
