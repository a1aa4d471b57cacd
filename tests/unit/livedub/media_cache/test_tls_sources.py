import base64
import contextlib
import os
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import (
    PairMismatchError,
    TlsMaterial,
    TlsMaterialError,
    check_pair,
    read_material,
    self_signed,
    write_material,
)
from livedub.media_cache.tls_sources import TlsSource, bundle_b64, decode_variable, init_tls

IP = "10.0.1.30"


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@pytest.fixture(scope="module")
def material() -> TlsMaterial:
    return self_signed([IP])


@pytest.fixture(scope="module")
def other() -> TlsMaterial:
    return self_signed([IP])


def settings(folder: Path, **values: str) -> MediaTlsSettings:
    return MediaTlsSettings.load({"MEDIA_TLS_CERT_HOST_PATH": str(folder), "PRIVATE_IP": IP, **values})


def variables(chain: bytes = b"", key: bytes = b"") -> dict[str, str]:
    return {"MEDIA_TLS_FULLCHAIN_B64": b64(chain), "MEDIA_TLS_PRIVKEY_B64": b64(key)}


class TestOrder:
    def test_variables_win_over_files(self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial):
        write_material(tmp_path / "tls", other)
        choice = init_tls(settings(tmp_path, **variables(material.fullchain_pem, material.privkey_pem)))
        assert (choice.source, choice.material, choice.warnings) == (TlsSource.VARIABLES, material, ())
        assert read_material(tmp_path / "tls") == material

    @pytest.mark.parametrize("missing", ["MEDIA_TLS_FULLCHAIN_B64", "MEDIA_TLS_PRIVKEY_B64"])
    @pytest.mark.parametrize("empty", ["", " ", "\n"])
    def test_one_variable_without_the_other_warns_and_the_files_are_used(
        self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial, missing: str, empty: str
    ):
        write_material(tmp_path / "tls", other)
        given_values = variables(material.fullchain_pem, material.privkey_pem) | {missing: empty}
        choice = init_tls(settings(tmp_path, **given_values))
        assert (choice.source, choice.material) == (TlsSource.FILES, other)
        (warning,) = choice.warnings
        assert f"{missing} is not" in warning

    def test_variables_that_are_no_pair_stop_and_change_nothing(
        self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial
    ):
        write_material(tmp_path / "tls", material)
        with pytest.raises(PairMismatchError):
            init_tls(settings(tmp_path, **variables(material.fullchain_pem, other.privkey_pem)))
        assert read_material(tmp_path / "tls") == material

    def test_nothing_anywhere_makes_a_self_signed_one_with_its_bundle(self, tmp_path: Path):
        choice = init_tls(settings(tmp_path, MEDIA_TLS_SAN_DNS="media.internal, cache.internal"))
        assert choice.source is TlsSource.SELF_SIGNED
        folder = tmp_path / "tls"
        assert (folder / "ca-for-clients.pem").read_bytes() == (folder / "fullchain.pem").read_bytes()
        names = choice.material.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["media.internal", "cache.internal"]

    def test_a_second_start_keeps_what_the_first_made(self, tmp_path: Path):
        first, second = init_tls(settings(tmp_path)), init_tls(settings(tmp_path))
        assert (second.source, second.material) == (TlsSource.FILES, first.material)

    def test_without_an_address_or_name_nothing_is_made(self, tmp_path: Path):
        with pytest.raises(TlsMaterialError, match="PRIVATE_IP"):
            init_tls(settings(tmp_path, PRIVATE_IP=""))
        assert read_material(tmp_path / "tls") is None

    def test_files_that_are_no_pair_stop(self, tmp_path: Path, material: TlsMaterial, other: TlsMaterial):
        write_material(tmp_path / "tls", TlsMaterial(material.fullchain_pem, other.privkey_pem))
        with pytest.raises(PairMismatchError):
            init_tls(settings(tmp_path))

    def test_another_tools_links_are_left_alone(self, tmp_path: Path, material: TlsMaterial):
        folder, acme = tmp_path / "tls", tmp_path / "acme"
        acme.mkdir()
        folder.mkdir()
        for name, content in (
            ("fullchain.pem", material.fullchain_pem),
            ("privkey.pem", material.privkey_pem),
        ):
            (acme / name).write_bytes(content)
            (folder / name).symlink_to(acme / name)
        assert init_tls(settings(tmp_path)).source is TlsSource.FILES
        assert (folder / "fullchain.pem").readlink() == acme / "fullchain.pem"

    def test_a_certificate_for_another_address_is_a_warning(self, tmp_path: Path, material: TlsMaterial):
        write_material(tmp_path / "tls", material)
        choice = init_tls(settings(tmp_path, PRIVATE_IP="10.0.1.31"))
        assert "not for 10.0.1.31" in choice.warnings[0]


