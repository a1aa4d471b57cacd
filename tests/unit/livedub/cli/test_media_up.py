"""What `livedub media up` starts; that it serves is in tests/integration/media_cache/test_media_up_command.py."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from livedub.cli.main import app


class Started(Exception):  # noqa: N818 - no error
    """Instead of becoming the host."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.argv = argv
        self.environment = environment


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("MEDIA_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def start(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> Started:
    def become(_program: str, argv: list[str], environment: dict[str, str]) -> Any:
        raise Started(argv, environment)

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.chdir(folder)
    started = CliRunner().invoke(app, ["media", "up", *options]).exception
    assert isinstance(started, Started)
    return started


def option(started: Started, name: str) -> str | None:
    argv = started.argv
    return argv[argv.index(name) + 1] if name in argv else None


def test_it_keeps_a_catalogue_beside_the_speech_and_cleans_up_every_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started = start(monkeypatch, tmp_path)
    assert option(started, "--catalogue-dir") == str(tmp_path / "out/media/catalogue")
    assert option(started, "--data-dir") == str(tmp_path / "out/media/data")
    assert float(option(started, "--cleanup-every") or 0) == 3_600
    assert (tmp_path / "out/media/tls/fullchain.pem").exists()


def test_a_database_that_is_named_reaches_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/media")
    assert start(monkeypatch, tmp_path).environment["DATABASE_URL"] == "postgresql://db/media"


def test_without_a_catalogue_there_is_none_whatever_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("DATABASE_URL", "postgresql://db/media"), ("MEDIA_CATALOGUE_DIR", "/somewhere")):
        monkeypatch.setenv(name, value)
    started = start(monkeypatch, tmp_path, "--no-catalogue")
    assert option(started, "--catalogue-dir") is None
    assert option(started, "--cleanup-every") is None
    assert started.environment["DATABASE_URL"] == started.environment["MEDIA_CATALOGUE_DIR"] == ""
