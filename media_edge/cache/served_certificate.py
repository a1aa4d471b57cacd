"""The certificate that clients really get, which is not always the one in the file."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from cryptography import x509

from livedub.errors import ConfigurationError

_TIMEOUT_S = 2.0
_FRESH_S = 60.0
_DAY_S = 86_400.0


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, an IPv6 host in brackets.

    Raises:
        ConfigurationError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigurationError(
            f"{text!r} is no address.", remedy="Write HOST:PORT, such as 127.0.0.1:8443."
        )
    return host.strip("[]"), int(port)


def served_certificate(host: str, port: int, *, timeout_s: float = _TIMEOUT_S) -> x509.Certificate:
    """The leaf that `host:port` serves, whoever signed it.

    Raises:
        OSError: nobody serves TLS there (ssl.SSLError is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is looked at, not trusted: nothing is sent.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        leaf = connection.getpeercert(binary_form=True)
    if leaf is None:
        raise ssl.SSLError("the server sent no certificate")
    return x509.load_der_x509_certificate(leaf)


class CertificateWatch:
    """Days left of a served certificate, asked for at most once a minute."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.time) -> None:
        self._host, self._port = parse_address(address)
        self._clock = clock
        self._lock = threading.Lock()
        self._not_after_s = math.nan
        self._looked_s = -math.inf

    def days_left(self) -> float:
        """Days until the end, negative after it, NaN while nothing is served."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._looked_s > _FRESH_S or math.isnan(self._not_after_s):
                self._looked_s = now_s
                self._not_after_s = self._ask()
            return (self._not_after_s - now_s) / _DAY_S

    def _ask(self) -> float:
        try:
            end: datetime = served_certificate(self._host, self._port).not_valid_after_utc
        except (OSError, ValueError):
            return math.nan
        return end.astimezone(timezone.utc).timestamp()
