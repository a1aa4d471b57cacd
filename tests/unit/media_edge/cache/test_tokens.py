import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from media_edge.cache.tokens import UploadTokens, parse_tokens

TOKEN = "tok-0123456789abcdef"  # noqa: S105 - of this test alone
OTHER = "tok-fedcba9876543210"
B64TOKEN = st.text(string.ascii_letters + string.digits + "-._~+/", min_size=16, max_size=80)


def test_a_writer_is_known_by_the_name_of_its_token():
    tokens = parse_tokens(TOKEN, f"worker={OTHER}")
    assert tokens.name_of(f"Bearer {TOKEN}".encode()) == "default"
    assert tokens.name_of(f"bearer  {OTHER}".encode()) == "worker"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN.encode()[:-1],
        b"Bearer " + TOKEN.encode() + b" ",
        b"Bearer " + TOKEN.encode() + b", Bearer x",
        b"Bearer " + TOKEN.upper().encode(),
        b"\xff\x00",
    ],
)
def test_anything_else_is_nobodys(header: bytes):
    assert parse_tokens(TOKEN, "").name_of(header) is None


@pytest.mark.parametrize(
    ("token", "named"),
    [
        ("short", ""),
        ("has a space in its middle", ""),
        (TOKEN, "nameless"),
        (TOKEN, f"a b={OTHER}"),
        (TOKEN, f"={OTHER}"),
        ("", f"a={OTHER},a={TOKEN}"),
        (TOKEN, f"same={TOKEN}"),
        ("x" * 513, ""),
    ],
)
def test_unusable_tokens_are_refused_at_the_start_and_never_quoted(token: str, named: str):
    with pytest.raises(ConfigurationError) as refused:
        parse_tokens(token, named)
    assert OTHER not in str(refused.value)
    assert TOKEN not in str(refused.value)


@given(st.binary(max_size=700))
def test_no_header_is_let_in_by_accident(header: bytes):
    assert UploadTokens({"default": TOKEN}).name_of(header) is None or TOKEN.encode() in header


@given(
    st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=8), B64TOKEN, min_size=1, max_size=5)
)
def test_every_named_token_opens_as_itself(tokens: dict[str, str]):
    if len(set(tokens.values())) < len(tokens):
        return
    parsed = parse_tokens("", ",".join(f"{name}={token}" for name, token in tokens.items()))
    for name, token in tokens.items():
        assert parsed.name_of(f"Bearer {token}".encode()) == name


@given(
    st.text(max_size=80),
    st.text(max_size=200) | st.lists(st.text("ab=, .x0", max_size=24), max_size=5).map(",".join),
)
def test_any_variables_make_tokens_or_are_refused(token: str, named: str):
    try:
        names = parse_tokens(token, named).names
    except ConfigurationError:
        return
    assert len(names) == bool(token) + sum(bool(part.strip()) for part in named.split(","))
