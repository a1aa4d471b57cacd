import ipaddress
import os
import stat
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from livedub.media_cache import tls_material
from livedub.media_cache.tls_material import (
    TlsMaterial,
    TlsMaterialError,
    check_pair,
    fingerprint,
    material_lock,
    parse_chain,
    read_material,
    self_signed,
    write_material,
)


@pytest.fixture(scope="module")
def material() -> TlsMaterial:
    return self_signed(["10.0.1.30", "fd00::1"], ["media.internal"])


@pytest.fixture(scope="module")
def other() -> TlsMaterial:
    return self_signed(["10.0.1.30"])


class TestSelfSigned:
    def test_it_is_for_its_addresses_and_names(self, material: TlsMaterial):
        names = material.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.IPAddress) == [
            ipaddress.ip_address("10.0.1.30"),
            ipaddress.ip_address("fd00::1"),
        ]
        assert names.get_values_for_type(x509.DNSName) == ["media.internal"]

    def test_its_key_is_p256_and_its_bundle_is_the_chain_to_the_byte(self, material: TlsMaterial):
        key = material.leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert material.ca_pem == material.fullchain_pem
        assert check_pair(material.fullchain_pem, material.privkey_pem) == material

    def test_the_key_is_in_no_representation(self, material: TlsMaterial):
        assert "PRIVATE" not in repr(material)
        assert len(repr(material)) < 100

    @pytest.mark.parametrize(
        ("ips", "dns"),
        [([], []), (["10.0.1"], []), ([], ["café.internal"])],
        ids=["none", "no ip", "no ascii"],
    )
    def test_for_no_host_is_refused(self, ips: Sequence[str], dns: Sequence[str]):
        with pytest.raises(TlsMaterialError, match=r"certificate (cannot|would)"):
            self_signed(ips, dns)


class TestCheckPair:
    def test_the_key_of_another_certificate_is_refused(self, material: TlsMaterial, other: TlsMaterial):
        with pytest.raises(TlsMaterialError, match="does not belong"):
            check_pair(material.fullchain_pem, other.privkey_pem)

    @pytest.mark.parametrize("kept", [0, 1, 40, 200])
    def test_cut_off_pem_is_refused_and_its_key_not_quoted(self, material: TlsMaterial, kept: int):
        with pytest.raises(TlsMaterialError) as caught:
            check_pair(material.fullchain_pem[:kept], material.privkey_pem)
        assert "PEM" in str(caught.value)
        with pytest.raises(TlsMaterialError) as caught:
            check_pair(material.fullchain_pem, material.privkey_pem[:kept])
        assert "private key" in str(caught.value)
        assert "MIG" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_second_certificate_that_is_cut_off_is_refused(self, material: TlsMaterial, other: TlsMaterial):
        with pytest.raises(TlsMaterialError, match="cut off"):
            check_pair(material.fullchain_pem + other.fullchain_pem[:200], material.privkey_pem)

    def test_a_chain_out_of_order_is_refused(self, material: TlsMaterial, other: TlsMaterial):
        with pytest.raises(TlsMaterialError, match="certificate 1 of the chain"):
            check_pair(material.fullchain_pem + other.fullchain_pem, material.privkey_pem)

    def test_a_passphrase_is_refused(self, material: TlsMaterial):
        key = serialization.load_pem_private_key(material.privkey_pem, None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        with pytest.raises(TlsMaterialError, match="passphrase"):
            check_pair(material.fullchain_pem, locked)

    def test_expired_and_not_yet_valid_are_refused(self, material: TlsMaterial):
        now = datetime.now(timezone.utc)
        check_pair(material.fullchain_pem, material.privkey_pem, now=now + timedelta(days=824))
        for moment, words in (
            (now + timedelta(days=826), "expired"),
            (now - timedelta(days=1), "not valid before"),
        ):
            with pytest.raises(TlsMaterialError, match=words):
                check_pair(material.fullchain_pem, material.privkey_pem, now=moment)

    def test_a_common_name_alone_is_refused(self):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "10.0.1.30")])
        builder = tls_material.certificate_of(key.public_key(), name, name, days=1)
        certificate = builder.sign(key, hashes.SHA256())
        with pytest.raises(TlsMaterialError, match="subjectAltName"):
            check_pair(certificate.public_bytes(serialization.Encoding.PEM), tls_material.key_pem(key))


