"""A certificate authority of the cache's own: consumers trust it for years, the host's certificate lives for days.

So that a new certificate every few days needs nothing from any consumer. The authority signs for nobody else: its key
stays in a folder beside the host's TLS files (or wherever the pairs are made), and nothing serves with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from livedub.media_cache.tls_material import (
    TlsMaterial,
    TlsMaterialError,
    alternative_names,
    certificate_of,
    issued,
    key_pem,
    key_usage,
    read_material,
    write_material,
)

CA_DAYS = 3_650
LEAF_DAYS = 30
_RENEW_BELOW = 1 / 3
"""Of a leaf's life: as ACME clients do, early enough to notice a renewal that fails."""


@dataclass(frozen=True, slots=True)
class PrivateCa:
    """An authority: its certificate, which is the consumers' bundle, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"PrivateCa({self.certificate.subject.rfc4514_string()})"

    @classmethod
    def create(cls, days: int = CA_DAYS) -> PrivateCa:
        """A new authority; each has a name of its own, so that two may be trusted side by side."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject_key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        common_name = f"livedub media cache CA {subject_key_id.digest.hex()[:8]}"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            certificate_of(key.public_key(), name, name, days=days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True, serves=False), critical=True)
            .add_extension(subject_key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, folder: Path) -> PrivateCa | None:
        """The authority in `folder`; None where there is none.

        Raises:
            TlsMaterialError: its files are damaged or do not belong together.
        """
        kept = read_material(folder)
        if kept is None:
            return None
        remedy = "Restore both files from a backup, or make a new authority: livedub media rotate --renew-ca."
        try:
            key = serialization.load_pem_private_key(kept.privkey_pem, None)
            certificate = x509.load_pem_x509_certificate(kept.fullchain_pem)
        except (TypeError, ValueError):
            raise TlsMaterialError(f"the authority in {folder} is damaged.", remedy=remedy) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise TlsMaterialError(f"the authority in {folder} has another one's key.", remedy=remedy)
        return cls(certificate, key)

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, readable by whoever made it alone: the server's user needs its leaves, not its key.

        Raises:
            TlsMaterialError: the folder cannot be written.
        """
        # Made here, the folder is ours; `write_material` would give it to the owner of the one above.
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_material(folder, TlsMaterial(self.pem, key_pem(self.key)))

    @property
    def pem(self) -> bytes:
        """The certificate: the bundle for consumers."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue_leaf(self, ips: Sequence[str], dns: Sequence[str] = (), days: int = LEAF_DAYS) -> TlsMaterial:
        """A new P-256 key with a certificate of this authority; the authority's own ends the chain.

        It is sent along so that whoever looks at the host, or is handed the chain, knows what consumers must trust.

        Args:
            ips: addresses by which consumers reach the host.
            dns: names by which they do.
            days: how long it is good for, at most as long as the authority itself.

        Raises:
            TlsMaterialError: the authority has expired, an address or name is none, or there is neither.
        """
        left = self.certificate.not_valid_after_utc - datetime.now(timezone.utc)
        if left < timedelta(days=1):
            raise TlsMaterialError(
                "the private authority has expired.",
                remedy="Make a new one: livedub media rotate --renew-ca.",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livedub media cache")])
        authority = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        leaf = (
            certificate_of(key.public_key(), name, self.certificate.subject, days=min(days, left.days))
            .add_extension(alternative_names(ips, dns), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        return TlsMaterial(leaf.public_bytes(serialization.Encoding.PEM) + self.pem, key_pem(key), self.pem)

    def issued(self, leaf: x509.Certificate) -> bool:
        """Whether `leaf` is of this authority."""
        return issued(leaf, self.certificate)


def due(leaf: x509.Certificate, now: datetime | None = None) -> bool:
    """Whether less than a third of a leaf's life is left."""
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return leaf.not_valid_after_utc - (now or datetime.now(timezone.utc)) < life * _RENEW_BELOW
