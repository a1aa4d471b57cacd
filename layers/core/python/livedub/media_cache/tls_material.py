"""The host's certificate and key: made, checked as a pair, and put where Caddy reads them.

Caddy reads two files, and a host can stop between the writing of one and the other. So both live in one folder per
pair, `fullchain.pem` and `privkey.pem` are links through one link to that folder, and a change of pair is the renaming
of that one link: no reader ever finds the certificate of one pair and the key of another.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from livedub.errors import ConfigurationError
from livedub.file_lock import exclusive

SELF_SIGNED_DAYS = 825
"""The longest that Apple's TLS stacks take; no consumer's limit is lower."""
FULLCHAIN = "fullchain.pem"
PRIVKEY = "privkey.pem"
CLIENT_CA = "ca-for-clients.pem"

_CLOCK_SLACK = timedelta(minutes=5)
"""A consumer's clock may be behind the host's."""
_LIVE = ".live"
_GIVEN = ".given"
_PAIR = ".pair-"


class TlsMaterialError(ConfigurationError):
    """Certificate or key cannot be used; the message never quotes the key."""


class PairMismatchError(TlsMaterialError):
    """The key is another certificate's: so it looks while the two are being changed one after the other."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the host serves with.

    Attributes:
        fullchain_pem: the leaf first, then what vouches for it.
        privkey_pem: the leaf's key, PKCS #8 without a passphrase; never in a representation.
        ca_pem: what consumers must trust; empty where the chain holds no root and a public authority is meant.
    """

    fullchain_pem: bytes
    privkey_pem: bytes
    ca_pem: bytes = b""

    def __repr__(self) -> str:
        return f"TlsMaterial({len(self.fullchain_pem)} bytes of chain)"

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that is served."""
        return parse_chain(self.fullchain_pem)[0]


