import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.library_errors import BadKeyError, LibraryErrorCode
from livedub.library.object_keys import (
    check_key,
    check_prefix,
    extension_of,
    has_extension,
    live_prefix,
)

PARTS = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/"), min_size=1
)


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "folder/clip.mp4",
        "🎬/film 🎥.mp4",
        "ü/日本語.mkv",
        "with space+plus%20percent&amp;?#=.mp4",
        "..a/b..",
        "...",
        "k" * 1_024,
        "é" * 512,
    ],
)
def test_these_are_keys(key: str):
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "is empty"),
        ("k" * 1_025, "has 1025 bytes"),
        ("é" * 513, "has 1026 bytes"),
        ("a/../b.mp4", "holds '.' or '..'"),
        ("..", "holds '.' or '..'"),
        ("./a.mp4", "holds '.' or '..'"),
        ("/etc/passwd", "starts or ends with '/'"),
        ("a//b", "holds '//'"),
        ("folder/", "starts or ends with '/'"),
        ("a\nb.mp4", "control character"),
        ("a\rb", "control character"),
        ("a\0b", "control character"),
        ("a\u2028b", "line break"),
        ("a\x85b", "control character"),
        ("a\ud800b", "is not valid Unicode"),
    ],
)
def test_these_are_not_and_the_message_says_why(key: str, problem: str):
    with pytest.raises(BadKeyError) as refused:
        check_key(key)
    assert refused.value.code is LibraryErrorCode.BAD_KEY
    assert problem in refused.value.message
    assert len(refused.value.message) < 250
    assert "\n" not in refused.value.message


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_whatever_passes_stays_below_a_folder(parts: list[str]):
    key = "/".join(parts)
    try:
        check_key(key)
    except BadKeyError:
        assert {".", ".."} & set(parts) or len(key.encode()) > 1_024
    else:
        assert not key.startswith("/")
        assert ".." not in key.split("/")


@pytest.mark.parametrize("prefix", ["", "live/", "live/demo/1/", "live/de", "a"])
def test_prefixes(prefix: str):
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "/a", "a//", "../", "a/./", "a\n"])
def test_what_no_key_begins_with(prefix: str):
    with pytest.raises(BadKeyError):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("key", "extension"),
    [
        ("a/b.MP4", ".mp4"),
        ("b.tar.gz", ".gz"),
        ("b", ""),
        (".mp4", ""),
        ("a.mp4/b", ""),
        ("b.", ""),
        ("b.m p4", ""),
        ("b." + "x" * 300, ""),
        ("b.mp4\u0301", ""),
    ],
)
def test_extensions(key: str, extension: str):
    assert extension_of(key) == extension


def test_an_extension_is_found_however_it_is_written():
    assert has_extension("A.Mp4", {".mp4"})
    assert not has_extension("mp4", {".mp4"})


def test_where_a_live_stream_leaves_things():
    assert live_prefix("demo", 7) == "live/demo/7/"
