"""Callbacks of whoever ran a job: HMAC-SHA256 over method, path, time, nonce and body; each counts once.

The signature is the one relays use (`livedub.supervision.signing`). The secret is text of 16 characters or more; while
it is exchanged several may stand side by side, separated by white space: the first signs, each of them verifies.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Protocol
from uuid import UUID

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.supervision.signing import SignatureRejectedError, sign, verify

_CODES = {
    "UNSIGNED": LibraryErrorCode.CALLBACK_FORGED,
    "BAD_SIGNATURE": LibraryErrorCode.CALLBACK_FORGED,
    "STALE": LibraryErrorCode.CALLBACK_EXPIRED,
}
_REMEDIES = {
    LibraryErrorCode.CALLBACK_FORGED: "Sign it with LIBRARY_CALLBACK_SECRET of this deployment.",
    LibraryErrorCode.CALLBACK_EXPIRED: "Compare the clocks of both machines, and sign every attempt anew.",
}
_SHORTEST_SECRET = 16


class NonceGuard(Protocol):
    """Remembers nonces, for longer than a signature is good."""

    def first_use(self, nonce: str) -> bool:
        """Whether nobody used `nonce` before; from now on somebody has.

        Raises:
            LibraryError: CATALOGUE_DOWN. Let nobody through then.
        """
        ...


def callback_path(job_id: UUID) -> str:
    """Where a job's callback goes; part of what is signed."""
    return f"/api/jobs/{job_id}/callback"


def sign_callback(secret: str, job_id: UUID, body: bytes) -> dict[str, str]:
    """The headers that prove who sent `body` about a job and when. Call it anew for every attempt.

    Raises:
        LibraryError: UNAUTHORIZED, there is no secret, or it is too short to protect anything.
    """
    return sign(
        _keys(secret)[0],
        body,
        method="POST",
        path=callback_path(job_id),
        timestamp_ms=_now_ms(),
        nonce=secrets.token_urlsafe(24),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class CallbackGate:
    """Lets genuine callbacks through, each once.

    Args:
        secret: LIBRARY_CALLBACK_SECRET; empty lets none in.
        guard: remembers nonces.
        now_ms: Unix time.
    """

    def __init__(self, secret: str, guard: NonceGuard, now_ms: Callable[[], int] = _now_ms) -> None:
        self._secret = secret
        self._guard = guard
        self._now_ms = now_ms

    def check(self, job_id: UUID, headers: Mapping[str, str], body: bytes) -> None:
        """Return where the callback is genuine and new. Nothing of `body` may be looked at before.

        Raises:
            LibraryError: CALLBACK_FORGED, CALLBACK_EXPIRED or CALLBACK_REPLAYED; CATALOGUE_DOWN where nonces
                cannot be read; UNAUTHORIZED where this deployment has no secret.
        """
        keys = _keys(self._secret)
        try:
            signed = verify(
                keys, headers, body, method="POST", path=callback_path(job_id), now_ms=self._now_ms()
            )
        except SignatureRejectedError as error:
            code = _CODES[error.code]
            raise LibraryError(code, error.message, _REMEDIES[code]) from error
        if not self._guard.first_use(signed.nonce):
            raise LibraryError(
                LibraryErrorCode.CALLBACK_REPLAYED,
                "This callback has been used before.",
                "Sign every attempt anew: each takes a nonce of its own.",
            )


def _keys(secret: str) -> list[bytes]:
    keys = [part.encode() for part in secret.split()]
    if not keys or min(map(len, keys)) < _SHORTEST_SECRET:
        raise LibraryError(
            LibraryErrorCode.UNAUTHORIZED,
            f"LIBRARY_CALLBACK_SECRET holds no secret of {_SHORTEST_SECRET} characters or more.",
            "Make one with: openssl rand -hex 32",
        )
    return keys
