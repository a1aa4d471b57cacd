"""What rotation asks of Caddy: its configuration loaded again by force, and which certificate it serves."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
from pathlib import Path

from livedub.media_cache.errors import MediaCacheError
from livedub.media_cache.handshake import shown_certificate

_TIMEOUT_S = 20.0
"""Of one request: Caddy gives connections of the old configuration 10 s to end, which it does not wait for here."""
_MAX_CONFIG_BYTES = 4 * 1024 * 1024


class CaddyError(MediaCacheError):
    """Caddy is not there, or refuses its configuration."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


def force_reload(admin_socket: Path) -> None:
    """Have Caddy load the configuration that it runs once more, as `caddy reload --force` does.

    Without force it compares configurations, finds the names of the files unchanged and does nothing, successfully.

    Raises:
        CaddyError: it is not there or refuses; what it ran goes on.
    """
    try:
        config = _ask(admin_socket, "GET", "/config/", None, {})
        if config.strip() in {b"", b"null"}:
            raise CaddyError(
                "Caddy runs without a configuration.", remedy="Start it with the cache's Caddyfile."
            )
        headers = {"Content-Type": "application/json", "Cache-Control": "must-revalidate"}
        _ask(admin_socket, "POST", "/load", config, headers)
    except (OSError, http.client.HTTPException) as error:
        raise CaddyError(
            f"Caddy's admin API at {admin_socket} does not answer: {error or type(error).__name__}.",
            remedy="Start Caddy, or set MEDIA_CADDY_ADMIN_SOCKET; the socket is readable by Caddy's user and root.",
        ) from error


def served_fingerprint(address: str) -> str:
    """sha256 of the certificate served at HOST:PORT; whom it is for and who vouches for it does not matter.

    Raises:
        CaddyError: nobody answers there with TLS.
    """
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        certificate = shown_certificate(host.strip("[]"), int(port), context)
    except (OSError, ValueError) as error:
        raise CaddyError(
            f"no TLS at {address}: {error}.", remedy="Set MEDIA_HTTPS_ADDRESS to Caddy's HOST:PORT."
        ) from error
    return hashlib.sha256(certificate).hexdigest()


def _ask(path: Path, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    connection = _UnixConnection(path)
    try:
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read(_MAX_CONFIG_BYTES)
    finally:
        connection.close()
    if answer.status != http.client.OK:
        reason = " ".join(content[:500].decode(errors="replace").split())
        raise CaddyError(
            f"Caddy answers {answer.status} to {method} {target}: {reason}", remedy="See Caddy's log."
        )
    return content


class CaddyHost:
    """A Caddy, by its admin socket and the address it serves at."""

    def __init__(self, admin_socket: Path, https_address: str) -> None:
        self._admin_socket = admin_socket
        self._https_address = https_address

    def reload(self) -> None:
        """Have it read its files again.

        Raises:
            CaddyError: it is not there, or refuses.
        """
        force_reload(self._admin_socket)

    def served(self) -> str:
        """sha256 of the certificate that a client gets now.

        Raises:
            CaddyError: nobody answers with TLS.
        """
        return served_fingerprint(self._https_address)