def self_signed(ips: Sequence[str], dns: Sequence[str] = (), days: int = SELF_SIGNED_DAYS) -> TlsMaterial:
    """A P-256 key and a certificate of its own that is its own authority as well.

    The bundle for consumers is the chain, byte by byte.

    Args:
        ips: addresses by which consumers reach the host.
        dns: names by which they do.
        days: how long it is good for.

    Raises:
        TlsMaterialError: an address or name is none, or there is neither.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livedub media cache")])
    subject_key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        certificate_of(key.public_key(), name, name, days=days)
        .add_extension(alternative_names(ips, dns), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(subject_key_id, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key_id), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    return TlsMaterial(chain, key_pem(key), chain)


def check_pair(
    fullchain_pem: bytes, privkey_pem: bytes, *, ca_pem: bytes = b"", now: datetime | None = None
) -> TlsMaterial:
    """See that a chain and a key belong together and that consumers can accept them now.

    Args:
        fullchain_pem: the leaf, then its issuers in order.
        privkey_pem: the leaf's key.
        ca_pem: what consumers trust, where it is known; else the roots in the chain are taken.
        now: the time to judge validity by; the clock's without it.

    Raises:
        TlsMaterialError: one of them is damaged, the key is another certificate's, the chain is out of order, or the
            leaf is expired, not valid yet, or names no host.
    """
    chain = parse_chain(fullchain_pem)
    key = _parse_key(privkey_pem)
    if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
        raise PairMismatchError(
            "the private key does not belong to the certificate.",
            remedy="Give MEDIA_TLS_FULLCHAIN_B64 and MEDIA_TLS_PRIVKEY_B64 of one pair; while they are being changed one "
            "after the other, wait for the second.",
        )
    for number, (child, parent) in enumerate(itertools.pairwise(chain), start=1):
        if not issued(child, parent):
            raise TlsMaterialError(
                f"certificate {number} of the chain was not issued by the one after it.",
                remedy="Order the chain: the host's own certificate, then its issuer, then that one's.",
            )
    _check_leaf(chain[0], now or datetime.now(timezone.utc))
    return TlsMaterial(fullchain_pem, privkey_pem, ca_pem or roots_of(chain))


def parse_chain(pem: bytes) -> list[x509.Certificate]:
    """The certificates in `pem`.

    Raises:
        TlsMaterialError: there is none, or one of them is damaged.
    """
    remedy = "Give PEM with all its lines, from BEGIN CERTIFICATE to END CERTIFICATE."
    if pem.count(b"-----BEGIN CERTIFICATE-----") != pem.count(b"-----END CERTIFICATE-----"):
        raise TlsMaterialError("the certificate chain is cut off.", remedy=remedy)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TlsMaterialError("the certificate chain is no PEM, or damaged.", remedy=remedy) from error


def fingerprint(pem: bytes) -> str:
    """sha256 of the first certificate in `pem`, as 64 lower-case hexadecimal digits.

    Raises:
        TlsMaterialError: it holds no certificate.
    """
    return parse_chain(pem)[0].fingerprint(hashes.SHA256()).hex()


def read_material(folder: Path) -> TlsMaterial | None:
    """The pair in `folder`, unchecked; None where one of the two files is missing.

    Raises:
        TlsMaterialError: a file cannot be read.
    """
    try:
        chain, key = (folder / FULLCHAIN).read_bytes(), (folder / PRIVKEY).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TlsMaterialError(
            f"{error.filename} cannot be read: {error.strerror}.",
            remedy="Give this user the right to read it.",
        ) from error
    try:
        ca_pem = (folder / CLIENT_CA).read_bytes()
    except OSError:
        ca_pem = b""
    return TlsMaterial(chain, key, ca_pem)


def previous_material(folder: Path) -> TlsMaterial | None:
    """The pair that was in `folder` before the last change; None where there was none, or it is not known."""
    live = folder / _LIVE
    if not live.is_symlink():
        return None
    others = [pair for pair in folder.glob(f"{_PAIR}*") if pair.name != str(live.readlink())]
    return read_material(others[0]) if len(others) == 1 else None


def write_material(folder: Path, material: TlsMaterial) -> None:
    """Make `material` the pair in `folder`, which is made if need be: all of it at once, readable by its owner alone.

    The pair before it stays beside it until the next change. Written as root, the files belong to the folder's owner,
    so that Caddy can read them as its own user.

    Raises:
        TlsMaterialError: the folder cannot be written.
    """
    try:
        _make_folder(folder)
        before = _adopt(folder)
        pair = _write_pair(folder, material)
        _point(folder, _LIVE, pair.name)
        for name in _names(material):
            _point(folder, name, f"{_LIVE}/{name}")
        if not material.ca_pem:
            (folder / CLIENT_CA).unlink(missing_ok=True)
        _sync(folder)
        _sweep(folder, keep={pair.name, before})
    except OSError as error:
        raise TlsMaterialError(
            f"TLS material cannot be written to {folder}: {error.strerror or error}.",
            remedy="Give this user the right to write there (MEDIA_TLS_CERT_HOST_PATH), and space.",
        ) from error


def note_given(folder: Path, material: TlsMaterial) -> None:
    """Remember that `material` was given to the host, and not made by it.

    Raises:
        TlsMaterialError: the folder cannot be written.
    """
    try:
        descriptor, staged = tempfile.mkstemp(prefix=f"{_GIVEN}-", dir=folder)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(fingerprint(material.fullchain_pem))
            _give_away(folder, Path(staged))
            Path(staged).replace(folder / _GIVEN)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TlsMaterialError(
            f"{folder} cannot be written: {error.strerror}.",
            remedy="Give this user the right to write there.",
        ) from error


def given_before(folder: Path) -> str:
    """sha256 of the certificate that was given last; empty where none was."""
    try:
        return (folder / _GIVEN).read_text().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def material_lock(folder: Path, patience_s: float = 30.0) -> Generator[None]:
    """One change of the pair in `folder` at a time, among all processes; another's is waited for.

    Raises:
        TlsMaterialError: another is still under way after `patience_s`, or the folder cannot be written.
    """
    lock = folder / ".lock"
    busy = TlsMaterialError(
        f"TLS material in {folder} is being changed by another process.", remedy="Try again when it is done."
    )
    with contextlib.ExitStack() as held:
        try:
            _make_folder(folder)
            # Made by root, it is the server's too.
            os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _give_away(folder, lock)
            held.enter_context(exclusive(lock, patience_s=patience_s, refusal=busy))
        except OSError as error:
            raise TlsMaterialError(
                f"{folder} cannot be written: {error.strerror}.",
                remedy="Set MEDIA_TLS_CERT_HOST_PATH to a folder of this user's.",
            ) from error
        yield


def certificate_of(
    public_key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, *, days: int
) -> x509.CertificateBuilder:
    """What every certificate here starts from: version 3, a random serial number, valid from a moment ago."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + timedelta(days=days))
    )


def alternative_names(ips: Sequence[str], dns: Sequence[str]) -> x509.SubjectAlternativeName:
    """What the certificate is for.

    Raises:
        TlsMaterialError: an address or name is none, or there is neither.
    """
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        names += [x509.DNSName(name) for name in dns]
    except ValueError as error:
        raise TlsMaterialError(
            f"the certificate cannot be for {[*ips, *dns]}.",
            remedy="Give IP addresses in PRIVATE_IP and ASCII host names in MEDIA_TLS_SAN_DNS.",
        ) from error
    if not names:
        raise TlsMaterialError(
            "the certificate would be for no host.", remedy="Set PRIVATE_IP or MEDIA_TLS_SAN_DNS."
        )
    return x509.SubjectAlternativeName(names)


