"""What a worker refuses to start without, and what it says then."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from gpu_handler import fitness
from gpu_handler.fitness import check_disk, check_fitness, check_gpu, check_models, wants_cuda
from gpu_handler.model_registry import registry
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

MIB = 1024 * 1024


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def settings(**given: object) -> StsSettings:
    return StsSettings.model_validate({"profile": "mock", **given})


def on_cuda(**given: object) -> StsSettings:
    return settings(profile="cpu", whisper_device="cuda", **given)


def test_engines_that_pretend_need_nothing(tmp_path: Path):
    check_fitness(settings(model_dir=tmp_path / "absent", min_disk_mb=0))


@pytest.mark.parametrize(("free_mib", "fits"), [(500, True), (499, False)])
def test_disk_must_have_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_mib: int, fits: bool):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(10**12, 0, free_mib * MIB))
    wanted = settings(model_dir=tmp_path / "not" / "yet" / "there", min_disk_mb=500)
    if fits:
        check_disk(wanted)
        return
    with pytest.raises(MissingPrerequisiteError) as refused:
        check_disk(wanted)
    assert "499 MiB" in str(refused.value)
    assert "STS_MIN_DISK_MB" in str(refused.value)
    assert refused.value.remedy


def test_both_disks_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen: list[Path] = []

    def usage(folder: Path) -> Usage:
        seen.append(folder)
        return Usage(10**12, 0, 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(fitness.tempfile, "gettempdir", lambda: "/")
    check_disk(settings(model_dir=tmp_path / "absent"))
    assert set(seen) == {Path("/"), tmp_path}


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_absent_model_of_the_profile_is_named(tmp_path: Path, profile: str):
    with pytest.raises(MissingPrerequisiteError) as refused:
        check_models(settings(profile=profile, model_dir=tmp_path))
    names = registry().of_profile(profile)
    assert names
    assert all(name in str(refused.value) for name in names)
    assert "livedub models fetch" in refused.value.remedy


def test_engines_chosen_one_by_one_are_left_to_loading(tmp_path: Path):
    check_models(settings(profile="cpu", transcriber="mock", synthesizer="mock", model_dir=tmp_path))


@pytest.mark.models
def test_fetched_models_are_found():
    check_models(settings(profile="cpu"))


@pytest.mark.parametrize("device", ["whisper_device", "mt_device", "tts_device"])
def test_one_engine_on_cuda_asks_for_a_gpu(device: str):
    assert not wants_cuda(settings(profile="cpu"))
    assert wants_cuda(settings(profile="cpu", **{device: "cuda"}))


def test_the_gpu_profile_asks_for_a_gpu():
    assert wants_cuda(settings(profile="gpu"))


def test_no_gpu_is_looked_for_where_none_is_used():
    def query() -> str:
        raise AssertionError("not to be asked")

    check_gpu(settings(profile="cpu"), query)
    check_gpu(settings(profile="mock", whisper_device="cuda"), query)


@pytest.mark.parametrize("answer", ["", "\n", "[N/A], [N/A]\n", "NVIDIA-SMI has failed\n"])
def test_a_machine_without_a_gpu_is_refused(answer: str):
    with pytest.raises(MissingPrerequisiteError, match="no GPU") as refused:
        check_gpu(on_cuda(), lambda: answer)
    assert "STS_PROFILE=cpu" in refused.value.remedy


def test_a_gpu_that_is_too_small_is_refused_with_both_figures():
    with pytest.raises(MissingPrerequisiteError, match=r"8188 MiB.*12000"):
        check_gpu(on_cuda(min_vram_mb=12_000), lambda: "8188, 8000\n")


def test_the_largest_gpu_counts():
    check_gpu(on_cuda(min_vram_mb=12_000), lambda: "8188, 8000\n24564, 24000\n")


def test_a_busy_gpu_is_worth_a_warning(caplog: pytest.LogCaptureFixture):
    check_gpu(on_cuda(min_vram_mb=12_000), lambda: "24564, 1000\n")
    assert "1000 of 24564 MiB" in caplog.text


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo '24564, 24000'", True),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", False),
        (None, False),
    ],
)
def test_nvidia_smi_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, found: bool
):
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if script else str(tmp_path))
    if found:
        check_gpu(on_cuda())
    else:
        with pytest.raises(MissingPrerequisiteError, match="no GPU"):
            check_gpu(on_cuda())