class TestWriting:
    def test_what_is_written_is_read_again_and_nobody_else_may(self, tmp_path: Path, material: TlsMaterial):
        folder = tmp_path / "media" / "tls"
        before = os.umask(0)
        try:
            write_material(folder, material)
        finally:
            os.umask(before)
        assert read_material(folder) == material
        assert (folder / "ca-for-clients.pem").read_bytes() == (folder / "fullchain.pem").read_bytes()
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path

    def test_nothing_there_is_nothing_read(self, tmp_path: Path):
        assert read_material(tmp_path) is None

    def test_at_every_step_of_a_change_the_pair_is_one_pair(
        self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial, monkeypatch: pytest.MonkeyPatch
    ):
        """Looked at after each renaming, from plain files that another tool put there and from our own."""
        (tmp_path / "fullchain.pem").write_bytes(material.fullchain_pem)
        (tmp_path / "privkey.pem").write_bytes(material.privkey_pem)
        seen: list[str] = []
        replace = Path.replace

        def observed(path: Path, target: Path) -> Path:
            result = replace(path, target)
            found = read_material(tmp_path)
            assert found is not None
            check_pair(found.fullchain_pem, found.privkey_pem)
            seen.append(fingerprint(found.fullchain_pem))
            return result

        monkeypatch.setattr(Path, "replace", observed)
        write_material(tmp_path, other)
        assert seen[0] == fingerprint(material.fullchain_pem)
        assert seen[-1] == fingerprint(other.fullchain_pem)
        seen.clear()
        write_material(tmp_path, material)
        assert seen == [fingerprint(material.fullchain_pem)]  # one renaming is the change

    def test_a_failed_write_leaves_the_old_pair_and_no_rubbish(
        self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial, monkeypatch: pytest.MonkeyPatch
    ):
        write_material(tmp_path, material)
        names = sorted(path.name for path in tmp_path.iterdir())

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(TlsMaterialError, match="No space left"):
                write_material(tmp_path, other)
        assert read_material(tmp_path) == material
        assert sorted(path.name for path in tmp_path.iterdir()) == names

    def test_pairs_of_long_ago_are_removed(self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial):
        for number in range(5):
            write_material(tmp_path, (material, other)[number % 2])
        assert len(list(tmp_path.glob(".pair-*"))) == 2

    def test_a_bundle_of_before_goes_where_the_new_pair_has_none(self, tmp_path: Path, material: TlsMaterial):
        write_material(tmp_path, material)
        write_material(tmp_path, TlsMaterial(material.fullchain_pem, material.privkey_pem))
        assert not os.path.lexists(tmp_path / "ca-for-clients.pem")

    def test_one_change_at_a_time(self, tmp_path: Path):
        with (
            material_lock(tmp_path),
            pytest.raises(TlsMaterialError, match="another process"),
            material_lock(tmp_path, patience_s=0),
        ):
            pass
        with material_lock(tmp_path, patience_s=0):
            pass

    def test_another_change_is_waited_for(self, tmp_path: Path):
        held, order = threading.Event(), list[str]()

        def change():
            with material_lock(tmp_path):
                held.set()
                order.append("first")

        with material_lock(tmp_path):
            thread = threading.Thread(target=change)
            thread.start()
            assert not held.wait(0.2)
            order.append("while it waits")
        thread.join(20)
        assert order == ["while it waits", "first"]

    def test_a_folder_that_cannot_be_is_named(self, tmp_path: Path, material: TlsMaterial):
        (tmp_path / "tls").write_text("a file")
        with pytest.raises(TlsMaterialError, match="MEDIA_TLS_CERT_HOST_PATH"):
            write_material(tmp_path / "tls", material)


def test_a_chain_is_parsed_to_its_end(material: TlsMaterial, other: TlsMaterial):
    assert len(parse_chain(material.fullchain_pem + other.fullchain_pem)) == 2
