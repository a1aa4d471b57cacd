import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.supervision.signing import (
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignatureRejectedError,
    Signed,
    sign,
    verify,
)
from tests.unit.supervision.given import NOW_MS

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
BODY = b'{"path": "live/s1/in"}'
NONCE = "n" * 22


def signed(key: bytes = KEY, *, timestamp_ms: int = NOW_MS) -> dict[str, str]:
    return sign(key, BODY, method="POST", path="/v1/hooks/publish", timestamp_ms=timestamp_ms, nonce=NONCE)


def check(
    headers: dict[str, str],
    *,
    keys: bytes | list[bytes] = KEY,
    body: bytes = BODY,
    method: str = "POST",
    path: str = "/v1/hooks/publish",
    now_ms: int = NOW_MS,
) -> Signed:
    return verify(keys, headers, body, method=method, path=path, now_ms=now_ms)


def rejected(code: str, headers: dict[str, str], **rest: object) -> None:
    with pytest.raises(SignatureRejectedError) as error:
        check(headers, **rest)  # pyright: ignore[reportArgumentType]
    assert error.value.code == code
    assert KEY.hex() not in str(error.value)


def test_what_was_signed_holds():
    assert check(signed()) == Signed(NONCE, NOW_MS)
    assert check(signed(), method="post") == Signed(NONCE, NOW_MS)
    lower = {name.lower(): value for name, value in signed().items()}
    assert check(lower) == Signed(NONCE, NOW_MS), "HTTP APIs hand headers on in lower case"


def test_the_signature_is_the_published_one():
    """So that a relay and an API of different releases agree."""
    assert signed()[SIGNATURE_HEADER] == (
        "v1=f14f05ce7161e2a49750e2c52ed9b2174cf915f2f2ab481d783ac76eb8150e68"
    )


def test_while_keys_rotate_any_of_them_holds():
    for keys in ([OTHER, KEY], [KEY, OTHER]):
        assert check(signed(), keys=keys).nonce == NONCE
    rejected("BAD_SIGNATURE", signed(), keys=[OTHER])


@pytest.mark.parametrize(
    "changes",
    [{"body": BODY + b" "}, {"path": "/v1/hooks/unpublish"}, {"method": "PUT"}, {"keys": OTHER}],
    ids=str,
)
def test_everything_that_matters_is_signed(changes: dict[str, object]):
    rejected("BAD_SIGNATURE", signed(), **changes)


@pytest.mark.parametrize("header", [NONCE_HEADER, TIMESTAMP_HEADER])
def test_nonce_and_time_are_signed(header: str):
    other = {NONCE_HEADER: "m" * 22, TIMESTAMP_HEADER: str(NOW_MS + 1)}[header]
    rejected("BAD_SIGNATURE", {**signed(), header: other})


@pytest.mark.parametrize("header", [NONCE_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER])
@pytest.mark.parametrize("value", [None, "", " ", "x", "v2=00", "-1", "1e9", "١٢٣", "n" * 65])
def test_what_is_missing_or_malformed_is_unsigned_or_bad(header: str, value: str | None):
    headers = {name: text for name, text in signed().items() if name != header}
    if value is not None:
        headers[header] = value
    with pytest.raises(SignatureRejectedError) as error:
        check(headers)
    assert error.value.code in {"UNSIGNED", "BAD_SIGNATURE"}
    if value in {None, ""}:
        assert error.value.code == "UNSIGNED"


@pytest.mark.parametrize("off_ms", [-60_001, 60_001, 10**12])
def test_old_and_future_requests_are_stale(off_ms: int):
    rejected("STALE", signed(timestamp_ms=NOW_MS + off_ms))
    assert check(signed(timestamp_ms=NOW_MS + 60_000)).timestamp_ms == NOW_MS + 60_000


def test_staleness_is_told_to_key_holders_only():
    rejected("BAD_SIGNATURE", signed(OTHER, timestamp_ms=1))


@pytest.mark.parametrize("keys", [b"", b"short", [], [KEY, b"short"]], ids=str)
def test_a_key_that_protects_nothing_is_a_configuration_error(keys: bytes | list[bytes]):
    with pytest.raises(ConfigurationError, match="openssl rand"):
        check(signed(), keys=keys)
    with pytest.raises(ConfigurationError):
        sign(b"short", BODY, method="POST", path="/", timestamp_ms=1, nonce=NONCE)


@given(st.dictionaries(st.sampled_from(list(signed())), st.text(max_size=80)))
def test_no_headers_crash_it(headers: dict[str, str]):
    with pytest.raises(SignatureRejectedError):
        check(headers)
