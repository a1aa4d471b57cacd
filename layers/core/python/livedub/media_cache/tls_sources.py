"""Which certificate the host serves with: the three sources, in their order.

1. PEM from the variables MEDIA_TLS_FULLCHAIN_B64 and MEDIA_TLS_PRIVKEY_B64, both set. One without the other is a
   warning, and the next source's turn: a host must come up while its variables are half written.
2. The files that are there.
3. A pair made here: self-signed, or by the host's private authority.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass, replace
from enum import Enum

from cryptography import x509

from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.private_ca import PrivateCa, due
from livedub.media_cache.tls_material import (
    TlsMaterial,
    TlsMaterialError,
    check_pair,
    fingerprint,
    given_before,
    issued,
    material_lock,
    note_given,
    parse_chain,
    read_material,
    self_signed,
    write_material,
)

FULLCHAIN_VARIABLE = "MEDIA_TLS_FULLCHAIN_B64"
PRIVKEY_VARIABLE = "MEDIA_TLS_PRIVKEY_B64"


class TlsSource(str, Enum):
    """Where the pair came from."""

    VARIABLES = "variables"
    FILES = "files"
    SELF_SIGNED = "self-signed"
    PRIVATE_CA = "private-ca"


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """A checked pair, and what an operator should hear about how it was chosen."""

    source: TlsSource
    material: TlsMaterial
    warnings: tuple[str, ...] = ()


def init_tls(settings: MediaTlsSettings) -> TlsChoice:
    """Choose a pair and see that it is what Caddy will read.

    Raises:
        TlsMaterialError: the first source that has a pair has one that cannot be used, or files cannot be written.
    """
    with material_lock(settings.tls_folder):
        choice = choose(settings)
        # Files that are there may be another tool's links (an ACME client's): left as they are.
        if choice.source is not TlsSource.FILES and read_material(settings.tls_folder) != choice.material:
            write_choice(settings, choice)
        return choice


def write_choice(settings: MediaTlsSettings, choice: TlsChoice) -> None:
    """Make the choice the pair that Caddy reads, and note where a pair was given in the variables.

    Raises:
        TlsMaterialError: the folder cannot be written.
    """
    write_material(settings.tls_folder, choice.material)
    if choice.source is TlsSource.VARIABLES:
        note_given(settings.tls_folder, choice.material)


def was_given(settings: MediaTlsSettings) -> bool:
    """Whether the pair in the files was once given in the variables, and not made here or put there by hand."""
    existing = read_material(settings.tls_folder)
    return existing is not None and given_before(settings.tls_folder) == fingerprint(existing.fullchain_pem)


def choose(settings: MediaTlsSettings) -> TlsChoice:
    """The pair to serve with; nothing is written but a new private authority.

    Raises:
        TlsMaterialError: as `init_tls`.
    """
    warnings: list[str] = []
    material = from_variables(settings, warnings)
    if material is not None:
        return _choice(TlsSource.VARIABLES, material, settings, warnings)
    existing = read_material(settings.tls_folder)
    if existing is not None and not _to_be_reissued(existing, settings):
        checked = checked_files(existing)
        return _choice(TlsSource.FILES, checked, settings, warnings)
    return made_here(settings, warnings)


def from_variables(settings: MediaTlsSettings, warnings: list[str]) -> TlsMaterial | None:
    """The pair in the two variables; None where one is missing, which is a warning where only one is.

    Raises:
        TlsMaterialError: a value is malformed, or the two are no pair.
    """
    chain, key = settings.tls_fullchain_b64.strip(), settings.tls_privkey_b64.get_secret_value().strip()
    if not chain or not key:
        if chain or key:
            there, missing = (
                (FULLCHAIN_VARIABLE, PRIVKEY_VARIABLE) if chain else (PRIVKEY_VARIABLE, FULLCHAIN_VARIABLE)
            )
            warnings.append(f"{there} is set and {missing} is not: neither is used. Set both, or none.")
        return None
    return check_pair(decode_variable(FULLCHAIN_VARIABLE, chain), decode_variable(PRIVKEY_VARIABLE, key))


def decode_variable(name: str, value: str) -> bytes:
    """The PEM in a variable.

    Raises:
        TlsMaterialError: it has several lines, is PEM itself, or no base64 of PEM.
    """
    remedy = f"Set {name} to the output of base64 -w0 FILE.pem: one line, no quotes."
    if "-----BEGIN" in value:
        raise TlsMaterialError(f"{name} holds PEM itself.", remedy=remedy)
    if any(character.isspace() for character in value):
        raise TlsMaterialError(f"{name} has several lines, or blanks in it.", remedy=remedy)
    try:
        # Without the cause: it may quote the key.
        decoded = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise TlsMaterialError(f"{name} is no base64, or cut off.", remedy=remedy) from None
    if b"-----BEGIN" not in decoded:
        raise TlsMaterialError(f"{name} is base64 of something that is no PEM.", remedy=remedy)
    return decoded


def checked_files(existing: TlsMaterial) -> TlsMaterial:
    """The pair in files, checked; `ca-for-clients.pem` counts where it is the chain's root and not one of before.

    Raises:
        TlsMaterialError: it cannot be used.
    """
    checked = check_pair(existing.fullchain_pem, existing.privkey_pem)
    if checked.ca_pem or not existing.ca_pem:
        return checked
    last = parse_chain(existing.fullchain_pem)[-1]
    vouched = any(issued(last, root) for root in parse_chain(existing.ca_pem))
    return replace(checked, ca_pem=existing.ca_pem) if vouched else checked


def made_here(settings: MediaTlsSettings, warnings: list[str] | None = None) -> TlsChoice:
    """A new pair: by the host's private authority where it has one or should have one, else self-signed.

    Raises:
        TlsMaterialError: neither PRIVATE_IP nor MEDIA_TLS_SAN_DNS is set, or the authority cannot be used.
    """
    if not settings.tls_private_ca:
        material = self_signed(settings.ips, settings.dns)
        return TlsChoice(TlsSource.SELF_SIGNED, material, tuple(warnings or ()))
    authority = PrivateCa.load(settings.ca_folder)
    if authority is None:
        authority = PrivateCa.create()
        authority.save(settings.ca_folder)
    material = authority.issue_leaf(settings.ips, settings.dns)
    return TlsChoice(TlsSource.PRIVATE_CA, material, tuple(warnings or ()))


def bundle_b64(material: TlsMaterial) -> str:
    """TTS_MEDIA_CACHE_CA_BUNDLE for consumers of this pair: base64 on one line.

    Raises:
        TlsMaterialError: the chain holds no root, so that consumers need the system's authorities or a bundle that is
            not known here.
    """
    if not material.ca_pem:
        raise TlsMaterialError(
            "the chain ends without a root, so there is no bundle to print.",
            remedy="Leave TTS_MEDIA_CACHE_CA_BUNDLE unset where a public authority issued it; else append your "
            "authority's certificate to the chain.",
        )
    return base64.b64encode(material.ca_pem).decode("ascii")


def _to_be_reissued(existing: TlsMaterial, settings: MediaTlsSettings) -> bool:
    """Whether the files are a leaf of the host's own authority that is near its end: consumers will not notice."""
    if not settings.tls_private_ca:
        return False
    try:
        authority = PrivateCa.load(settings.ca_folder)
    except TlsMaterialError:
        # Root's, and this is the server's user: it serves what is there, `rotate --renew` issues the next.
        return False
    return authority is not None and authority.issued(existing.leaf) and due(existing.leaf)


def _choice(
    source: TlsSource, material: TlsMaterial, settings: MediaTlsSettings, warnings: list[str]
) -> TlsChoice:
    names = material.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    missing = [ip for ip in settings.ips if addresses and _normal(ip) not in addresses]
    if missing:
        warnings.append(
            f"the certificate {fingerprint(material.fullchain_pem)[:16]} is not for {', '.join(missing)} (PRIVATE_IP): "
            "consumers that use the address will refuse it."
        )
    return TlsChoice(source, material, tuple(warnings))


def _normal(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
