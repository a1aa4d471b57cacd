"""The layer of third-party packages: the same lock, the same bytes."""

import hashlib
import importlib.util
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT

BUILD = ROOT / "setup/build_layer.sh"


def build(target: Path) -> subprocess.CompletedProcess[str]:
    # From uv's cache, which make setup has filled with the same wheels: tests ask no registry.
    return subprocess.run(
        [str(BUILD), str(target)],
        env={**os.environ, "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def listing(layer: Path) -> list[tuple[str, int, int, str]]:
    return [
        (
            str(path.relative_to(layer)),
            stat.S_IMODE(path.stat().st_mode),
            int(path.stat().st_mtime),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(layer.rglob("*"))
    ]


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "one" / "dependencies", tmp_path / "two" / "other-name"
    for target in made:
        done = build(target)
        if "network was disabled" in done.stderr or "not found in the cache" in done.stderr:
            pytest.skip(f"uv's cache lacks a wheel of the lock: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return made


def test_two_builds_are_the_same_to_the_byte_the_mode_and_the_second(layers: tuple[Path, Path]):
    first, second = map(listing, layers)
    assert first == second
    assert {mtime for _, _, mtime, _ in first[1:]} == {315_532_800}
    assert {mode for _, mode, _, _ in first} == {0o755, 0o644}


def test_nothing_is_in_it_that_a_function_does_not_run(layers: tuple[Path, Path]):
    names = {path.name for path in layers[0].rglob("*")}
    assert not {"bin", "RECORD", "INSTALLER", "boto3", "botocore", "tests"} & names
    assert {path.name for path in layers[0].iterdir()} == {"python"}


def test_bytecode_is_there_for_the_right_python_and_is_never_checked(layers: tuple[Path, Path]):
    sources = list(layers[0].glob("python/pydantic/*.py"))
    assert sources
    for source in sources:
        bytecode = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(bytecode[4:8], "little") == 0b01, "by hash, unchecked (PEP 552)"


def test_compiled_parts_load_on_amazon_linux_2(layers: tuple[Path, Path]):
    tags = [
        line.removeprefix("Tag: ")
        for wheel in layers[0].glob("python/*.dist-info/WHEEL")
        for line in wheel.read_text().splitlines()
        if line.startswith("Tag: ")
    ]
    foreign = {
        tag for tag in tags if not tag.endswith(("-any", "manylinux_2_17_x86_64", "manylinux2014_x86_64"))
    }
    assert foreign == set()
    assert any("cp311" in tag for tag in tags)


def test_an_unchanged_lock_builds_nothing(layers: tuple[Path, Path]):
    (layers[0] / "python" / "mark").touch()
    assert build(layers[0]).returncode == 0
    assert (layers[0] / "python" / "mark").exists()
    Path(f"{layers[0]}.sha256").write_text("of another lock\n")
    assert build(layers[0]).returncode == 0
    assert not (layers[0] / "python" / "mark").exists()
