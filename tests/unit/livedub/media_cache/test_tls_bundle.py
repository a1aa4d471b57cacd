import base64
import logging
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.tls_bundle import TlsMode, parse_ca_bundle, ssl_context
from livedub.media_cache.tls_diag import log_tls_diag, tls_diag
from tests.unit.livedub.media_cache.tls_files import self_signed

ONE, ONE_KEY = self_signed("one")
TWO, _ = self_signed("two")
WIDTHS = st.integers(1, 200)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def inner(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


@pytest.mark.parametrize("text", [ONE, ONE.replace("\n", "\r\n"), f"\n  {ONE}", "\ufeff" + ONE, ONE.strip()])
@pytest.mark.parametrize("encode", [str, b64], ids=["pem", "base64"])
def test_a_good_bundle_is_read(text: str, encode: Callable[[str], str]):
    if encode is b64:
        text = text.removeprefix("\ufeff")
    bundle = parse_ca_bundle(encode(text))
    assert bundle.pem == ONE
    assert bundle.fingerprints == parse_ca_bundle(ONE).fingerprints
    assert bundle.mode is (TlsMode.BUNDLE_PEM if encode is str else TlsMode.BUNDLE_B64)


@given(WIDTHS, st.sampled_from(["\n", "\r\n", " ", "\t", "\n\n"]), st.booleans())
@settings(max_examples=50)
def test_white_space_never_matters(width: int, gap: str, encode: bool):
    body = inner(ONE)
    wrapped = gap.join(body[start : start + width] for start in range(0, len(body), width))
    text = f"-----BEGIN CERTIFICATE-----{gap}{wrapped}{gap}-----END CERTIFICATE-----"
    if encode:
        encoded = b64(text)
        text = gap.join(encoded[start : start + width] for start in range(0, len(encoded), width))
    assert parse_ca_bundle(text).pem == ONE


def test_line_breaks_that_were_all_lost_are_put_back():
    text = ONE.replace("\n", "")
    assert parse_ca_bundle(text).pem == parse_ca_bundle(b64(text)).pem == ONE


def test_every_certificate_counts():
    bundle = parse_ca_bundle(b64(ONE + TWO))
    assert len(bundle.certificates) == len(set(bundle.fingerprints)) == 2
    assert bundle.byte_length == len(ONE + TWO)
    assert ssl_context(bundle).cert_store_stats()["x509"] == 2


def test_nothing_but_the_bundle_is_trusted():
    assert ssl_context(parse_ca_bundle(ONE)).cert_store_stats()["x509"] == 1
    context = ssl_context(parse_ca_bundle(ONE))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("not base64!", "neither PEM nor base64"),
        ("ÄÖÜ", "neither PEM nor base64"),
        (base64.b64encode(b"\xff\x00").decode(), "neither PEM nor base64"),
        (b64("hello"), "no PEM"),
        (b64(b64(ONE)), "base64 of base64"),
        (b64(ONE)[:-3], "neither PEM nor base64"),
        (ONE.splitlines()[0], "cut off"),
        (ONE[: len(ONE) // 2], "cut off"),
        (ONE + TWO[: len(TWO) // 2], "cut off"),
        (ONE[: len(ONE) // 2] + TWO, "cut off"),
        (ONE.replace("\n", "\\n"), "backslash"),
        (ONE[:40] + ONE[44:], "damaged or cut off"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "damaged or cut off"),
        (f"# my authority\n{ONE}", "outside its certificates"),
        (f"{ONE}trailing", "outside its certificates"),
        (ONE + ONE_KEY, "private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----", "not a certificate"),
        ("A" * 300_000, "At most"),
    ],
)
def test_every_fault_stops_the_start_and_names_its_remedy(text: str, problem: str):
    for given_text in (text, b64(text)) if text.startswith("-----") else (text,):
        with pytest.raises(CaBundleError, match=problem) as fault:
            parse_ca_bundle(given_text)
        assert fault.value.remedy
        assert inner(ONE)[:20] not in str(fault.value)
        assert inner(ONE_KEY)[:20] not in str(fault.value)


@given(st.data())
@settings(max_examples=60)
def test_a_certificate_that_lost_characters_is_never_taken(data: st.DataObject):
    start = data.draw(st.integers(0, len(ONE) - 2))
    length = data.draw(st.integers(1, 40))
    damaged = ONE[:start] + ONE[start + length :]
    if "".join(damaged.split()) == "".join(ONE.split()):
        return
    for text in (damaged, b64(damaged)):
        with pytest.raises(CaBundleError):
            parse_ca_bundle(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_text_is_refused_with_a_remedy(text: str):
    with pytest.raises(CaBundleError) as fault:
        parse_ca_bundle(text)
    assert fault.value.remedy


def test_nothing_is_written_to_disk():
    written: list[str] = []
    listening = True

    def audit(event: str, args: tuple[Any, ...]) -> None:
        # An audit hook cannot be taken out again: it falls silent instead.
        if listening and event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            written.append(str(args[0]))

    sys.addaudithook(audit)
    try:
        ssl_context(parse_ca_bundle(b64(ONE + TWO)))
        tls_diag(b64(ONE))
    finally:
        listening = False
    assert not written


def test_the_diagnosis_says_what_is_trusted():
    assert tls_diag("").fields()["mediaCacheTlsMode"] == "system"
    diag = tls_diag(b64(ONE + TWO))
    fields = diag.fields()
    assert fields["mediaCacheTlsMode"] == "bundle-b64"
    assert fields["decodedCaBundleByteLength"] == len(ONE + TWO)
    assert fields["certificateCount"] == 2
    assert fields["sha256Fingerprints"] == list(parse_ca_bundle(ONE + TWO).fingerprints)
    assert all("T" in moment for moment in fields["notAfter"])
    assert fields["error"] == ""
    assert tls_diag(ONE).fields()["mediaCacheTlsMode"] == "bundle-pem"


def test_an_invalid_bundle_is_logged_as_an_error(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    diag = log_tls_diag(logging.getLogger("consumer"), ONE[:100])
    assert diag.mode is TlsMode.INVALID
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith('tlsDiag {"mediaCacheTlsMode": "invalid"')
    assert "cut off" in record.getMessage()


def test_the_diagnosis_never_shows_a_certificate(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    log_tls_diag(logging.getLogger("consumer"), b64(ONE))
    assert inner(ONE)[:20] not in caplog.text
    assert b64(ONE)[:60] not in caplog.text
