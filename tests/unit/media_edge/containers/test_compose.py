"""compose.yaml as a whole: nothing unknown in it, nothing undocumented, and every mode has what it needs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gpu_handler.settings import StsSettings
from livedub.library.library_settings import LibrarySettings
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.settings import variables
from livedub.supervision.policy import SupervisionPolicy
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.upload_settings import UploadSettings
from media_edge.mediamtx.relay.settings import RelaySettings
from media_edge.worker.agent.settings import AgentSettings
from media_edge.worker.settings import WorkerSettings
from tests.unit.media_edge.containers.compose_file import (
    COMPOSE,
    EXAMPLE,
    GPU,
    ROOT,
    Compose,
    Service,
    argv_of,
    compose,
    environment_of,
    example,
    health_of,
    interpolated,
    references,
)

MODES = ("mock", "sts", "remote", "aws")
OF_COMPOSE = {"COMPOSE_PROFILES", "COMPOSE_FILE"}
"""Compose's own, which no file refers to."""
NAMED_IN_THE_ISSUE = {
    "mediamtx",
    "stream-orchestration",
    "stream-worker",
    "sts-service-mock",
    "sts-service",
    "minio",
    "minio-init",
    "media-cache",
}
SETTINGS = (
    AgentSettings,
    HostSettings,
    LibrarySettings,
    MediaCacheSettings,
    MediaTlsSettings,
    RelaySettings,
    StsSettings,
    SupervisionPolicy,
    UploadSettings,
    WorkerSettings,
)
BESIDES = {
    "LIVEDUB_HOOK_URL",  # hook.py
    "LIVEDUB_LAMBDA_EMULATOR",  # local.aws.settings
    "LIVEDUB_MEDIAMTX_HOOK",  # mediamtx.yml
    "LIVEDUB_RUN_DIR",  # container_entry.sh, local.orchestration
    "MINIO_ROOT_PASSWORD",
    "MINIO_ROOT_USER",
    "PATH",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
}
"""Variables of no settings class, and who reads them."""


def has_compose() -> bool:
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0


def running(mode: str) -> dict[str, Service]:
    """The services that a profile starts."""
    services = compose(example()).services
    return {
        name: service
        for name, service in services.items()
        if not service.profiles or mode in service.profiles
    }


def every_service() -> list[tuple[str, Service]]:
    both = [*compose().services.items(), *compose(gpu=True).services.items()]
    return [(name, service) for name, service in both]


