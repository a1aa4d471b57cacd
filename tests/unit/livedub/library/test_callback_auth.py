from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from livedub.library.api.callback_auth import CallbackGate, callback_path, sign_callback
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.supervision.signing import sign

SECRET = "a-secret-of-our-own"  # noqa: S105 - of this test alone
JOB = UUID("6f0c6a4e-3d55-4a1a-9c7e-0d3a5c1f2b10")
BODY = b'{"attempt": 1, "state": "COMPLETED"}'
SIGNED = sign(
    SECRET.encode(),
    BODY,
    method="POST",
    path=callback_path(JOB),
    timestamp_ms=1_790_000_000_000,
    nonce="a-nonce-of-sixteen-or-more",
)


class Guard:
    def __init__(self) -> None:
        self.used: set[str] = set()

    def first_use(self, nonce: str) -> bool:
        first = nonce not in self.used
        self.used.add(nonce)
        return first


@pytest.fixture
def gate() -> CallbackGate:
    return CallbackGate(SECRET, Guard())


def refused(
    gate: CallbackGate, job_id: UUID, headers: dict[str, str], body: bytes = BODY
) -> LibraryErrorCode:
    with pytest.raises(LibraryError) as caught:
        gate.check(job_id, headers, body)
    assert caught.value.remedy
    assert SECRET not in str(caught.value)
    return caught.value.code


def test_a_genuine_callback_passes_once(gate: CallbackGate):
    headers = sign_callback(SECRET, JOB, BODY)
    gate.check(JOB, headers, BODY)
    assert refused(gate, JOB, headers) is LibraryErrorCode.CALLBACK_REPLAYED


def test_every_attempt_is_signed_anew(gate: CallbackGate):
    for _ in range(3):
        gate.check(JOB, sign_callback(SECRET, JOB, BODY), BODY)


def test_headers_come_in_any_case(gate: CallbackGate):
    headers = sign_callback(SECRET, JOB, BODY)
    gate.check(JOB, {name.lower(): value for name, value in headers.items()}, BODY)


def test_another_secret_another_job_or_another_body_is_forged(gate: CallbackGate):
    headers = sign_callback(SECRET, JOB, BODY)
    assert refused(gate, JOB, sign_callback("x" * 32, JOB, BODY)) is LibraryErrorCode.CALLBACK_FORGED
    assert refused(gate, uuid4(), headers) is LibraryErrorCode.CALLBACK_FORGED
    assert refused(gate, JOB, headers, BODY + b" ") is LibraryErrorCode.CALLBACK_FORGED
    assert refused(gate, JOB, {}) is LibraryErrorCode.CALLBACK_FORGED
    # None of these has used the nonce up: the genuine one still counts.
    gate.check(JOB, headers, BODY)


@pytest.mark.parametrize("off_ms", [-61_000, 61_000, 86_400_000])
def test_an_old_one_and_one_from_the_future_are_expired(off_ms: int):
    headers = sign_callback(SECRET, JOB, BODY)
    signed_at_ms = int(headers["X-Livedub-Timestamp"])
    gate = CallbackGate(SECRET, Guard(), lambda: signed_at_ms + off_ms)
    assert refused(gate, JOB, headers) is LibraryErrorCode.CALLBACK_EXPIRED


def test_while_the_secret_is_exchanged_both_are_good(gate: CallbackGate):
    new = "n" * 24
    both = CallbackGate(f"{new}\n{SECRET}", Guard())
    both.check(JOB, sign_callback(SECRET, JOB, BODY), BODY)
    both.check(JOB, sign_callback(f"{new} {SECRET}", JOB, BODY), BODY)
    assert refused(gate, JOB, sign_callback(f"{new} {SECRET}", JOB, BODY)) is LibraryErrorCode.CALLBACK_FORGED


@pytest.mark.parametrize("secret", ["", "   ", "short", f"{SECRET} short"])
def test_without_a_proper_secret_nobody_passes_and_nobody_signs(secret: str):
    gate = CallbackGate(secret, Guard())
    assert refused(gate, JOB, sign_callback(SECRET, JOB, BODY)) is LibraryErrorCode.UNAUTHORIZED
    with pytest.raises(LibraryError, match="LIBRARY_CALLBACK_SECRET"):
        sign_callback(secret, JOB, BODY)


@given(st.sampled_from(sorted(SIGNED)), st.integers(0, 1_000), st.sampled_from("0aAzZ9_="))
def test_any_changed_character_is_noticed(name: str, at: int, letter: str):
    value = SIGNED[name]
    at %= len(value)
    assume(value[at] != letter)
    changed = {**SIGNED, name: value[:at] + letter + value[at + 1 :]}
    gate = CallbackGate(SECRET, Guard(), lambda: int(SIGNED["X-Livedub-Timestamp"]))
    assert refused(gate, JOB, changed) is LibraryErrorCode.CALLBACK_FORGED
