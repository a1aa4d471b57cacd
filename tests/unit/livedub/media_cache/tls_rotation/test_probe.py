"""Handshakes: in memory with what is not served yet, and with a server on loopback."""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from livedub.media_cache.bundle_publication import certificates_of
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import TlsMaterial, fingerprint, self_signed
from livedub.media_cache.tls_rotation.probe import ServedTls, rehearse

AUTHORITY = PrivateCa.create()
LEAF = AUTHORITY.issue_leaf(["127.0.0.1"], ["media.internal"])
OTHER = self_signed(["127.0.0.1"])


def b64(*pems: bytes) -> str:
    return base64.b64encode(b"".join(pems)).decode()


class TestRehearse:
    @pytest.mark.parametrize("host", ["127.0.0.1", "media.internal"])
    def test_a_pair_that_consumers_would_take(self, host: str):
        assert rehearse(LEAF, b64(OTHER.ca_pem, LEAF.ca_pem), host) == ""

    def test_a_self_signed_one(self):
        assert rehearse(OTHER, b64(OTHER.ca_pem), "127.0.0.1") == ""

    @pytest.mark.parametrize(
        ("bundle", "host", "said"),
        [
            (b64(OTHER.ca_pem), "127.0.0.1", "certificate"),
            (b64(LEAF.ca_pem), "10.0.1.30", "mismatch"),
            (b64(LEAF.ca_pem), "other.internal", "mismatch"),
            ("bm8gcGVt", "127.0.0.1", "no PEM"),
        ],
    )
    def test_one_that_they_would_not(self, bundle: str, host: str, said: str):
        assert said in rehearse(LEAF, bundle, host)

    def test_without_a_bundle_a_private_one_is_refused(self):
        assert rehearse(LEAF, "", "127.0.0.1") != ""

    def test_one_that_has_expired(self):
        old = AUTHORITY.issue_leaf(["127.0.0.1"], days=0)
        assert "expired" in rehearse(old, b64(AUTHORITY.pem), "127.0.0.1")

    def test_a_key_of_another_certificate(self):
        mixed = TlsMaterial(LEAF.fullchain_pem, OTHER.privkey_pem)
        assert rehearse(mixed, b64(LEAF.ca_pem), "127.0.0.1") != ""


@contextlib.contextmanager
def serving(material: TlsMaterial, folder: Path) -> Iterator[int]:
    """A TLS server's port; it says hello and nothing else."""
    file = folder / "pair.pem"
    file.write_bytes(material.fullchain_pem + material.privkey_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(10)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedTls]:
    with serving(LEAF, tmp_path_factory.mktemp("tls")) as port:
        yield ServedTls("127.0.0.1", port)


class TestServed:
    def test_whose_certificate_it_is(self, served: ServedTls):
        assert served.fingerprint() == fingerprint(LEAF.fullchain_pem)

    def test_who_trusts_it(self, served: ServedTls):
        assert served.distrust(b64(OTHER.ca_pem, LEAF.ca_pem)) == ""
        assert served.distrust(b64(OTHER.ca_pem)) != ""
        assert "no PEM" in served.distrust("bm8gcGVt")

    def test_what_vouches_for_it(self, served: ServedTls):
        known = certificates_of([b64(OTHER.ca_pem, LEAF.ca_pem), b64(LEAF.ca_pem)])
        assert len(known) == 2
        assert served.vouching(known) == [fingerprint(LEAF.ca_pem)]

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        gone = ServedTls("127.0.0.1", port)
        assert gone.fingerprint() == ""
        assert "refused" in gone.distrust(b64(LEAF.ca_pem)).lower()
        assert gone.vouching(certificates_of([b64(LEAF.ca_pem)])) == []
