"""Models from the Hugging Face Hub and from Coqui's catalogue, fetched for real from a hub on loopback."""

import hashlib
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_handler import coqui_archive, hub_client, model_registry, models
from gpu_handler.coqui_archive import catalogue_entry, fetch_from_coqui
from gpu_handler.model_registry import HubSource, Model, ModelRegistry, Pin, read_pins, write_pin
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.unit.gpu_handler.fake_hub import COMMIT, FakeHub, running_hub

WEIGHTS = bytes(range(256)) * 4_096
CONFIG = b'{"model_type": "tiny"}'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with running_hub() as server:
        server.files = {"config.json": CONFIG, "model.bin": WEIGHTS, "README.md": b"not wanted"}
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr(model_registry, "PINS_PATH", tmp_path / "models-hub.json")
        yield server


def unpinned(revision: str = COMMIT, **changes: object) -> Model:
    fields: dict[str, object] = {
        "purpose": "testing",
        "origin": "nobody",
        "licence": "MIT",
        "obligations": "Keep the text.",
        "commercial_use": True,
        "checked": "unpinned",
        "hub": {"repository": "someone/model", "revision": revision, "include": ["*.json", "model.bin"]},
    }
    return Model.model_validate(fields | changes)


def file(path: str, data: bytes) -> dict[str, object]:
    return {"path": path, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def pinned() -> Model:
    return unpinned(checked="published", files=[file("config.json", CONFIG), file("model.bin", WEIGHTS)])


def use(monkeypatch: pytest.MonkeyPatch, **entries: Model) -> None:
    known = ModelRegistry(models=entries)
    monkeypatch.setattr(models, "registry", lambda: known.with_pins(read_pins(model_registry.PINS_PATH)))


def silent(_: str) -> None:
    """Say nothing."""


def test_a_pinned_model_is_fetched_and_nothing_else_of_its_repository(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=pinned())
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    home = models.verify("tiny", tmp_path / "home")
    assert {path.name for path in home.iterdir()} == {"config.json", "model.bin", ".complete.json"}
    assert not any("README" in path for path in hub.downloads)
    assert not (tmp_path / "home/.partial/tiny").exists()


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    large = WEIGHTS * 24  # the library writes blocks of 10 MB
    use(monkeypatch, tiny=unpinned(checked="published", files=[file("model.bin", large)]))
    hub.files["model.bin"] = large
    hub.cut_after = 22_000_000
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert models.verify("tiny", tmp_path / "home")
    (asked,) = hub.ranges
    assert int(asked.removeprefix("bytes=").split("-")[0]) >= 10_000_000


def test_a_killed_fetch_goes_on_where_it_stopped(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=pinned())
    files = tmp_path / "home/.partial/tiny/files"
    source = HubSource(repository="someone/model", revision=COMMIT, include=("model.bin",))
    hub_client.fetch_from_hub(source, ["model.bin"], files, size_bytes=1)
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert models.verify("tiny", tmp_path / "home")
    assert len([path for path in hub.downloads if path.endswith("model.bin")]) == 1


def test_another_content_than_registered_never_becomes_a_model(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=pinned())
    hub.files["model.bin"] = WEIGHTS[::-1]
    with pytest.raises(MissingPrerequisiteError, match=r"model\.bin as downloaded has another sha256"):
        models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert not (tmp_path / "home/tiny").exists()
    hub.files["model.bin"] = WEIGHTS
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert models.verify("tiny", tmp_path / "home")


def test_a_model_without_sha256_is_not_fetched_unless_it_is_to_be_pinned(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=unpinned())
    with pytest.raises(ConfigurationError, match=r"fetch --pin tiny.*models-hub\.json"):
        models.fetch(["tiny"], tmp_path / "home", say=silent)
    with pytest.raises(ConfigurationError, match="fetch --pin tiny"):
        models.verify("tiny", tmp_path / "home")
    assert not hub.downloads


def test_pinning_measures_and_the_pin_holds_from_then_on(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=unpinned("main"))
    said: list[str] = []
    models.fetch(["tiny"], tmp_path / "home", pin=True, say=said.append)
    assert any("review" in line for line in said)
    pins = read_pins(model_registry.PINS_PATH)
    assert {entry.path: entry.sha256 for entry in pins["tiny"].files} == {
        "config.json": hashlib.sha256(CONFIG).hexdigest(),
        "model.bin": hashlib.sha256(WEIGHTS).hexdigest(),
    }
    assert pins["tiny"].commit == COMMIT
    assert models.is_complete("tiny", tmp_path / "home")
    hub.files["model.bin"] = WEIGHTS[::-1]
    with pytest.raises(MissingPrerequisiteError, match="another sha256"):
        models.fetch(["tiny"], tmp_path / "elsewhere", say=silent)


def test_a_pinned_branch_is_fetched_at_the_commit_that_was_measured(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=unpinned("main"))
    models.fetch(["tiny"], tmp_path / "home", pin=True, say=silent)
    source = models.registry().model("tiny").hub
    assert source is not None
    assert source.revision == COMMIT
    hub.commit = COMMIT[::-1]
    with pytest.raises(MissingPrerequisiteError, match="answered with commit"):
        models.fetch(["tiny"], tmp_path / "elsewhere", say=silent)


def test_the_hub_must_answer_with_the_commit_that_was_asked_for(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, tiny=pinned())
    hub.commit = COMMIT[::-1]
    with pytest.raises(MissingPrerequisiteError, match="answered with commit"):
        models.fetch(["tiny"], tmp_path / "home", say=silent)


def test_offline_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with running_hub() as server:
        url = server.url
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setattr(model_registry, "PINS_PATH", tmp_path / "models-hub.json")
    use(monkeypatch, tiny=pinned())
    with pytest.raises(
        MissingPrerequisiteError, match=r"fetching someone/model at 0123.* failed: .*Connect"
    ) as caught:
        models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert "Traceback" not in str(caught.value)


def test_an_unknown_repository_is_named(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub.repository = "someone/other"
    use(monkeypatch, tiny=pinned())
    with pytest.raises(MissingPrerequisiteError, match=r"someone/model at 0123.*404"):
        models.fetch(["tiny"], tmp_path / "home", say=silent)


@pytest.mark.parametrize("deleted", ["huggingface", "home", "home/.partial", "home/tiny", "home/.lock"])
def test_every_cache_folder_may_be_deleted_and_is_rebuilt(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: str
):
    use(monkeypatch, tiny=pinned())
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    path = tmp_path / deleted
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    models.fetch(["tiny"], tmp_path / "home", say=silent)
    assert models.verify("tiny", tmp_path / "home")


def test_two_fetches_at_once_download_once(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, tiny=pinned())
    fetches = [
        threading.Thread(target=models.fetch, args=(["tiny"], tmp_path / "home"), kwargs={"say": silent})
        for _ in range(2)
    ]
    for fetch in fetches:
        fetch.start()
    for fetch in fetches:
        fetch.join(60)
    assert models.verify("tiny", tmp_path / "home")
    assert len([path for path in hub.downloads if path.endswith("model.bin")]) == 1


def test_a_pin_of_another_source_is_refused():
    pin = Pin.model_validate({"source": "hub someone/model@main", "files": [file("config.json", CONFIG)]})
    known = ModelRegistry(models={"tiny": unpinned()})
    with pytest.raises(ConfigurationError, match=r"pins hub someone/model@main.*names hub"):
        known.with_pins({"tiny": pin})


def test_a_pin_of_a_model_that_the_registry_pins_itself_is_refused():
    model = pinned()
    pin = Pin(source=model.source, files=model.files)
    with pytest.raises(ConfigurationError, match="pins already"):
        ModelRegistry(models={"tiny": model}).with_pins({"tiny": pin})


def test_pins_written_at_once_are_all_kept(tmp_path: Path):
    path = tmp_path / "models-hub.json"
    pins = [Pin.model_validate({"source": str(n), "files": [file("a", b"a")]}) for n in range(16)]
    writers = [threading.Thread(target=write_pin, args=(path, pin.source, pin)) for pin in pins]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20)
    assert set(read_pins(path)) == {pin.source for pin in pins}


def test_pins_are_kept_sorted_beside_each_other(tmp_path: Path):
    path = tmp_path / "models-hub.json"
    for name in ("zebra", "ant"):
        write_pin(path, name, Pin.model_validate({"source": name, "files": [file("a", b"a")]}))
    assert list(json.loads(path.read_text())) == ["ant", "zebra"]
    assert set(read_pins(path)) == {"ant", "zebra"}


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "{", '{"a": {"source": "x", "files": []}}'])
def test_a_broken_pin_file_is_named(tmp_path: Path, content: str):
    path = tmp_path / "models-hub.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"models-hub\.json cannot be read"):
        read_pins(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"coqui": "tts_models/en/x/vits"},
        {"hub": None},
        {"checked": "published"},
        {"files": [file("a", b"a")]},
        {"checked": "measured", "files": [file("../a", b"a")]},
        {"checked": "measured", "files": [file("/a", b"a")]},
    ],
    ids=["two sources", "no source", "pinned without files", "files but unpinned", "escapes", "absolute"],
)
def test_contradictory_entries_are_refused(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=r"exactly one|unless it is unpinned|leaves the model"):
        unpinned(**changes)


