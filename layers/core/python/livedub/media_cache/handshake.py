"""A TLS handshake with a media-cache host that may be loading a certificate at this moment."""

from __future__ import annotations

import socket
import ssl
import time

_TIMEOUT_S = 3.0
_TRIES = 3
_CUT_OFF = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_PAUSE_S = 0.05
"""Before the last try: what ended two connections in a row may take a moment."""


def shown_certificate(
    host: str, port: int, context: ssl.SSLContext, server_hostname: str | None = None
) -> bytes:
    """The certificate, in DER, that the host shows in a handshake that `context` agrees to.

    A reload of Caddy ends connections that its old listener had just accepted: a handshake that is cut off says nothing
    of the host and is done anew, twice at most.

    Raises:
        OSError: nobody answers there with TLS.
        ssl.SSLError: the two sides do not agree; an OSError too.
        ValueError: the address is none.
    """
    for tries in range(1, _TRIES + 1):
        try:
            with (
                socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection,
                context.wrap_socket(connection, server_hostname=server_hostname) as tls,
            ):
                return tls.getpeercert(binary_form=True) or b""
        except _CUT_OFF:
            if tries == _TRIES:
                raise
        if tries == _TRIES - 1:
            time.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")
