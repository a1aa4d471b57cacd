from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from local.aws.code_store import CodeStore
from local.aws.scratch import scratch_folder
from local.aws.settings import LocalAwsSettings


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return buffer.getvalue()


def test_the_same_archive_is_unpacked_once(tmp_path: Path):
    store = CodeStore(tmp_path)
    data = archive(a="1")
    folder = store.folder(data)
    (folder / "a").write_text("changed")
    assert store.folder(data) == folder
    assert (folder / "a").read_text() == "changed"
    assert store.folder(archive(a="2")) != folder


def test_a_member_cannot_leave_its_folder(tmp_path: Path):
    store = CodeStore(tmp_path / "root")
    store.folder(archive(**{"../../escaped": "1", "/absolute": "2"}))
    assert not (tmp_path / "escaped").exists()
    assert all((tmp_path / "root") in one.parents for one in tmp_path.rglob("*") if one.is_file())


def test_no_archive_is_an_error(tmp_path: Path):
    with pytest.raises(zipfile.BadZipFile):
        CodeStore(tmp_path).folder(b"text")


def test_a_folder_goes_at_the_end(tmp_path: Path):
    with scratch_folder(tmp_path) as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_a_folder_of_a_dead_server_goes_and_one_of_a_living_stays(tmp_path: Path):
    dead = tmp_path / "livedub-aws-dead"
    dead.mkdir()
    (dead / "lock").touch()
    strange = tmp_path / "livedub-aws-strange"
    strange.mkdir()
    with scratch_folder(tmp_path) as living, scratch_folder(tmp_path) as other:
        assert not dead.exists()
        assert strange.exists()
        assert living.exists()
        assert other.exists()


def test_a_missing_emulator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_LAMBDA_EMULATOR", str(tmp_path / "rie"))
    with pytest.raises(MissingPrerequisiteError, match="LIVEDUB_LAMBDA_EMULATOR"):
        LocalAwsSettings().require_emulator()


def test_a_given_emulator_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_LAMBDA_EMULATOR", str(tmp_path / "rie"))
    given = tmp_path / "mine"
    given.touch()
    assert LocalAwsSettings(lambda_emulator=given).require_emulator() == given
