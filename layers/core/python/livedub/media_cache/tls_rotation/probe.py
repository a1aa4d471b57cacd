"""TLS as a consumer does it: with the host as it is, and in memory with a pair that is not served yet."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from livedub.media_cache.caddy_admin_client import CaddyError, served_fingerprint
from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.handshake import shown_certificate
from livedub.media_cache.tls_bundle import parse_ca_bundle, ssl_context
from livedub.media_cache.tls_material import TlsMaterial

_ROUNDS = 10
"""Of a handshake in memory: TLS 1.3 takes two."""


class ServedTls:
    """The host at one address."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def fingerprint(self) -> str:
        """sha256 of the certificate that is served; empty where nobody answers with TLS."""
        address = f"[{self._host}]" if ":" in self._host else self._host
        try:
            return served_fingerprint(f"{address}:{self._port}")
        except CaddyError:
            return ""

    def distrust(self, bundle: str) -> str:
        """Why a consumer with `bundle` (TTS_MEDIA_CACHE_CA_BUNDLE) gets no connection; empty where it does."""
        return _reason(lambda: self._connect(_consumer(bundle)))

    def vouching(self, certificates: Iterable[x509.Certificate]) -> list[str]:
        """Those of `certificates` that alone would let a consumer trust what is served: sha256, sorted."""
        found: list[str] = []
        for certificate in certificates:
            alone = ssl.create_default_context(
                cadata=certificate.public_bytes(serialization.Encoding.PEM).decode()
            )
            # Whom it is for is not asked here.
            alone.check_hostname = False
            if not _reason(lambda context=alone: self._connect(context)):
                found.append(certificate.fingerprint(hashes.SHA256()).hex())
        return sorted(set(found))

    def _connect(self, context: ssl.SSLContext) -> None:
        shown_certificate(self._host, self._port, context, self._host)


def rehearse(material: TlsMaterial, bundle: str, host: str) -> str:
    """Why a consumer with `bundle` would refuse `material` at `host`; empty where it would not."""
    return _reason(lambda: _handshake(_server(material), _consumer(bundle), host))


def _consumer(bundle: str) -> ssl.SSLContext:
    return ssl_context(parse_ca_bundle(bundle) if bundle.strip() else None)


def _server(material: TlsMaterial) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL takes keys from files alone.
    with tempfile.TemporaryDirectory(prefix="livedub-tls-") as folder:
        file = Path(folder) / "pair.pem"
        file.touch(mode=0o600)
        file.write_bytes(material.fullchain_pem + b"\n" + material.privkey_pem)
        context.load_cert_chain(file)
    return context


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_ROUNDS):
        sides = [side for side in sides if not _done(side)]
        if not sides:
            return
    raise ssl.SSLError(f"no end within {_ROUNDS} rounds")


def _done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _reason(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message or str(error.reason)
    except CaBundleError as error:
        return error.message
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""
