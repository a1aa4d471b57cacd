"""What consumers must trust while a certificate changes: what vouches for the old one and what vouches for the new."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import TlsMaterial, parse_chain, roots_of


class BundleParameters(Protocol):
    """Where consumers read their bundle."""

    def bundles(self, prefix: str) -> dict[str, str]:
        """The values as they stand, by parameter name."""
        ...

    def publish_bundle(self, name: str, value: str) -> None:
        """Set one."""
        ...


def trust(
    parameters: BundleParameters, prefix: str, *, add: Iterable[TlsMaterial], drop: TlsMaterial | None = None
) -> list[str]:
    """Have every consumer's bundle hold what vouches for `add`; the parameters that had to be changed.

    What else is in them stays, for it may be another host's, but for what has expired and what `drop` was vouched
    for by. A bundle that nobody can read is replaced.

    Raises:
        StoreUnavailableError: the parameters cannot be read or written.
    """
    wanted = _roots(add)
    unwanted = set(_roots([drop])) - set(wanted) if drop is not None else set[bytes]()
    changed: list[str] = []
    for name, value in parameters.bundles(prefix).items():
        held = _held(value)
        kept = {der: pem for der, pem in held.items() if der not in unwanted}
        fresh = {**wanted, **kept}
        if set(fresh) != set(held):
            parameters.publish_bundle(name, base64.b64encode(b"".join(fresh.values())).decode("ascii"))
            changed.append(name)
    return changed


def _held(value: str) -> dict[bytes, bytes]:
    if not value.strip():
        return {}
    try:
        bundle = parse_ca_bundle(value)
    except CaBundleError:
        return {}
    now = datetime.now(timezone.utc)
    return _by_der(one for one in bundle.certificates if one.not_valid_after_utc > now)


def _roots(materials: Iterable[TlsMaterial]) -> dict[bytes, bytes]:
    pems = (material.ca_pem or roots_of(parse_chain(material.fullchain_pem)) for material in materials)
    return _by_der(certificate for pem in pems if pem for certificate in parse_chain(pem))


def _by_der(certificates: Iterable[x509.Certificate]) -> dict[bytes, bytes]:
    return {
        certificate.public_bytes(serialization.Encoding.DER): certificate.public_bytes(
            serialization.Encoding.PEM
        )
        for certificate in certificates
    }
