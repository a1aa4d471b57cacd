"""The CPU image's own steps without a Docker engine: its environment, its files where COPY puts them, and it speaks."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from livedub.sts.contract import StsResult
from local.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
FIND_LINKS = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS") or ""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not list(Path(FIND_LINKS).glob("torch-*+cpu-*.whl")) if FIND_LINKS else True,
        reason="needs a folder with torch's CPU build in UV_FIND_LINKS or PIP_FIND_LINKS",
    ),
]


@dataclass(frozen=True, slots=True)
class Image:
    """What the image would hold, below one folder."""

    python: Path
    app: Path
    environment: dict[str, str]

    def run(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.app,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    subprocess.run(
        [ROOT / "setup/image_environment.sh", "cpu", folder / "opt"],
        env={**os.environ, "UV_FIND_LINKS": FIND_LINKS},
        check=True,
        timeout=800,
    )
    for line in (ROOT / "gpu_handler/Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and " /app/" in line:
            *sources, target = shlex.split(line)[1:]
            place(sources, folder / target.lstrip("/"), into=target.endswith("/"))
    environment = {
        "PATH": f"{folder / 'opt/bin'}:/usr/bin:/bin",
        "HOME": str(folder / "cache"),
        "PYTHONPATH": str(folder / "app"),
        "STS_MODEL_DIR": str(folder / "models"),
        "STS_PROFILE": "mock",
    }
    yield Image(folder / "opt/bin/python", folder / "app", environment)
    shutil.rmtree(folder, ignore_errors=True)  # 2.5 GB


def place(sources: list[str], target: Path, *, into: bool) -> None:
    """What COPY does with files and folders."""
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (target if into else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)


def test_every_engine_library_imports_and_comes_from_the_environment(image: Image):
    names = "av ctranslate2 faster_whisper numpy onnxruntime runpod sentencepiece torch torchaudio transformers TTS.api"
    code = f"import importlib, sys\nfor n in {names.split()!r}: print(importlib.import_module(n).__file__)"
    done = image.run("-c", code, timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert all(str(image.python.parent.parent) in line for line in done.stdout.splitlines())


def test_the_models_command_finds_its_locks(image: Image):
    done = image.run("-m", "gpu_handler", "models", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "whisper-large-v3-turbo" in done.stdout


def test_the_environment_has_what_fetching_models_takes(image: Image):
    assert image.run("-m", "uv", "--version").returncode == 0
    assert (image.python.parent / "npm").exists()


@contextmanager
def serving(image: Image) -> Iterator[str]:
    (port,) = free_ports(1)
    environment = {**image.environment, "STS_API_PORT": str(port)}
    process = subprocess.Popen(
        [image.python, "-m", "gpu_handler", "serve"],
        cwd=image.app,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "the service ended before it was ready"  # one line, when it is
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()


def test_the_service_answers_the_test_input_and_its_health_check(image: Image):
    body = json.loads((ROOT / "test_input.json").read_bytes())["input"]
    with serving(image) as url:
        answer = httpx.post(f"{url}/api/v1/sts/process", json=body, timeout=30)
        checked = subprocess.run(
            [image.python, "-m", "gpu_handler.health_check"],
            cwd=image.app,
            env={**image.environment, "STS_API_PORT": url.rsplit(":", 1)[1]},
            timeout=60,
            check=False,
        )
    result = StsResult.model_validate_json(answer.content)
    assert result.status.value == "success", result.error
    assert result.dubs[0].language == "en"
    assert checked.returncode == 0


def test_nothing_of_this_checkout_is_used(image: Image):
    done = image.run("-c", "import gpu_handler, livedub; print(gpu_handler.__file__, livedub.__file__)")
    assert str(ROOT) not in done.stdout, sys.path