ARCHIVE_PATH = "/releases/voice.zip"


def zipped(**entries: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.fixture
def catalogue(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entries = {"en": {"ds": {"vits": {"github_rls_url": hub.url + ARCHIVE_PATH, "license": "mit"}}}}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"tts_models": entries}))
    monkeypatch.setattr(coqui_archive, "_SCHEMES", ("http://127.0.0.1:",))
    monkeypatch.setattr(coqui_archive, "_PAUSE_S", 0.0)
    monkeypatch.setattr(coqui_archive, "_installed_catalogue", lambda: path)
    hub.plain[ARCHIVE_PATH] = zipped(
        **{"voice/model_file.pth": WEIGHTS, "voice/config.json": CONFIG, "voice/../../outside": b"no"}
    )
    return path


def test_a_coqui_archive_is_unpacked_flat_and_inside(hub: FakeHub, catalogue: Path, tmp_path: Path):
    fetch_from_coqui("tts_models/en/ds/vits", tmp_path / "work/files")
    assert (tmp_path / "work/files/model_file.pth").read_bytes() == WEIGHTS
    assert (tmp_path / "work/files/config.json").read_bytes() == CONFIG
    assert not list(tmp_path.rglob("outside"))


def test_a_cut_archive_download_is_continued(hub: FakeHub, catalogue: Path, tmp_path: Path):
    hub.cut_after = 300_000
    fetch_from_coqui("tts_models/en/ds/vits", tmp_path / "work/files")
    assert hub.ranges == ["bytes=300000-"]
    assert (tmp_path / "work/files/model_file.pth").read_bytes() == WEIGHTS


