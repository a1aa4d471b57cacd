"""Signatures of requests between relay and API: HMAC-SHA256 over everything that matters, with time and nonce."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from livedub.errors import ConfigurationError, LivedubError

TIMESTAMP_HEADER = "X-Livedub-Timestamp"
NONCE_HEADER = "X-Livedub-Nonce"
SIGNATURE_HEADER = "X-Livedub-Signature"
MAX_AGE_MS = 60_000

_VERSION = "v1"
_TIMESTAMP = re.compile(r"\A[0-9]{1,15}\Z")
_NONCE = re.compile(r"\A[A-Za-z0-9_-]{16,64}\Z")
_SHORTEST_KEY_BYTES = 16


class SignatureRejectedError(LivedubError):
    """The request is not the relay's: `code` is UNSIGNED, BAD_SIGNATURE or STALE."""

    def __init__(
        self, code: Literal["UNSIGNED", "STALE", "BAD_SIGNATURE"], message: str, *, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.code: Literal["UNSIGNED", "STALE", "BAD_SIGNATURE"] = code


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds. Whether the nonce is new is the store's to say."""

    nonce: str
    timestamp_ms: int


def sign(key: bytes, body: bytes, *, method: str, path: str, timestamp_ms: int, nonce: str) -> dict[str, str]:
    """The headers that prove who sent `body` to `path` and when. Take a fresh random nonce every time.

    Raises:
        ConfigurationError: the key is too short to protect anything.
    """
    _check_keys([key])
    signature = _signature(key, body, method, path, str(timestamp_ms), nonce)
    return {
        TIMESTAMP_HEADER: str(timestamp_ms),
        NONCE_HEADER: nonce,
        SIGNATURE_HEADER: f"{_VERSION}={signature}",
    }


def verify(
    keys: bytes | Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    path: str,
    now_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> Signed:
    """Check the headers of a request. With several keys (while rotating) any of them will do.

    Raises:
        SignatureRejectedError: a header is missing or malformed, no key fits, or the time is too far off.
        ConfigurationError: no key, or one that is too short.
    """
    candidates = [keys] if isinstance(keys, bytes) else list(keys)
    _check_keys(candidates)
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get(TIMESTAMP_HEADER.lower(), "")
    nonce = found.get(NONCE_HEADER.lower(), "")
    version, _, presented = found.get(SIGNATURE_HEADER.lower(), "").partition("=")
    if version != _VERSION or not _TIMESTAMP.match(timestamp) or not _NONCE.match(nonce):
        raise SignatureRejectedError(
            "UNSIGNED", "The request carries no complete signature.", remedy="Send it through the relay."
        )
    fits = False
    for key in candidates:  # all of them, so that the time says nothing about which one fits
        expected = _signature(key, body, method, path, timestamp, nonce)
        fits |= hmac.compare_digest(expected.encode(), presented.encode())
    if not fits:
        raise SignatureRejectedError(
            "BAD_SIGNATURE",
            "The signature does not fit the request.",
            remedy="Compare the relay's key with the secret.",
        )
    if abs(now_ms - int(timestamp)) > max_age_ms:
        raise SignatureRejectedError(
            "STALE",
            f"The request is {abs(now_ms - int(timestamp)) // 1_000} s off, more than {max_age_ms // 1_000} s.",
            remedy="Check the clock of the media host.",
        )
    return Signed(nonce, int(timestamp))


def _signature(key: bytes, body: bytes, method: str, path: str, timestamp: str, nonce: str) -> str:
    digest = hashlib.sha256(body).hexdigest()
    text = f"{_VERSION}\n{method.upper()}\n{path}\n{timestamp}\n{nonce}\n{digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _check_keys(keys: Sequence[bytes]) -> None:
    if not keys or any(len(key) < _SHORTEST_KEY_BYTES for key in keys):
        raise ConfigurationError(
            f"The signing key has fewer than {_SHORTEST_KEY_BYTES} bytes.",
            remedy="Make one with `openssl rand -hex 32`.",
        )
