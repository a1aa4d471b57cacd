import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu_handler.engines.ctranslate2_models import check_model
from livedub.errors import MissingPrerequisiteError


def library(devices: int = 0) -> SimpleNamespace:
    types = {"cpu": {"int8", "float32"}, "cuda": {"int8_float16", "float16"}}
    return SimpleNamespace(
        get_cuda_device_count=lambda: devices, get_supported_compute_types=lambda device: types[device]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.bin").write_bytes(struct.pack("<I", 6) + b"rest")
    return tmp_path


@pytest.mark.parametrize(
    ("device", "compute_type"), [("cpu", "int8"), ("cpu", "auto"), ("cuda", "int8_float16")]
)
def test_a_model_that_can_run_passes(folder: Path, device: str, compute_type: str):
    check_model(library(1), folder, device, compute_type, variables="STS_MT")


@pytest.mark.parametrize(
    ("device", "compute_type", "problem"),
    [
        ("cuda", "int8_float16", "STS_MT_DEVICE"),
        ("cpu", "int3", r"STS_MT_COMPUTE_TYPE.*float32, int8"),
        ("cpu", "int8_float16", "STS_MT_COMPUTE_TYPE"),
    ],
)
def test_what_the_machine_cannot_do_is_named(folder: Path, device: str, compute_type: str, problem: str):
    with pytest.raises(MissingPrerequisiteError, match=problem):
        check_model(library(), folder, device, compute_type, variables="STS_MT")


@pytest.mark.parametrize("head", [b"", b"abc", b"<htm", struct.pack("<I", 1), struct.pack("<I", 7)])
def test_weights_that_are_none_are_named(folder: Path, head: bytes):
    (folder / "model.bin").write_bytes(head)
    with pytest.raises(MissingPrerequisiteError, match=r"model\.bin is damaged"):
        check_model(library(), folder, "cpu", "int8", variables="STS_MT")


def test_a_folder_without_weights_is_named(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match=r"no model\.bin"):
        check_model(library(), tmp_path, "cpu", "int8", variables="STS_MT")
