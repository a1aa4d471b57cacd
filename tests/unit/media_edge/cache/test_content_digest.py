import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from media_edge.cache.content_digest import BodyDigests, parse_content_digest

BODY = b'{"hello": "world"}\n'


def member(algorithm: str, body: bytes = BODY) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def test_the_example_of_the_rfc():
    # RFC 9530, appendix B.1, of the body above.
    header = (
        "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"
    )
    digests = BodyDigests(parse_content_digest(header))
    for at in range(0, len(BODY), 5):
        digests.update(BODY[at : at + 5])
    assert digests.mismatch() is None


def test_every_digest_given_must_fit():
    digests = BodyDigests(parse_content_digest(f"{member('sha-256')}, {member('sha-512', b'else')}"))
    digests.update(BODY)
    assert digests.mismatch() == "sha-512"


@pytest.mark.parametrize(
    "header",
    [
        f"md5=:AAAA:,{member('sha-256')}",
        f"{member('sha-256')} ,\t{member('sha-512')}",
        f"{member('sha-256')};p=1;q",
        f"{member('sha-256', b'older')}, {member('sha-256')}",
    ],
)
def test_what_a_dictionary_may_hold_beside_it_does_no_harm(header: str):
    digests = BodyDigests(parse_content_digest(header))
    digests.update(BODY)
    assert digests.mismatch() is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "sha-256",
        "sha-256=abc",
        "sha-256=:abc:",
        "sha-256=:AAAA:",
        "sha-256=::",
        "SHA-256=:AAAA:",
        "md5=:XrY7u+Ae7tCTyyK7j1rNww==:",
        f"{member('sha-256')},",
        f"{member('sha-256')}x",
        "sha-256=:" + "A" * 2_000 + ":",
    ],
)
def test_a_header_that_cannot_be_checked_is_an_error(header: str):
    with pytest.raises(InvalidInputError):
        parse_content_digest(header)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(header: str):
    try:
        digests = parse_content_digest(header)
    except InvalidInputError:
        return
    assert set(digests) <= {"sha-256", "sha-512"}
    assert digests


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_another_body_never_fits(body: bytes, other: bytes):
    digests = BodyDigests(parse_content_digest(member("sha-256", body)))
    digests.update(other)
    assert (digests.mismatch() is None) == (body == other)
