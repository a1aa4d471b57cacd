"""What consumers must trust while a certificate changes: what vouches for the old one and what vouches for the new."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
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
    return _publish(parameters, prefix, lambda value: _changed(value, wanted, unwanted))


def trusting(value: str, add: TlsMaterial) -> str:
    """`value`, a consumer's bundle, as `trust` leaves it."""
    return _changed(value, _roots([add]), set())


def distrust(parameters: BundleParameters, prefix: str, fingerprints: Iterable[str]) -> list[str]:
    """Take the certificates with these sha256 out of every consumer's bundle; the parameters that were changed.

    A bundle that would be empty stays as it is: an empty one trusts the machine's own authorities.

    Raises:
        StoreUnavailableError: the parameters cannot be read or written.
    """
    gone = set(fingerprints)

    def without(value: str) -> str:
        unwanted = {der for der in _held(value) if hashlib.sha256(der).hexdigest() in gone}
        return _changed(value, {}, unwanted) or value

    return _publish(parameters, prefix, without)


def certificates_of(values: Iterable[str]) -> list[x509.Certificate]:
    """Every certificate in bundles, each once; none of what nobody can read, and none that has expired."""
    ders = {der: None for value in values for der in _held(value)}
    return [x509.load_der_x509_certificate(der) for der in ders]


def vouching_for(material: TlsMaterial) -> list[str]:
    """sha256 of what consumers must trust to trust `material`; none where a public authority is meant."""
    return sorted(hashlib.sha256(der).hexdigest() for der in _roots([material]))


def _publish(parameters: BundleParameters, prefix: str, change: Callable[[str], str]) -> list[str]:
    changed: list[str] = []
    for name, value in parameters.bundles(prefix).items():
        fresh = change(value)
        if fresh != value:
            parameters.publish_bundle(name, fresh)
            changed.append(name)
    return changed


def _changed(value: str, wanted: dict[bytes, bytes], unwanted: set[bytes]) -> str:
    """The bundle with `wanted` and without `unwanted`; the same text where that is what it holds already."""
    held = _held(value)
    kept = {der: pem for der, pem in held.items() if der not in unwanted}
    fresh = {**wanted, **kept}
    if set(fresh) == set(held):
        return value
    return base64.b64encode(b"".join(fresh.values())).decode("ascii")


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