@pytest.mark.skipif(not has_compose(), reason="needs docker compose")
@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, GPU]], ids=["cpu", "gpu"])
@pytest.mark.parametrize("mode", MODES)
def test_compose_itself_has_nothing_to_say(mode: str, files: list[Path]):
    options = [option for file in files for option in ("--file", str(file))]
    done = subprocess.run(
        ["docker", "compose", *options, "--env-file", str(EXAMPLE), "--profile", mode, "config", "--quiet"],
        env={**os.environ, "COMPOSE_PROFILES": "", "COMPOSE_FILE": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_services_have_the_names_that_were_asked_for():
    assert set(compose().services) >= NAMED_IN_THE_ISSUE


def test_the_defaults_are_those_of_the_example():
    assert compose(example()) == compose()
    assert compose(example(), gpu=True) == compose(gpu=True)


def test_every_variable_is_explained_and_every_explained_one_is_used():
    used = {name for path in (COMPOSE, GPU) for name in references(path)}
    assert used == set(example()) - OF_COMPOSE


def test_a_variable_has_one_default():
    for path in (COMPOSE, GPU):
        for name, defaults in references(path).items():
            assert defaults == {example()[name]}, name


def test_a_comment_stands_above_every_variable_or_its_group():
    text = (ROOT / "media_edge/.env.example").read_text()
    for block in re.split(r"\n\n", text)[1:]:
        assert block.startswith("#"), block


@pytest.mark.parametrize("text", ["${A:-b}", "${A-b}"])
def test_an_unset_variable_takes_its_default(text: str):
    assert interpolated(text, {}) == "b"


def test_an_empty_variable_takes_the_default_of_a_colon_alone():
    assert interpolated("${A:-b}|${A-b}", {"A": ""}) == "b|"


@pytest.mark.parametrize(("name", "service"), every_service())
def test_every_variable_given_to_a_container_is_one_that_somebody_reads(name: str, service: Service):
    known = {variable.name for settings in SETTINGS for variable in variables(settings)} | BESIDES
    given = set(environment_of(service)) - {"HF_HOME", "TTS_HOME", "LD_LIBRARY_PATH"}
    unknown = {each for each in given - known if not each.startswith(("MTX_", "NVIDIA_"))}
    assert not unknown, name


def test_what_is_told_to_mediamtx_exists_in_its_configuration():
    configuration = yaml.safe_load((ROOT / "media_edge/mediamtx/mediamtx.yml").read_text())
    known = {key.upper() for key in configuration} | {
        f"PATHDEFAULTS_{key.upper()}" for key in configuration["pathDefaults"]
    }
    told = {
        key.removeprefix("MTX_")
        for key in compose().services["mediamtx"].environment
        if key.startswith("MTX_")
    }
    assert told
    for key in told:
        assert re.sub(r"_\d+_.*", "", key) in known, key


def test_more_permissions_come_behind_those_that_are_there():
    # MediaMTX changes an entry that exists and appends one that does not.
    users = yaml.safe_load((ROOT / "media_edge/mediamtx/mediamtx.yml").read_text())["authInternalUsers"]
    told = compose().services["mediamtx"].environment
    places = {int(match[1]) for key in told if (match := re.search(r"USERS_0_PERMISSIONS_(\d+)_", key))}
    assert places == {len(users[0]["permissions"]), len(users[0]["permissions"]) + 1}
    assert users[0]["user"] == "any"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_starts_all_that_its_services_wait_for(mode: str):
    services = running(mode)
    for name, service in services.items():
        for other, dependency in service.depends_on.items():
            assert other in services or not dependency.required, f"{name} waits for {other}"
            if dependency.condition == "service_healthy" and other in services:
                assert health_of(services[other]), f"{other} never tells that it is healthy"
        if service.network_mode:
            assert service.network_mode.removeprefix("service:") in services


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_has_at_most_one_speech_service_and_it_is_called_sts(mode: str):
    speech = {name for name in running(mode) if name.startswith("sts-service")}
    assert speech == {"mock": {"sts-service-mock"}, "sts": {"sts-service"}}.get(mode, set())
    for name in speech:
        assert running(mode)[name].networks["default"].aliases == ["sts"]


def test_in_aws_nothing_runs_here_that_is_there():
    assert set(running("aws")) == {"edge", "mediamtx", "media-relay", "stream-worker", "media-cache"}


def test_without_a_profile_mediamtx_runs_alone():
    assert set(running("")) == {"edge", "mediamtx"}


@pytest.mark.parametrize(("name", "service"), every_service())
def test_ports_are_for_this_machine_alone_but_the_media_servers(name: str, service: Service):
    for port in service.ports:
        address, outside, inside = port.rsplit(":", 2)
        assert address == "127.0.0.1"  # LIVEDUB_BIND's default
        assert outside == inside
    opened = compose({"LIVEDUB_BIND": "10.0.0.7"}).services[name].ports
    assert {port.rsplit(":", 1)[1] for port in opened if port.startswith("10.")} <= {"1935", "8554", "8888"}


def test_two_containers_of_a_mode_open_no_port_twice():
    for mode in MODES:
        ports = [port for service in running(mode).values() for port in service.ports]
        assert len(ports) == len(set(ports)), mode


@pytest.mark.parametrize(("name", "service"), every_service())
def test_containers_have_no_rights_that_they_do_not_need(name: str, service: Service):
    assert service.security_opt == ["no-new-privileges:true"]
    assert service.cap_drop == (["ALL"] if service.build else [])


@pytest.mark.parametrize(("name", "service"), every_service())
def test_an_image_of_others_is_pinned_and_ours_is_built(name: str, service: Service):
    pinned = re.fullmatch(r"[a-z./]+:[A-Za-z0-9.-]+@sha256:[0-9a-f]{64}", service.image)
    assert bool(pinned) != bool(service.build)
    assert service.image != "latest"


def test_one_image_is_built_one_way():
    for gpu in (False, True):
        ways: dict[str, set[str]] = {}
        for service in compose(gpu=gpu).services.values():
            if service.build:
                ways.setdefault(service.image, set()).add(f"{service.build} {service.platform}")
        assert all(len(way) == 1 for way in ways.values()), ways


def test_apple_silicon_emulates_only_what_holds_binaries_of_another_processor():
    emulated = {name for name, service in compose().services.items() if service.platform}
    assert emulated == {"stream-orchestration", "minio-init"}
    assert compose({"LIVEDUB_PLATFORM": "linux/arm64"}).services["minio-init"].platform == "linux/arm64"


def test_every_volume_is_declared_and_used():
    compose_file: Compose = compose()
    used = {volume.split(":")[0] for service in compose_file.services.values() for volume in service.volumes}
    assert used == set(compose_file.volumes)
    assert {"models", "recordings", "artefacts"} <= used


def test_what_runs_long_starts_again_and_what_ends_does_not():
    for name, service in compose().services.items():
        assert service.restart == ("no" if name == "minio-init" else "unless-stopped"), name


def test_a_worker_may_finish_its_streams():
    drain_s = float(AgentSettings.model_fields["drain_timeout_s"].default)
    assert int(compose().services["stream-worker"].stop_grace_period[:-1]) > drain_s


def test_the_card_is_reserved_for_the_speech_service_alone():
    reserved = {
        name: service.deploy for name, service in compose(gpu=True).services.items() if service.deploy
    }
    assert set(reserved) == {"sts-service"}
    (device,) = reserved["sts-service"]["resources"]["reservations"]["devices"]
    assert (device.count, device.capabilities) == (1, ["gpu"])
    service = compose(gpu=True).services["sts-service"]
    assert argv_of(service) == ["tini", "--", "python", "-m", "gpu_handler", "serve"]
    assert environment_of(service)["STS_PROFILE"] == "gpu"


def test_secrets_stand_in_no_file_of_the_repository():
    empty = {"STS_API_KEY", "MEDIA_UPLOAD_TOKEN", "RELAY_SIGNING_KEY"}
    assert {name: example()[name] for name in empty} == dict.fromkeys(empty, "")
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


def test_the_guide_names_every_service_and_every_variable_of_a_mode():
    guide = (ROOT / "docs/containers.md").read_text()
    for name in compose().services:
        assert f"`{name}`" in guide, name
    for name in OF_COMPOSE | {"STS_SERVICE_URL", "STS_API_KEY", "RELAY_API_URL", "RELAY_SIGNING_KEY"}:
        assert name in guide, name


def test_the_guide_starts_modes_that_exist():
    guide = (ROOT / "docs/containers.md").read_text()
    named = set(re.findall(r"COMPOSE_PROFILES=([a-z]+)", guide))
    assert named == {profile for service in compose().services.values() for profile in service.profiles}
    for name in re.findall(r"docker compose exec ([a-z-]+)", guide):
        assert name in compose().services
