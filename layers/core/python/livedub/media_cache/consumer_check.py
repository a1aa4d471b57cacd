"""Why a consumer cannot use the cache, from what was seen: one verdict with its remedy. Pure.

The table is the one of the troubleshooting guide; `check-tts-media-cache-tls.sh` draws the same verdicts for hosts
without Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Fault(str, Enum):
    """A row of the table; the value is the word in the verdict line."""

    NONE = "ok"
    NOT_CONFIGURED = "not-configured"
    UNREACHABLE = "unreachable"
    MISSING_BUNDLE = "missing-bundle"
    CORRUPT_BUNDLE = "corrupt-bundle"
    STALE_BUNDLE = "stale-bundle"
    NAME_MISMATCH = "name-mismatch"
    EXPIRED = "expired"
    TOKEN_DRIFT = "token-drift"  # noqa: S105 - the name of a fault
    DISK_FULL = "disk-full"
    NOT_READY = "not-ready"


_REMEDIES = {
    Fault.NONE: "nothing to do",
    Fault.NOT_CONFIGURED: "set TTS_MEDIA_CACHE_BASE_URL, such as https://10.0.1.30:8443, and start the consumer again",
    Fault.UNREACHABLE: "see that Caddy runs on the host, and that its security group lets the consumer in",
    Fault.MISSING_BUNDLE: "set TTS_MEDIA_CACHE_CA_BUNDLE to what `livedub media tls-init --print-bundle` prints on the "
    "host, and start the consumer again",
    Fault.CORRUPT_BUNDLE: "set TTS_MEDIA_CACHE_CA_BUNDLE anew, one line: base64 -w0 ca-for-clients.pem; check it where "
    "it is stored, then start the consumer again",
    Fault.STALE_BUNDLE: "the certificate was changed: start the consumer again with the bundle that is published now "
    "(on the host: livedub media tls-init --print-bundle)",
    Fault.NAME_MISMATCH: "use a name or address that the certificate is for in TTS_MEDIA_CACHE_BASE_URL, or set "
    "PRIVATE_IP and MEDIA_TLS_SAN_DNS on the host and `livedub media rotate --renew`",
    Fault.EXPIRED: "on the host: livedub media rotate (--renew where it makes its own), and see why its timer did not",
    Fault.TOKEN_DRIFT: "give the consumer one of the host's tokens: TTS_MEDIA_CACHE_UPLOAD_TOKEN in "
    "<NAMESPACE>/voice/secrets, and livedub media host-env on the host",
    Fault.DISK_FULL: "see why MediaCacheCleanup does not run (its log, its schedule), then `livedub media cleanup`",
    Fault.NOT_READY: "see the upload service's log on the host",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line.

    Attributes:
        fault: which row.
        detail: what was seen.
        address: the host it is about; empty where it is about none.
    """

    fault: Fault
    detail: str
    address: str = ""

    @property
    def remedy(self) -> str:
        """What to do."""
        return _REMEDIES[self.fault]

    def line(self) -> str:
        """As printed last."""
        about = f" {self.address}:" if self.address else ""
        return f"VERDICT {self.fault.value}:{about} {self.detail}. Remedy: {self.remedy}."


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found at one host.

    Attributes:
        address: its URL.
        bundle_set: whether the consumer has a bundle at all.
        bundle_error: why its bundle cannot be read; empty where it can.
        bundle_needs_rewrap: whether only a reader that puts the line breaks back can read it.
        connect_error: why there was no TLS; empty where there was.
        verify_code: OpenSSL's X509_V_ERR_*; 0 where the certificate was accepted.
        verify_message: its words.
        expired: whether the served certificate is over, whatever OpenSSL complained of first.
        health: HTTP status of /health; 0 where it was not asked.
        delete: of DELETE for a key that nobody has, with the consumer's token; 0 where it was not asked.
        not_ready: what /ready complains of.
    """

    address: str
    bundle_set: bool = True
    bundle_error: str = ""
    bundle_needs_rewrap: bool = False
    connect_error: str = ""
    verify_code: int = 0
    verify_message: str = ""
    expired: bool = False
    health: int = 0
    delete: int = 0
    not_ready: tuple[str, ...] = field(default=())


_NAME_CODES = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_EXPIRED_CODE = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


def judge(seen: Seen) -> Verdict:
    """The first row that applies, from the consumer outwards."""
    fault, detail = _bundle(seen) or _certificate(seen) or _answers(seen) or (Fault.NONE, "")
    return Verdict(
        fault, detail or "bundle, certificate, name, token and disk are as they should be", seen.address
    )


def _bundle(seen: Seen) -> tuple[Fault, str] | None:
    if seen.bundle_error:
        return Fault.CORRUPT_BUNDLE, f"the bundle cannot be read: {seen.bundle_error.rstrip('.')}"
    if seen.bundle_needs_rewrap:
        return Fault.CORRUPT_BUNDLE, (
            "the bundle lost line breaks on its way (bad end line): this library puts them back, Node and curl do not"
        )
    return None


def _certificate(seen: Seen) -> tuple[Fault, str] | None:
    if seen.connect_error:
        return Fault.UNREACHABLE, seen.connect_error
    if seen.verify_code == 0:
        return None
    if seen.expired or seen.verify_code == _EXPIRED_CODE:
        return Fault.EXPIRED, "the served certificate has expired"
    if seen.verify_code in _NAME_CODES:
        return Fault.NAME_MISMATCH, "the served certificate is for other names"
    if not seen.bundle_set:
        return (
            Fault.MISSING_BUNDLE,
            f"no bundle is set (Node: DEPTH_ZERO_SELF_SIGNED_CERT; {seen.verify_message})",
        )
    return Fault.STALE_BUNDLE, f"the bundle does not vouch for the served certificate ({seen.verify_message})"


def _answers(seen: Seen) -> tuple[Fault, str] | None:
    if seen.health != 200:
        return Fault.UNREACHABLE, f"/health answers {seen.health}: that is no media cache"
    if seen.delete == 401:
        return Fault.TOKEN_DRIFT, "the host answers 401 to the consumer's token"
    if any("full" in reason for reason in seen.not_ready):
        return Fault.DISK_FULL, "; ".join(seen.not_ready)
    if seen.not_ready:
        return Fault.NOT_READY, "; ".join(seen.not_ready)
    return None
