"""For how long the certificate that a media-cache host serves is still good, whoever vouches for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509

_TIMEOUT_S = 3.0
_HTTPS_PORT = 443


def days_left(base_urls: Iterable[str], now: datetime) -> float | None:
    """Days until the first of their certificates ends, negative when one has; None where no host answers by TLS."""
    left = [_days_left(base_url, now) for base_url in base_urls]
    return min((days for days in left if days is not None), default=None)


def _days_left(base_url: str, now: datetime) -> float | None:
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        pem = ssl.get_server_certificate((parts.hostname, parts.port or _HTTPS_PORT), timeout=_TIMEOUT_S)
    except OSError:
        return None
    ends = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    return (ends - now) / timedelta(days=1)
