"""What a media-cache host says of itself, for whoever comes by: whether it takes uploads, and how full its volume is."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 5.0
_HTTPS_PORT = 443
_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class HostState:
    """One host.

    Attributes:
        ready: whether an upload would succeed; False too where nobody answers.
        used_percent: how full its volume is; None where it does not say.
    """

    ready: bool
    used_percent: float | None


def host_state(base_url: str, tls: ssl.SSLContext) -> HostState:
    """Ask `GET /ready` of the host at `base_url`, by what `tls` trusts."""
    parts = urlsplit(base_url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or _HTTPS_PORT, timeout=_TIMEOUT_S, context=tls
    )
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        body = answer.read(_LONGEST)
    except (OSError, http.client.HTTPException):
        return HostState(ready=False, used_percent=None)
    finally:
        connection.close()
    return HostState(answer.status == HTTPStatus.OK, _used_percent(body))


def _used_percent(body: bytes) -> float | None:
    held: Any = None
    with suppress(ValueError):
        held = json.loads(body)
    used: Any = held.get("volume_used_percent") if isinstance(held, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    # Python's bool is an int.
    return float(used) if isinstance(used, int | float) and not isinstance(used, bool) else None
