"""One log line about what a consumer trusts, so that a wrong bundle is seen at its start and not guessed at later."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.tls_bundle import CaBundle, TlsMode, parse_ca_bundle, ssl_context


@dataclass(frozen=True, slots=True)
class TlsDiag:
    """What the line says; never a certificate itself.

    Attributes:
        mode: what is trusted; `invalid` where the bundle cannot be used.
        decoded_byte_length: of the bundle's PEM; 0 without one.
        fingerprints: sha256 of each certificate.
        not_after: when each ends.
        error: why the bundle cannot be used.
    """

    mode: TlsMode
    decoded_byte_length: int = 0
    fingerprints: tuple[str, ...] = ()
    not_after: tuple[datetime, ...] = field(default=())
    error: str = ""

    def fields(self) -> dict[str, Any]:
        """As JSON; the names are those that other consumers log."""
        return {
            "mediaCacheTlsMode": self.mode.value,
            "decodedCaBundleByteLength": self.decoded_byte_length,
            "certificateCount": len(self.fingerprints),
            "sha256Fingerprints": list(self.fingerprints),
            "notAfter": [moment.isoformat() for moment in self.not_after],
            "error": self.error,
        }

    def line(self) -> str:
        """The log line."""
        return f"tlsDiag {json.dumps(self.fields())}"


def tls_diag(value: str) -> TlsDiag:
    """What `TTS_MEDIA_CACHE_CA_BUNDLE` amounts to; nothing raises."""
    if not value.strip():
        return TlsDiag(TlsMode.SYSTEM)
    try:
        bundle = parse_ca_bundle(value)
        ssl_context(bundle)
    except CaBundleError as error:
        return TlsDiag(TlsMode.INVALID, error=str(error))
    return diag_of(bundle)


def diag_of(bundle: CaBundle | None) -> TlsDiag:
    """The same for a bundle that was read already."""
    if bundle is None:
        return TlsDiag(TlsMode.SYSTEM)
    return TlsDiag(
        bundle.mode,
        bundle.byte_length,
        bundle.fingerprints,
        tuple(certificate.not_valid_after_utc for certificate in bundle.certificates),
    )


def log_tls_diag(logger: logging.Logger, value: str) -> TlsDiag:
    """Write the line: as an error where the bundle is invalid, else as information."""
    diag = tls_diag(value)
    logger.log(logging.ERROR if diag.mode is TlsMode.INVALID else logging.INFO, "%s", diag.line())
    return diag
