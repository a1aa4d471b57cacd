"""The consumer's CA bundle: what vouches for the media cache, from one variable, in memory alone.

A bundle with a fault must stop a program at its start: Node ignores one silently, OpenSSL reads as far as it can, and
both then blame the server (self-signed certificate). So every certificate in it is read here, strictly, and nothing
may stand between them. White space is the exception: variables lose and gain it on their way, and no information with
it, so it is all dropped and put back where PEM wants it (RFC 7468).
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from livedub.media_cache.errors import CaBundleError

MAX_BUNDLE_CHARACTERS = 256 * 1024

_REMEDY = "Make it anew: base64 -w0 ca-for-clients.pem, or `livedub media tls-init --print-bundle`."
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END ([A-Z0-9 ]+)-----", re.DOTALL)
_LABEL = "CERTIFICATE"
_PEM_WIDTH = 64


class TlsMode(str, Enum):
    """What a consumer trusts."""

    SYSTEM = "system"
    """No bundle is set: the machine's own certificate authorities."""
    BUNDLE_B64 = "bundle-b64"
    BUNDLE_PEM = "bundle-pem"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class CaBundle:
    """A bundle that was read to its end.

    Attributes:
        pem: all its certificates, wrapped as PEM should be.
        certificates: the same, parsed, in their order.
        byte_length: of the PEM as it was given, after base64.
        mode: how it was given.
    """

    pem: str
    certificates: tuple[x509.Certificate, ...]
    byte_length: int
    mode: TlsMode

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """sha256 of each certificate, in hexadecimal."""
        return tuple(certificate.fingerprint(SHA256()).hex() for certificate in self.certificates)


def parse_ca_bundle(text: str) -> CaBundle:
    """Read `TTS_MEDIA_CACHE_CA_BUNDLE`: base64 of PEM on one line, or the PEM itself.

    Raises:
        CaBundleError: it is empty, too long, cut off, or anything in it is not a certificate.
    """
    if len(text) > MAX_BUNDLE_CHARACTERS:
        raise CaBundleError(
            f"the CA bundle has {len(text)} characters.", remedy=f"At most {MAX_BUNDLE_CHARACTERS} are taken."
        )
    text = text.lstrip("\ufeff").strip()
    if not text:
        raise CaBundleError("the CA bundle is empty.", remedy=_REMEDY)
    mode = TlsMode.BUNDLE_PEM if "-----" in text else TlsMode.BUNDLE_B64
    pem = text if mode is TlsMode.BUNDLE_PEM else _decoded(text)
    wrapped, certificates = _certificates(pem)
    return CaBundle("".join(wrapped), tuple(certificates), len(pem.encode()), mode)


def ssl_context(bundle: CaBundle | None) -> ssl.SSLContext:
    """A client's context that trusts `bundle` and nothing else, or the machine's authorities where it is None.

    Names are checked, TLS 1.2 is the least.

    Raises:
        CaBundleError: OpenSSL does not take a certificate that parsed.
    """
    if bundle is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cadata=bundle.pem)
        except ssl.SSLError as error:
            raise CaBundleError(f"OpenSSL refuses the CA bundle: {error.reason}.", remedy=_REMEDY) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _decoded(text: str) -> str:
    """The PEM in base64 that may have been wrapped on its way."""
    try:
        decoded = base64.b64decode("".join(text.split()).encode("ascii"), validate=True).decode("ascii")
    except (binascii.Error, UnicodeError) as error:
        raise CaBundleError("the CA bundle is neither PEM nor base64 of PEM.", remedy=_REMEDY) from error
    if decoded.startswith("LS0tLS1CRUdJTi"):
        raise CaBundleError("the CA bundle is base64 of base64.", remedy="Encode it once: base64 -w0.")
    if "-----BEGIN" not in decoded:
        raise CaBundleError(
            f"the CA bundle's base64 holds {len(decoded)} bytes that are no PEM: no BEGIN line.",
            remedy=_REMEDY,
        )
    return decoded


def _certificates(pem: str) -> tuple[list[str], list[x509.Certificate]]:
    wrapped: list[str] = []
    certificates: list[x509.Certificate] = []
    position = 0
    for number, match in enumerate(_BLOCK.finditer(pem), start=1):
        _check_gap(pem[position : match.start()])
        position = match.end()
        block = _wrapped(match, number)
        try:
            certificates.append(x509.load_pem_x509_certificate(block.encode()))
        except ValueError as error:
            raise CaBundleError(
                f"certificate {number} of the CA bundle is damaged or cut off.", remedy=_REMEDY
            ) from error
        wrapped.append(block)
    _check_gap(pem[position:])
    if not certificates:
        raise CaBundleError("the CA bundle holds no certificate.", remedy=_REMEDY)
    return wrapped, certificates


def _wrapped(match: re.Match[str], number: int) -> str:
    if {match[1], match[3]} != {_LABEL}:
        if "PRIVATE KEY" in match[1]:
            raise CaBundleError(
                "the CA bundle holds a private key.",
                remedy="Treat that key as leaked and give certificates only.",
            )
        raise CaBundleError(
            f"block {number} of the CA bundle is {match[1]!r} to {match[3]!r}, not a certificate.",
            remedy=_REMEDY,
        )
    body = "".join(match[2].split())
    try:
        base64.b64decode(body.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        literal = " It holds a backslash: \\n was written for a line break." if "\\" in body else ""
        raise CaBundleError(
            f"certificate {number} of the CA bundle is not base64, or is cut off.{literal}", remedy=_REMEDY
        ) from error
    lines = [body[start : start + _PEM_WIDTH] for start in range(0, len(body), _PEM_WIDTH)]
    return "\n".join([f"-----BEGIN {_LABEL}-----", *lines, f"-----END {_LABEL}-----", ""])


def _check_gap(gap: str) -> None:
    if not gap.strip():
        return
    if "-----BEGIN" in gap:
        raise CaBundleError("the CA bundle is cut off: a certificate has no END line.", remedy=_REMEDY)
    raise CaBundleError(
        f"the CA bundle holds {len(gap.strip())} characters outside its certificates.",
        remedy="Leave comments out. " + _REMEDY,
    )
