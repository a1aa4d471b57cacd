"""`python -m gpu_handler models`: which models a command means, what it prints, and whose licence it asks about."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_handler import __main__ as entry
from gpu_handler import model_commands
from gpu_handler.exit_codes import ExitCode
from gpu_handler.model_commands import run_models_command
from gpu_handler.model_registry import REGISTRY_PATH, ModelRegistry, is_commit, registry
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError

ROOT = Path(__file__).resolve().parents[3]


def shipped() -> ModelRegistry:
    return ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes())


def settings(tmp_path: Path, **given: object) -> StsSettings:
    return StsSettings.model_validate({"model_dir": tmp_path, **given})


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(model_commands, "fetch", lambda names, _folder, **_: calls.append(tuple(names)))
    return calls


@pytest.mark.parametrize(
    ("profile", "some"),
    [
        ("cpu", {"whisper-base", "kokoro-82m", "kokoro-voices"}),
        ("gpu", {"whisper-large-v3-turbo", "kokoro-82m", "kokoro-voices", "opus-mt-es-en"}),
        ("mock", set()),
    ],
)
def test_fetch_without_names_means_the_profiles_models(
    tmp_path: Path, fetched: list[tuple[str, ...]], profile: str, some: set[str]
):
    run_models_command("fetch", (), settings(tmp_path, profile=profile))
    assert some <= set(fetched[0])
    assert bool(fetched[0]) is bool(some)


def test_the_cpu_profile_needs_nothing_that_is_not_measured():
    models = shipped()
    assert {models.model(name).checked for name in models.of_profile("cpu")} == {"measured"}


def test_no_profile_needs_a_model_that_must_not_be_used_commercially():
    models = shipped()
    for profile in ("cpu", "gpu"):
        assert all(models.model(name).commercial_use for name in models.of_profile(profile))


def test_a_non_commercial_licence_must_be_accepted(tmp_path: Path, fetched: list[tuple[str, ...]]):
    with pytest.raises(ConfigurationError, match=r"nllb.*CC-BY-NC-4\.0.*STS_ALLOW_NONCOMMERCIAL"):
        run_models_command("fetch", ["nllb-200-distilled-600m"], settings(tmp_path))
    run_models_command("fetch", ["nllb-200-distilled-600m"], settings(tmp_path, allow_noncommercial=True))
    assert fetched == [("nllb-200-distilled-600m",)]


def test_coquis_terms_must_be_accepted_besides(
    tmp_path: Path, fetched: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
):
    allowed = settings(tmp_path, allow_noncommercial=True)
    with pytest.raises(ConfigurationError, match="COQUI_TOS_AGREED=1"):
        run_models_command("fetch", ["xtts-v2"], allowed)
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    run_models_command("fetch", ["xtts-v2"], StsSettings(allow_noncommercial=True))
    assert fetched == [("xtts-v2",)]


def test_the_list_has_one_line_per_model(tmp_path: Path):
    said: list[str] = []
    run_models_command("list", (), settings(tmp_path), say=said.append)
    assert [line.split()[0] for line in said] == sorted(registry().models)
    assert all(line.split()[1] == "absent" for line in said)


def test_the_licences_say_of_every_model_what_it_asks(tmp_path: Path):
    said: list[str] = []
    run_models_command("licences", (), settings(tmp_path), say=said.append)
    text = "\n".join(said)
    for name, model in registry().models.items():
        (line,) = [line for line in said if line.split()[:1] == [name]]
        assert model.licence in line
        assert ("NO" in line.split()) is not model.commercial_use
    assert "COQUI_TOS_AGREED" in text
    assert all(len(line) <= 130 for line in said)


def test_verify_names_what_is_missing(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match=r"whisper-base: .*model\.bin is missing"):
        run_models_command("verify", ["whisper-base"], settings(tmp_path))


def test_a_model_of_the_gpu_is_fetched_by_the_models_command_not_by_make_setup(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch whisper-large-v3-turbo"):
        run_models_command("verify", ["whisper-large-v3-turbo"], settings(tmp_path))


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert entry.main(["models", "list", "whisper-huge"]) == ExitCode.USAGE
    assert "whisper-base" in capsys.readouterr().err


def test_an_unpinned_model_is_a_usage_error_with_the_way_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STS_MODEL_DIR", str(tmp_path))
    assert entry.main(["models", "fetch", "m2m100-418m"]) == ExitCode.USAGE
    assert "fetch --pin m2m100-418m" in capsys.readouterr().err


def test_sources_on_a_hub_are_commits_unless_only_a_branch_is_known():
    branches = {
        name
        for name, model in shipped().models.items()
        if model.hub is not None and not is_commit(model.hub.revision)
    }
    assert branches == {"opus-mt-es-en"}


def test_checked_sha256_of_a_hub_are_of_one_commit():
    for name, model in shipped().models.items():
        if model.hub is not None and model.files:
            assert is_commit(model.hub.revision), name


def test_livedub_models_is_that_command(tmp_path: Path):
    command = [sys.executable, "-m", "livedub.cli.main", "models", "licences", "xtts-v2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "CPML" in done.stdout
    failed = subprocess.run(
        [*command[:-2], "verify", "--profile", "gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ".:layers/core/python"},
    )
    assert failed.returncode in (ExitCode.USAGE, ExitCode.MISSING_PREREQUISITE)
    assert failed.stderr.startswith("error: ")


def test_the_pins_in_the_repository_fit_the_registry():
    assert registry().models
    assert json.loads((ROOT / "locks/models-hub.json").read_text()) is not None