def key_usage(*, signs_certificates: bool, serves: bool = True) -> x509.KeyUsage:
    """What a key may be used for (RFC 5280, section 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=serves,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates and not serves,
        encipher_only=False,
        decipher_only=False,
    )


def issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether `parent` signed `child`."""
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def roots_of(chain: Sequence[x509.Certificate]) -> bytes:
    """Those that vouch for themselves, as PEM: what consumers must trust."""
    return b"".join(
        certificate.public_bytes(serialization.Encoding.PEM)
        for certificate in chain
        if issued(certificate, certificate)
    )


def key_pem(key: PrivateKeyTypes) -> bytes:
    """A key as PKCS #8, without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _parse_key(pem: bytes) -> PrivateKeyTypes:
    # Without the cause everywhere: what OpenSSL says may quote what it read.
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise TlsMaterialError(
            "the private key has a passphrase.", remedy="Remove it: openssl pkcs8 -topk8 -nocrypt -in KEY."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsMaterialError(
            "the private key is no PEM, or damaged.",
            remedy="Give PEM with all its lines, BEGIN and END included.",
        ) from None


def _public_bytes(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    if encode is None:
        raise TlsMaterialError("the key is of a kind that TLS does not use.", remedy="Use ECDSA P-256.")
    return encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _check_leaf(leaf: x509.Certificate, now: datetime) -> None:
    if now >= leaf.not_valid_after_utc:
        raise TlsMaterialError(
            f"the certificate expired at {leaf.not_valid_after_utc.isoformat()}.",
            remedy="Make a new pair and `livedub media rotate`.",
        )
    if now < leaf.not_valid_before_utc:
        raise TlsMaterialError(
            f"the certificate is not valid before {leaf.not_valid_before_utc.isoformat()}.",
            remedy="Set this machine's clock right, or wait.",
        )
    try:
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        raise TlsMaterialError(
            "the certificate has no subjectAltName; no consumer looks at its common name.",
            remedy="Make one with -addext subjectAltName=IP:<private IP>, or let tls-init make it.",
        ) from None


def _names(material: TlsMaterial) -> list[str]:
    return [FULLCHAIN, PRIVKEY, *([CLIENT_CA] if material.ca_pem else [])]


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        # mkdir's mode goes through the umask, which may be anything but must not widen it.
        if os.geteuid() == 0:
            above = folder.parent.stat()
            os.chown(folder, above.st_uid, above.st_gid)


def _write_pair(folder: Path, material: TlsMaterial) -> Path:
    pair = Path(tempfile.mkdtemp(prefix=_PAIR, dir=folder))
    contents = {FULLCHAIN: material.fullchain_pem, PRIVKEY: material.privkey_pem, CLIENT_CA: material.ca_pem}
    try:
        for name in _names(material):
            descriptor = os.open(pair / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(descriptor)
        _give_away(folder, pair, *pair.iterdir())
        _sync(pair)
    except BaseException:
        shutil.rmtree(pair, ignore_errors=True)
        raise
    return pair


def _give_away(folder: Path, *paths: Path) -> None:
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    for path in paths:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _adopt(folder: Path) -> str:
    """Turn plain files into a pair behind the link, changing no byte that a reader sees; the live pair's name."""
    live = folder / _LIVE
    linked = live.is_symlink() and all(
        _leads_to(folder / name, f"{_LIVE}/{name}") for name in (FULLCHAIN, PRIVKEY)
    )
    present = read_material(folder)
    if present is not None and not linked:
        pair = _write_pair(folder, present)
        _point(folder, _LIVE, pair.name)
        for name in _names(present):
            _point(folder, name, f"{_LIVE}/{name}")
    return str(live.readlink()) if live.is_symlink() else ""


def _leads_to(link: Path, target: str) -> bool:
    return link.is_symlink() and str(link.readlink()) == target


def _point(folder: Path, name: str, target: str) -> None:
    if _leads_to(folder / name, target):
        return
    fresh = folder / f".{name}.{secrets.token_hex(6)}"
    fresh.symlink_to(target)
    try:
        _give_away(folder, fresh)
        fresh.replace(folder / name)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, keep: set[str]) -> None:
    for path in folder.glob(f"{_PAIR}*"):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
