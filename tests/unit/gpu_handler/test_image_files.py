"""The files that an image and a RunPod deployment are made of, checked without a Docker engine."""

import base64
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio
from livedub.sts.contract import StsRequest
from livedub.sts.runpod_endpoint_spec import RunpodEndpointSpec, read_spec

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "gpu_handler/Dockerfile"
TARGETS = ("cpu", "gpu")

MADE_FOR_TORCH = re.compile(r"torch(audio|codec)?|triton|nvidia-.*|cuda-.*")
"""Packages whose version belongs to a build of torch, or that only a CUDA build has."""


def instructions() -> list[str]:
    """Every instruction on one line, without comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [
        " ".join(part.split()) for part in "\n".join(lines).replace("\\\n", " ").splitlines() if part.strip()
    ]


def sources() -> set[str]:
    """What the build context must hold: sources of COPY and of bind mounts, for either target."""
    found: set[str] = set()
    for line in instructions():
        if line.startswith("COPY ") and "--from=" not in line:
            found.update(shlex.split(line)[1:-1])
        found.update(re.findall(r"--mount=type=bind,source=([^,\s]+)", line))
    return {source.replace("${TARGET}", target) for source in found for target in TARGETS}


def locked(name: str) -> dict[str, str]:
    """Package to version of a lock."""
    text = (ROOT / "locks" / name).read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, flags=re.MULTILINE))


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("source", sorted(sources()))
def test_every_source_exists_is_tracked_and_reaches_the_build(source: str):
    assert (ROOT / source).exists()
    assert subprocess.run(
        ["git", "ls-files", "--", source], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert any(
        path == source or path.startswith(f"{source}/") or source.startswith(f"{path}/") for path in kept
    )


def test_the_build_gets_nothing_that_is_not_named():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")]
    assert lines[0] == "*"
    assert all((ROOT / line[1:]).exists() for line in lines if line.startswith("!"))


def test_the_base_is_pinned_by_digest_and_a_dated_tag():
    bases = [line.split()[1] for line in instructions() if line.startswith("FROM ")]
    stages = {line.split()[-1] for line in instructions() if re.match(r"FROM .* AS ", line)}
    outside = [base for base in bases if base not in stages and base != "${TARGET}"]
    assert outside
    assert all(re.fullmatch(r"[a-z]+:\w+-\d{8}-slim@sha256:[0-9a-f]{64}", base) for base in outside)
    assert set(TARGETS) < stages


def test_the_container_is_not_root_forwards_signals_and_tells_its_health():
    lines = instructions()
    (user,) = [line for line in lines if line.startswith("USER ")]
    assert re.fullmatch(r"USER [1-9]\d{3,}:[1-9]\d{3,}", user)
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT ")]
    assert json.loads(entry.removeprefix("ENTRYPOINT "))[:2] == ["tini", "--"]
    (command,) = [line for line in lines if line.startswith("CMD ")]
    assert json.loads(command.removeprefix("CMD ")) == ["runpod"]
    (health,) = [line for line in lines if line.startswith("HEALTHCHECK ")]
    assert json.loads(health.partition(" CMD ")[2]) == ["python", "-m", "gpu_handler.health_check"]


def test_no_secret_is_an_argument_or_a_variable():
    declared = [line for line in instructions() if line.startswith(("ARG ", "ENV "))]
    assert not [line for line in declared if re.search(r"KEY|TOKEN|SECRET|PASSWORD", line)]
    assert all("mount=type=secret" in line for line in instructions() if "/etc/uv/uv.toml" in line)


def test_caches_lie_where_settings_and_libraries_look():
    environment = " ".join(line for line in instructions() if line.startswith("ENV "))
    for variable in ("STS_MODEL_DIR=/models", "HF_HOME=/cache/", "TTS_HOME=/cache/", "STS_API_HOST=0.0.0.0"):
        assert variable in environment


def test_the_images_need_the_debian_packages_that_tests_run_on():
    named = [line for line in instructions() if "/debian/" in line]
    assert len(named) == 1
    lists = re.findall(r"/debian/([\w-]+\.txt)", named[0])
    assert lists == ["sts.txt", "sts-image.txt"]
    packages = {line for name in lists for line in (ROOT / "setup/debian" / name).read_text().splitlines()}
    assert {"python3.11", "espeak-ng", "apertium", "rubberband-cli", "tini", "ca-certificates"} <= packages


def test_cpu_and_gpu_hold_the_same_packages_but_for_torch_and_cuda():
    cpu, gpu = locked("sts-image-cpu.txt"), locked("sts-image-gpu.txt")
    gpu["onnxruntime"] = gpu.pop("onnxruntime-gpu")  # the same package, built for CUDA

    def logical(lock: dict[str, str]) -> dict[str, str]:
        return {
            name: version
            for name, version in lock.items()
            if not MADE_FOR_TORCH.fullmatch(name) and name != "onnxruntime"
        }

    assert logical(cpu) == logical(gpu)
    assert {"torch", "torchaudio", "torchcodec", "onnxruntime"} <= set(cpu) & set(gpu)
    assert cpu["torch"].endswith("+cpu")
    assert not [name for name in cpu if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_gpu_image_holds_one_cuda_12():
    gpu = locked("sts-image-gpu.txt")
    nvidia = [name for name in gpu if name.startswith("nvidia-")]
    assert all(name.endswith("-cu12") for name in nvidia)
    # What CTranslate2 and ONNX Runtime load by name, and LD_LIBRARY_PATH lists.
    folders = re.findall(r"\$\{CUDA\}/(\w+)/lib", DOCKERFILE.read_text())
    assert {f"nvidia-{folder.replace('_', '-')}-cu12" for folder in folders} <= set(nvidia)
    assert {"cublas", "cudnn"} <= set(folders)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_what_the_tests_of_the_torch_engines_ran_with(target: str):
    tested, shipped = locked("sts-torch.txt"), locked(f"sts-image-{target}.txt")
    for name in set(tested) & set(shipped) - {"onnxruntime"}:
        if not MADE_FOR_TORCH.fullmatch(name):
            assert shipped[name] == tested[name], name
    assert {"runpod", "coqui-tts", "transformers", "faster-whisper", "ctranslate2", "uvicorn", "uv"} <= set(
        shipped
    )


@pytest.mark.parametrize("target", TARGETS)
def test_no_image_lock_names_the_python_3_10_baseline(target: str):
    assert locked(f"sts-image-{target}.txt")["coqui-tts"] != locked("sts-image-py310.txt")["coqui-tts"]


def test_the_python_3_10_baseline_is_kept_resolved():
    lock = locked("sts-image-py310.txt")
    assert lock["coqui-tts"] == "0.27.2"
    assert lock["numpy"].startswith("1.")
    assert lock["torch"] == lock["torchaudio"] == "2.8.0"
    assert {"runpod", "faster-whisper", "transformers", "av"} <= set(lock)


class Documented(BaseModel):
    """RunPod's file formats as its publishing guide lists them; nothing else may appear."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class HubInput(Documented):
    name: str
    type: Literal["string", "number", "boolean", "huggingface"]
    description: str
    default: str | int | bool
    options: list[dict[Literal["label", "value"], str]] | None = None
    min: int | None = None
    max: int | None = None
    advanced: bool = False


