"""Requests from relays: nothing of a body is looked at before its size, signature and nonce are in order."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from pydantic import ValidationError

from livedub.supervision.contract import MAX_BODY_BYTES, Wire
from livedub.supervision.refusals import RequestRefusedError
from livedub.supervision.signing import verify

_Wire = TypeVar("_Wire", bound=Wire)


class HttpEvent(Protocol):
    """An HTTP API's event, payload format 2.0; Powertools' APIGatewayProxyEventV2 is one."""

    @property
    def http_method(self) -> str:
        """Such as `POST`."""
        ...

    @property
    def path(self) -> str:
        """Without the stage, such as `/v1/hooks/publish`."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in lower case."""
        ...

    @property
    def body(self) -> str | None:
        """As it came, or as base64."""
        ...

    @property
    def is_base64_encoded(self) -> bool | None:
        """Whether `body` is base64."""
        ...


class NonceGuard(Protocol):
    """Remembers nonces."""

    def first_use(self, nonce: str, now_ms: int) -> bool:
        """Whether nobody used `nonce` before."""
        ...


class SignedRequests:
    """Opens what relays send."""

    def __init__(
        self, keys: Callable[[], Sequence[bytes]], guard: NonceGuard, now_ms: Callable[[], int]
    ) -> None:
        """`keys` answers the signing keys that are good now."""
        self._keys = keys
        self._guard = guard
        self._now_ms = now_ms

    def read(self, event: HttpEvent, model: type[_Wire]) -> _Wire:
        """The request's body as `model`.

        Raises:
            RequestRefusedError: BODY_TOO_LARGE, MALFORMED_BODY or REPLAYED.
            SignatureRejectedError: UNSIGNED, STALE or BAD_SIGNATURE.
            StoreUnavailableError: keys or nonces cannot be read.
        """
        body = body_bytes(event)
        now_ms = self._now_ms()
        signed = verify(
            self._keys(), event.headers, body, method=event.http_method, path=event.path, now_ms=now_ms
        )
        if not self._guard.first_use(signed.nonce, now_ms):
            raise RequestRefusedError(
                "REPLAYED",
                401,
                "This request has been used before.",
                remedy="Sign each attempt with a nonce of its own.",
            )
        return parse_body(body, model)


def body_bytes(event: HttpEvent) -> bytes:
    """The body as it was sent; at most MAX_BODY_BYTES.

    Raises:
        RequestRefusedError: BODY_TOO_LARGE or MALFORMED_BODY.
    """
    text = event.body or ""
    # Base64 grows by a third: what is too long in any case is not even decoded.
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if event.is_base64_encoded else text.encode()
    except (binascii.Error, ValueError) as error:
        raise RequestRefusedError("MALFORMED_BODY", 400, "The body is no base64.") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def parse_body(body: bytes, model: type[_Wire]) -> _Wire:
    """The body as `model`.

    Raises:
        RequestRefusedError: MALFORMED_BODY, naming the fields.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        # Names and reasons only: the values may be credentials.
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()[:8]
        )
        raise RequestRefusedError(
            "MALFORMED_BODY", 400, f"The body is no {model.__name__}: {problems[:500]}."
        ) from None


def _too_large() -> RequestRefusedError:
    return RequestRefusedError(
        "BODY_TOO_LARGE", 413, f"The body exceeds {MAX_BODY_BYTES} bytes.", remedy="Send less at once."
    )
