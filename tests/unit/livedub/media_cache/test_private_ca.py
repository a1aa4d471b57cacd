import os
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from livedub.media_cache.private_ca import PrivateCa, due
from livedub.media_cache.tls_material import (
    TlsMaterialError,
    check_pair,
    fingerprint,
    key_pem,
    parse_chain,
    write_material,
)
from tests.unit.livedub.media_cache.tls_handshake import shake_hands

IP = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> PrivateCa:
    return PrivateCa.create()


def test_a_consumer_that_trusts_the_authority_takes_every_leaf(authority: PrivateCa, tmp_path: Path):
    for _ in range(2):
        leaf = authority.issue_leaf([IP], ["localhost"])
        assert shake_hands(tmp_path, leaf, authority.pem, IP) == fingerprint(leaf.fullchain_pem)
        assert shake_hands(tmp_path, leaf, authority.pem, "localhost") == fingerprint(leaf.fullchain_pem)


def test_another_authoritys_leaf_and_another_name_are_refused(authority: PrivateCa, tmp_path: Path):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, PrivateCa.create().issue_leaf([IP]), authority.pem, IP)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(tmp_path, authority.issue_leaf(["10.0.0.1"]), authority.pem, IP)


def test_old_and_new_authority_side_by_side_take_both(authority: PrivateCa, tmp_path: Path):
    new = PrivateCa.create()
    assert new.certificate.subject != authority.certificate.subject
    for one in (authority, new):
        shake_hands(tmp_path, one.issue_leaf([IP]), authority.pem + new.pem, IP)


def test_the_authority_is_no_leaf_and_the_leaf_no_authority(authority: PrivateCa):
    leaf = authority.issue_leaf([IP]).leaf
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_the_bundle_is_the_authority(authority: PrivateCa):
    leaf = authority.issue_leaf([IP])
    assert leaf.ca_pem == authority.pem
    assert check_pair(leaf.fullchain_pem, leaf.privkey_pem) == leaf
    assert len(parse_chain(leaf.fullchain_pem)) == 2


def test_it_is_kept_and_found_again(authority: PrivateCa, tmp_path: Path):
    assert PrivateCa.load(tmp_path / "ca") is None
    authority.save(tmp_path / "ca")
    again = PrivateCa.load(tmp_path / "ca")
    assert again is not None
    assert again.pem == authority.pem
    assert again.issued(authority.issue_leaf([IP]).leaf)


def test_another_authoritys_key_beside_it_is_refused(authority: PrivateCa, tmp_path: Path):
    authority.save(tmp_path)
    (tmp_path / "privkey.pem").write_bytes(key_pem(PrivateCa.create().key))
    with pytest.raises(TlsMaterialError, match="another one's key"):
        PrivateCa.load(tmp_path)
    (tmp_path / "privkey.pem").write_bytes(b"rubbish")
    with pytest.raises(TlsMaterialError, match="damaged"):
        PrivateCa.load(tmp_path)


def test_no_leaf_outlives_its_authority():
    short = PrivateCa.create(days=10)
    assert short.issue_leaf([IP], days=30).leaf.not_valid_after_utc <= short.certificate.not_valid_after_utc
    with pytest.raises(TlsMaterialError, match="expired"):
        PrivateCa.create(days=0).issue_leaf([IP])


def test_a_leaf_is_due_in_the_last_third_of_its_life(authority: PrivateCa):
    leaf = authority.issue_leaf([IP], days=30).leaf
    now = datetime.now(timezone.utc)
    assert not due(leaf, now + timedelta(days=19))
    assert due(leaf, now + timedelta(days=21))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_server_its_pair_and_not_the_authority(authority: PrivateCa, tmp_path: Path):
    host = tmp_path / "media"
    host.mkdir()
    os.chown(host, 4_242, 4_343)
    write_material(host / "tls", authority.issue_leaf([IP]))
    authority.save(host / "ca")
    names = ["fullchain.pem", "privkey.pem", "ca-for-clients.pem"]
    assert {(host / "tls" / name).stat().st_uid for name in names} == {4_242}
    assert (host / "tls").stat().st_gid == 4_343
    assert {path.stat().st_uid for path in [host / "ca", *(host / "ca").rglob("*")]} == {0}