class HubVariable(Documented):
    key: str
    value: str | None = None
    input: HubInput | None = None


class HubPreset(Documented):
    name: str
    defaults: dict[str, str | int | bool]


class HubConfig(Documented):
    runs_on: Literal["GPU"]
    container_disk_in_gb: int = Field(ge=20)
    gpu_count: int = Field(ge=1)
    gpu_ids: Annotated[str, Field(pattern=r"^[A-Z0-9_]+(,[A-Z0-9_]+)*$")]
    allowed_cuda_versions: list[Annotated[str, Field(pattern=r"^1[2-9]\.\d$")]]
    env: list[HubVariable]
    presets: list[HubPreset]


class Hub(Documented):
    title: str
    description: str
    type: Literal["serverless"]
    category: Literal["audio", "embedding", "language", "video", "image"]
    config: HubConfig


class HubTest(Documented):
    name: str
    input: dict[str, Any]
    timeout: int = Field(ge=1_000)


class HubTestConfig(Documented):
    gpu_type_id: str
    gpu_count: int
    env: list[HubVariable]
    allowed_cuda_versions: list[str]


class HubTests(Documented):
    tests: list[HubTest] = Field(min_length=1)
    config: HubTestConfig


class PersistentMount(Documented):
    size: int = Field(ge=10)
    path: str


class TemplateMounts(Documented):
    persistent: PersistentMount


