"""What a request's head says, checked before a byte of its body is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from livedub.errors import InvalidInputError, LivedubError
from livedub.media_cache.key import ObjectPath, parse_object_path
from livedub.media_cache.wire import CONTENT_DIGEST_HEADER, METADATA_HEADER, CacheMetadata, decode_metadata
from media_edge.cache.content_digest import WANTED, parse_content_digest
from media_edge.cache.tokens import UploadTokens

ALLOWED_ON_OBJECTS = "GET, HEAD, PUT, DELETE"
ALLOWED_ON_PROBES = "GET, HEAD"
ANYBODY = "anybody"
_LONGEST_LENGTH = 12
_METADATA = METADATA_HEADER.lower().encode()
_DIGEST = CONTENT_DIGEST_HEADER.lower().encode()
_ONCE = (b"authorization", b"content-length", _DIGEST, _METADATA)
"""Headers that mean nothing, or something dangerous, when they come twice."""


class RefusedError(LivedubError):
    """The answer is `status`, with `code` for programs and the message for people."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class UploadHead:
    """A PUT or DELETE that may go on."""

    method: str
    path: ObjectPath
    writer: str
    content_length: int | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    metadata: CacheMetadata | None = None


def read_head(
    scope: Mapping[str, Any], tokens: UploadTokens | None, *, max_body_bytes: int, require_metadata: bool
) -> UploadHead:
    """Check path, method, token and headers, in this order.

    Raises:
        RefusedError: 404, 405, 401, 400, 413 or 422.
    """
    method = str(scope["method"])
    path = parse_object_path(raw_path(scope))
    if path is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "NO_SUCH_PATH", "This is no path of an object.")
    if method not in ("PUT", "DELETE"):
        raise RefusedError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            f"{method} is not served here.",
            headers={"Allow": ALLOWED_ON_OBJECTS},
        )
    headers = _once(scope["headers"])
    writer = _writer(headers, tokens)
    if method == "DELETE":
        return UploadHead(method, path, writer)
    if b"content-range" in headers:
        # RFC 9110, 14.5: a server that does not store parts must not take one for the whole.
        raise _malformed("Content-Range: an object is stored whole or not at all.")
    return UploadHead(
        method,
        path,
        writer,
        content_length=_length(headers, max_body_bytes),
        digests=_digests(headers),
        metadata=_metadata(headers, path, required=require_metadata),
    )


def raw_path(scope: Mapping[str, Any]) -> str:
    """The path as the client wrote it, escapes and all."""
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


def _once(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers and name in _ONCE:
            raise _malformed(f"{name.decode('latin-1')} comes twice.")
        headers[name] = value
    return headers


def _writer(headers: Mapping[bytes, bytes], tokens: UploadTokens | None) -> str:
    if tokens is None:
        return ANYBODY
    name = tokens.name_of(headers.get(b"authorization", b""))
    if name is None:
        raise RefusedError(
            HTTPStatus.UNAUTHORIZED,
            "AUTH_FAILED",
            "The bearer token is missing or nobody's.",
            headers={"WWW-Authenticate": 'Bearer realm="media"'},
        )
    return name


def _length(headers: Mapping[bytes, bytes], max_body_bytes: int) -> int | None:
    value = headers.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:
        raise _malformed("Content-Length is no number.")
    length = int(value)
    if length > max_body_bytes:
        raise too_large(max_body_bytes)
    if length == 0:
        raise unusable("The body is empty.")
    return length


def _digests(headers: Mapping[bytes, bytes]) -> Mapping[str, bytes]:
    value = headers.get(_DIGEST)
    if value is None:
        return {}
    try:
        return parse_content_digest(value.decode("latin-1"))
    except InvalidInputError as error:
        raise _malformed(str(error), headers={"Want-Content-Digest": WANTED}) from None


def _metadata(headers: Mapping[bytes, bytes], path: ObjectPath, *, required: bool) -> CacheMetadata | None:
    value = headers.get(_METADATA)
    if value is None:
        if required:
            raise unusable(f"{METADATA_HEADER} is missing.")
        return None
    try:
        metadata = decode_metadata(value.decode("latin-1"))
        metadata.check_against(path)
    except InvalidInputError as error:
        raise unusable(str(error)) from None
    return metadata


def too_large(max_body_bytes: int) -> RefusedError:
    """413."""
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LARGE", f"At most {max_body_bytes} bytes are taken."
    )


def unusable(message: str) -> RefusedError:
    """422: well formed, but nothing that can be stored under this path."""
    return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "UNUSABLE_BODY", message)


def _malformed(message: str, *, headers: Mapping[str, str] | None = None) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", message, headers=headers)
