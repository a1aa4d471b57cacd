"""API Gateway's payload format 2.0: an HTTP request as an event, and an answer as an HTTP response."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

ACCOUNT_ID = "123456789012"
_TEXT = re.compile(r"(text/.*|application/(.*\+)?(json|xml)|application/javascript)")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it reached the front; `path` is decoded and without the front's own prefix."""

    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    remote_address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the front sends back."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @classmethod
    def message(cls, status: int, text: str) -> HttpAnswer:
        """API Gateway's own answers: `{"message": ...}`."""
        return cls(status, (("Content-Type", "application/json"),), json.dumps({"message": text}).encode())


@dataclass(frozen=True, slots=True)
class Matched:
    """The route that takes a request."""

    route_key: str
    api_id: str
    path_parameters: Mapping[str, str] = field(default_factory=dict[str, str])


class MalformedAnswerError(ValueError):
    """The function's answer is no HTTP response."""


def request_event(request: HttpRequest, matched: Matched) -> dict[str, Any]:
    """The event of payload format 2.0; what is empty is absent, as there."""
    headers = _joined((name.lower(), value) for name, value in request.headers)
    cookies = headers.pop("cookie", "")
    now_s = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": matched.route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": matched.api_id,
            "domainName": headers.get("host", "localhost"),
            "domainPrefix": matched.api_id,
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.remote_address,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": secrets.token_urlsafe(12),
            "routeKey": matched.route_key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now_s)),
            "timeEpoch": int(now_s * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    if request.query:
        event["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    if matched.path_parameters:
        event["pathParameters"] = dict(matched.path_parameters)
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request.body, headers.get("content-type", ""))
    return event


def function_answer(payload: bytes) -> HttpAnswer:
    """What a function's result means as an HTTP response.

    An object with `statusCode` is taken at its word; anything else is the body of a 200.

    Raises:
        MalformedAnswerError: the status, the headers or the body are of the wrong kind.
    """
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise MalformedAnswerError("the answer is not JSON") from error
    if not isinstance(result, dict) or "statusCode" not in result:
        return HttpAnswer(200, (("Content-Type", "application/json"),), payload)
    try:
        status = int(result["statusCode"])
        headers = [(str(name), _header(value)) for name, value in (result.get("headers") or {}).items()]
        headers += [("Set-Cookie", str(cookie)) for cookie in result.get("cookies") or ()]
        body = _answer_body(result)
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise MalformedAnswerError(f"the answer is no HTTP response: {error}") from error
    if not 100 <= status <= 599:
        raise MalformedAnswerError(f"statusCode {status} is none")
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "text/plain;charset=UTF-8"))
    return HttpAnswer(status, headers, body)


def _joined(pairs: Any) -> dict[str, str]:
    # What appears several times is joined with commas.
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    if _TEXT.fullmatch(content_type.partition(";")[0].strip().lower()):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _header(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if "\r" in text or "\n" in text:
        raise ValueError("a header holds a line break")
    return text


def _answer_body(result: dict[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise TypeError("the body is no string")
    return base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