class PodTemplate(Documented):
    """The body of RunPod's `POST /v2/templates` (docs.runpod.io/api-reference-v2, CreateTemplateRequest)."""

    name: str
    image: str
    category: Literal["NVIDIA", "AMD", "CPU"]
    serverless: Literal[False]
    public: bool
    start_ssh: bool
    start_jupyter: bool
    allowed_cuda_versions: list[Annotated[str, Field(pattern=r"^\d+\.\d+$")]]
    disk: int = Field(ge=1)
    mounts: TemplateMounts
    ports: list[Annotated[str, Field(pattern=r"^\d+/(http|tcp)$")]]
    args: str
    env: dict[str, str]


def hub() -> Hub:
    return Hub.model_validate_json((ROOT / ".runpod/hub.json").read_bytes())


def hub_tests() -> HubTests:
    return HubTests.model_validate_json((ROOT / ".runpod/tests.json").read_bytes())


def template() -> PodTemplate:
    return PodTemplate.model_validate_json((ROOT / "runpod-template.json").read_bytes())


def endpoint() -> RunpodEndpointSpec:
    return read_spec(ROOT / "runpod-endpoint.json")


def settings_from(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> StsSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return StsSettings()


def known_variables() -> set[str]:
    own = {f"STS_{name.upper()}" for name in StsSettings.model_fields}
    return own | {"HF_HOME", "TTS_HOME", "COQUI_TOS_AGREED"}


def test_every_variable_that_runpod_is_told_of_is_one():
    keys = [variable.key for variable in hub().config.env + hub_tests().config.env]
    keys += [key for preset in hub().config.presets for key in preset.defaults]
    assert {*keys, *template().env, *endpoint().env} <= known_variables()


def test_every_preset_gives_valid_settings(monkeypatch: pytest.MonkeyPatch):
    for preset in hub().config.presets:
        chosen = settings_from({key: str(value) for key, value in preset.defaults.items()}, monkeypatch)
        assert chosen.profile == preset.defaults["STS_PROFILE"]


def test_an_input_offers_only_values_the_settings_take(monkeypatch: pytest.MonkeyPatch):
    for variable in hub().config.env:
        assert variable.input is not None
        offered = [option["value"] for option in variable.input.options or []] + [str(variable.input.default)]
        offered += [str(bound) for bound in (variable.input.min, variable.input.max) if bound is not None]
        for value in offered:
            settings_from({variable.key: value}, monkeypatch)


def test_a_host_must_have_the_cuda_that_the_image_holds():
    image = locked("sts-image-gpu.txt")["nvidia-cuda-runtime-cu12"].split(".")[:2]
    allowed = [each.config.allowed_cuda_versions for each in (hub(), hub_tests())]
    for versions in (*allowed, template().allowed_cuda_versions, [endpoint().gpu.min_cuda_version]):
        assert all(tuple(map(int, version.split("."))) >= tuple(map(int, image)) for version in versions)


def test_the_pod_serves_http_on_the_port_it_opens(monkeypatch: pytest.MonkeyPatch):
    pod = template()
    assert pod.args == "serve"
    environment = " ".join(line for line in instructions() if line.startswith("ENV "))
    (port,) = re.findall(r"STS_API_PORT=(\d+)", environment)
    assert pod.ports == [f"{port}/http"]
    chosen = settings_from(pod.env, monkeypatch)
    assert chosen.model_dir.is_relative_to(pod.mounts.persistent.path)


def test_no_secret_stands_in_the_template():
    assert template().env["STS_API_KEY"].startswith("{{ RUNPOD_SECRET_")


def request() -> StsRequest:
    return StsRequest.model_validate(json.loads((ROOT / "test_input.json").read_bytes())["input"])


def test_the_test_input_is_a_small_valid_request_with_sound():
    assert (ROOT / "test_input.json").stat().st_size < 8_000
    wanted = request()
    samples = decode_audio(wanted.audio)
    assert abs(len(samples) * 1_000 / wanted.audio.sample_rate_hz - wanted.audio.duration_ms) <= 1
    assert float(abs(samples).max()) > 0.1
    assert len(base64.b64decode(wanted.audio.data_base64)) < 4_000


def test_runpods_tests_send_the_same_request():
    for case in hub_tests().tests:
        assert StsRequest.model_validate(case.input) == request()


def test_the_hub_finds_the_files_it_asks_for():
    folder = ROOT / ".runpod"
    assert (folder / "Dockerfile").resolve() == DOCKERFILE
    assert (folder / "README.md").is_file()
    compile((folder / "handler.py").read_text(), "handler.py", "exec")
