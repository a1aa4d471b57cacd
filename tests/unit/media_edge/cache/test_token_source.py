"""Tokens that change under a running service."""

import logging
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from media_edge.cache.token_source import TokenSource

ONE, TWO, FIXED = ("1" * 32, "2" * 32, "f" * 32)


def replace(path: Path, text: str) -> None:
    """As host-env does: another file in its place."""
    staged = path.with_suffix(".staged")
    staged.write_text(text)
    staged.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    replace(path, f"voice={ONE}\n")
    return path


def who(source: TokenSource, token: str) -> str | None:
    return source.current().name_of(f"Bearer {token}".encode())


def test_the_file_and_the_variables_are_good_together(path: Path):
    source = TokenSource(FIXED, f"cleanup={TWO}", path)
    assert [who(source, token) for token in (FIXED, TWO, ONE)] == ["default", "cleanup", "voice"]


def test_another_file_counts_at_once(path: Path):
    source = TokenSource("", "", path)
    replace(path, f"voice={ONE}\nvoice-other={TWO}\n")
    assert [who(source, token) for token in (ONE, TWO)] == ["voice", "voice-other"]
    replace(path, f"voice={TWO}\n")
    assert [who(source, token) for token in (ONE, TWO)] == [None, "voice"]


@pytest.mark.parametrize("text", ["voice=short\n", "no token at all\n", "voice=\xe9\n", None])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(
    path: Path, text: str | None, caplog: pytest.LogCaptureFixture
):
    source = TokenSource("", "", path)
    if text is None:
        path.unlink()
    else:
        replace(path, text)
    with caplog.at_level(logging.INFO):
        assert [who(source, ONE) for _ in range(3)] == ["voice"] * 3
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith("Those before stay good.")
    replace(path, f"voice={TWO}\n")
    assert [who(source, token) for token in (ONE, TWO)] == [None, "voice"]
    assert ONE not in caplog.text


def test_a_service_does_not_start_without_the_file_that_it_is_told_of(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"MEDIA_UPLOAD_TOKENS_FILE .*/none cannot be read"):
        TokenSource("", "", tmp_path / "none")