def test_an_archive_that_cannot_be_had_names_its_address(hub: FakeHub, catalogue: Path, tmp_path: Path):
    hub.plain.clear()
    with pytest.raises(MissingPrerequisiteError, match=r"voice\.zip cannot be downloaded: HTTP Error 404"):
        fetch_from_coqui("tts_models/en/ds/vits", tmp_path / "work/files")
    assert len(hub.downloads) == 0


def test_an_archive_that_is_none_is_removed_and_told(hub: FakeHub, catalogue: Path, tmp_path: Path):
    hub.plain[ARCHIVE_PATH] = b"<html>sorry</html>"
    with pytest.raises(MissingPrerequisiteError, match="no usable zip"):
        fetch_from_coqui("tts_models/en/ds/vits", tmp_path / "work/files")
    assert not list((tmp_path / "work").iterdir())


def test_a_coqui_model_is_pinned_like_any_other(
    hub: FakeHub, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, voice=unpinned(hub=None, coqui="tts_models/en/ds/vits"))
    models.fetch(["voice"], tmp_path / "home", pin=True, say=silent)
    home = models.verify("voice", tmp_path / "home")
    assert {path.name for path in home.iterdir()} == {"model_file.pth", "config.json", ".complete.json"}
    shutil.rmtree(tmp_path / "home")
    models.fetch(["voice"], tmp_path / "home", say=silent)
    assert models.verify("voice", tmp_path / "home")


def test_a_model_that_coqui_does_not_list_is_named(catalogue: Path):
    with pytest.raises(ConfigurationError, match="tts_models/xx/ds/vits is not in the catalogue"):
        catalogue_entry("tts_models/xx/ds/vits")


def test_only_https_addresses_of_the_catalogue_are_followed(
    hub: FakeHub, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(coqui_archive, "_SCHEMES", ("https://",))
    with pytest.raises(ConfigurationError, match="not one zip file"):
        fetch_from_coqui("tts_models/en/ds/vits", tmp_path / "work/files")
