"""A TLS handshake in memory, as a consumer with a bundle does it."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from pathlib import Path

from livedub.media_cache.tls_bundle import parse_ca_bundle, ssl_context
from livedub.media_cache.tls_material import TlsMaterial


def shake_hands(folder: Path, served: TlsMaterial, bundle: bytes, host: str) -> str:
    """sha256 of the certificate that the consumer accepted; raises what OpenSSL raises where it does not."""
    pem = folder / "served.pem"
    pem.write_bytes(served.fullchain_pem + served.privkey_pem)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl_context(parse_ca_bundle(bundle.decode())).wrap_bio(
        to_client, to_server, server_hostname=host
    )
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        if client.version() is not None and server.version() is not None:
            break
    return hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest()