class TestPrivateCa:
    def test_leaves_come_and_go_and_the_bundle_stays(self, tmp_path: Path):
        own = settings(tmp_path, MEDIA_TLS_PRIVATE_CA="true")
        first = init_tls(own)
        assert first.source is TlsSource.PRIVATE_CA
        (tmp_path / "tls" / "fullchain.pem").unlink()
        second = init_tls(own)
        assert second.source is TlsSource.PRIVATE_CA
        assert second.material.fullchain_pem != first.material.fullchain_pem
        assert bundle_b64(second.material) == bundle_b64(first.material)
        assert len(parse_ca_bundle(bundle_b64(first.material)).certificates) == 1

    def test_a_leaf_near_its_end_is_issued_again_at_start(self, tmp_path: Path):
        own = settings(tmp_path, MEDIA_TLS_PRIVATE_CA="true")
        init_tls(own)
        authority = PrivateCa.load(tmp_path / "ca")
        assert authority is not None
        old = authority.issue_leaf([IP], days=0)  # five minutes ago until now
        write_material(tmp_path / "tls", TlsMaterial(old.fullchain_pem, old.privkey_pem))
        choice = init_tls(own)
        assert choice.source is TlsSource.PRIVATE_CA
        check_pair(choice.material.fullchain_pem, choice.material.privkey_pem)

    def test_the_servers_user_starts_without_the_right_to_read_the_authority(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """As systemd runs it: rotation made the pair as root, ExecStartPre looks at it as Caddy's user."""
        own = settings(tmp_path, MEDIA_TLS_PRIVATE_CA="true")
        made = init_tls(own)
        read_bytes = Path.read_bytes

        def read(path: Path) -> bytes:
            if path.parent == tmp_path / "ca":
                raise PermissionError(13, "Permission denied", str(path))
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", read)
        choice = init_tls(own)
        assert (choice.source, choice.material) == (TlsSource.FILES, made.material)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_the_lock_that_root_made_is_the_servers_too(self, tmp_path: Path):
        host = tmp_path / "media"
        host.mkdir()
        os.chown(host, 4_242, 4_242)
        init_tls(settings(host))
        assert {path.lstat().st_uid for path in [host / "tls", *(host / "tls").rglob("*")]} == {4_242}


class TestVariables:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("-----BEGIN CERTIFICATE-----\nMIIB", "PEM itself"),
            ("LS0tLS1C\nRUdJTi0t", "several lines"),
            ("LS0tLS1C RUdJTi0t", "several lines"),
            ("LS0tLS1C\\nRUdJTi0t", "no base64"),
            ("LS0tLS1CRUdJT", "no base64"),
            ("caf\u00e9", "no base64"),
            ("aGVsbG8=", "no PEM"),
        ],
    )
    def test_what_is_no_single_line_of_base64_is_refused_with_the_remedy(self, value: str, words: str):
        with pytest.raises(TlsMaterialError, match=words) as caught:
            decode_variable("MEDIA_TLS_PRIVKEY_B64", value)
        assert "base64 -w0" in caught.value.remedy
        assert value not in str(caught.value)

    @given(st.text(max_size=200))
    def test_any_text_is_pem_or_refused(self, value: str):
        with contextlib.suppress(TlsMaterialError):
            assert b"-----BEGIN" in decode_variable("MEDIA_TLS_FULLCHAIN_B64", value)

    def test_wrapped_base64_is_refused_whole(self, tmp_path: Path, material: TlsMaterial):
        wrapped = base64.encodebytes(material.fullchain_pem).decode()
        values = variables(material.fullchain_pem, material.privkey_pem) | {
            "MEDIA_TLS_FULLCHAIN_B64": wrapped
        }
        with pytest.raises(TlsMaterialError, match="several lines"):
            init_tls(settings(tmp_path, **values))

    def test_the_line_end_of_a_file_does_no_harm(self, tmp_path: Path, material: TlsMaterial):
        values = {
            name: f"{value}\n"
            for name, value in variables(material.fullchain_pem, material.privkey_pem).items()
        }
        assert init_tls(settings(tmp_path, **values)).source is TlsSource.VARIABLES

    def test_the_key_is_in_no_representation(self, material: TlsMaterial):
        shown = repr(settings(Path("/x"), **variables(material.fullchain_pem, material.privkey_pem)))
        assert b64(material.privkey_pem)[:40] not in shown

    def test_a_malformed_name_is_explained(self):
        with pytest.raises(ConfigurationError, match="NAMESPACE"):
            MediaTlsSettings.load({"NAMESPACE": "/voiceai/"})


def test_a_chain_without_its_root_has_no_bundle():
    leaf = PrivateCa.create().issue_leaf([IP])
    only = leaf.fullchain_pem[: leaf.fullchain_pem.index(b"-----END CERTIFICATE-----\n") + 26]
    with pytest.raises(TlsMaterialError, match="without a root"):
        bundle_b64(check_pair(only, leaf.privkey_pem))
