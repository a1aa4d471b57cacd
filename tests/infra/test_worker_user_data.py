"""What a worker host and the GPU host do when they install themselves, in a folder, with AWS, Docker and systemd played."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tests.infra.played_host import LOGS, LOGS_UNIT, PlayedHost

KEY_OF_A_HOST = '{"STS_API_KEY": "k1"}'
CONTAINER = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/livedub/sts@sha256:" + "a" * 64
MODELS = "var/lib/livedub-sts"

CLI = """
import os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write("livedub " + " ".join(sys.argv[1:]) + " in " + os.environ["AWS_REGION"] + "\\n")
"""


class Host(PlayedHost):
    """A worker host, or the GPU host."""

    def install_worker(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            "worker_install.sh",
            **{
                "RELEASE_ID": "one",
                "AWS_REGION": "eu-west-1",
                "WHEEL_URL": "s3://assets/livedub.whl",
                "PACKAGES_URL": "s3://assets/packages.zip",
                "NAMESPACE": "livedub/prod",
                "DRAIN_S": "120",
                **LOGS,
                **variables,
            },
        )

    def install_gpu(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            "gpu_host_install.sh",
            **{
                "RELEASE_ID": "one",
                "AWS_REGION": "eu-west-1",
                "PATIENCE_S": "2",
                "PLAYED_KEY": KEY_OF_A_HOST,
                "CONTAINER": CONTAINER,
                "PRIVATE_IP": "10.0.16.30",
                "PORT": "8000",
                "STS_SECRET": "livedub/prod/sts/secrets",
                "PACKAGES_URL": "s3://assets/packages.zip",
                "LIVEDUB_URL": "s3://assets/livedub.whl",
                **LOGS,
                **variables,
            },
        )

    @property
    def unit(self) -> str:
        return (self.root / "etc/systemd/system/livedub-sts.service").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host.made(
        tmp_path,
        # What is installed is run: its own interpreter tells how.
        plays={"python3.11": 'exec "$PYTHON" "$@"', "curl": '[ ! -e "$ARCHIVES/sick" ]'},
    )
    with zipfile.ZipFile(made.archives / "livedub.whl", "w") as wheel:
        wheel.writestr("livedub/__init__.py", "")
        wheel.writestr("livedub/cli/__init__.py", "")
        wheel.writestr("livedub/cli/main.py", CLI)
        unit = ROOT / "media_edge/worker/livedub-agent.service"
        wheel.writestr("media_edge/worker/livedub-agent.service", unit.read_text())
        wheel.writestr(f"livedub/host_logs/{LOGS_UNIT.name}", LOGS_UNIT.read_text())
    with zipfile.ZipFile(made.archives / "packages.zip", "w") as packages:
        packages.writestr("boto3/__init__.py", "")
    (made.archives / "worker.txt").write_text("# The worker.\ngstreamer1.0-tools\nrubberband-cli\n")
    return made


class TestWorker:
    def test_what_it_starts_with_is_fetched_before_the_agent_starts(self, host: Host):
        done = host.install_worker(DEBIAN_URL="s3://assets/worker.txt")
        assert done.returncode == 0, done.stderr
        (written,) = host.of("livedub")
        assert written.startswith(
            "hosts environment /etc/livedub/agent.env --parameters /livedub/prod/workers"
        )
        assert {"AGENT_", "S3_"} <= set(written.replace("--prefix ", "").split())
        assert written.endswith("in eu-west-1")
        started = host.calls.index("systemctl enable --quiet --now livedub-agent")
        assert host.calls.index(f"livedub {written}") < started
        assert started == len(host.calls) - 1

    def test_the_unit_finds_its_program_and_has_time_to_drain(self, host: Host):
        assert host.install_worker().returncode == 0
        units = host.root / "etc/systemd/system"
        unit = (units / "livedub-agent.service").read_text()
        program = (
            next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split("=")[1].split()[0]
        )
        assert (host.root / program.lstrip("/")).exists()
        own = (units / "livedub-agent.service.d/host.conf").read_text()
        assert "TimeoutStopSec=300\n" in own
        assert "AWS_REGION=eu-west-1" in own

    def test_its_journal_goes_away_before_anything_can_fail(self, host: Host):
        assert host.install_worker().returncode == 0
        assert host.journal_goes_to == LOGS
        (written,) = host.of("livedub")
        begun = host.calls.index("systemctl enable --quiet --now livedub-logs")
        assert begun < host.calls.index(f"livedub {written}")

    def test_packages_of_debian_come_from_its_own_repositories(self, host: Host):
        assert host.install_worker(DEBIAN_URL="s3://assets/worker.txt").returncode == 0
        update, install = host.of("apt-get")
        assert update.endswith(" update")
        assert install.endswith("install --no-install-recommends gstreamer1.0-tools rubberband-cli")

    def test_an_image_that_brings_them_is_asked_for_nothing(self, host: Host):
        assert host.install_worker().returncode == 0
        assert host.of("apt-get") == []

    def test_a_second_installation_leaves_nothing_of_the_first(self, host: Host):
        assert host.install_worker().returncode == 0
        (host.root / "opt/livedub/left").touch()
        assert host.install_worker(RELEASE_ID="two").returncode == 0
        assert not (host.root / "opt/livedub/left").exists()
        assert (host.root / "opt/livedub/RELEASE").read_text() == "two\n"

    @pytest.mark.parametrize("missing", ["livedub.whl", "packages.zip", "worker.txt"])
    def test_without_all_of_it_no_agent_starts(self, host: Host, missing: str):
        (host.archives / missing).unlink()
        done = host.install_worker(DEBIAN_URL="s3://assets/worker.txt")
        assert done.returncode != 0
        assert not [call for call in host.of("systemctl") if "--now" in call]


class TestGpuHost:
    def test_one_container_by_its_digest_gets_its_models_and_serves(self, host: Host):
        done = host.install_gpu()
        assert done.returncode == 0, done.stderr
        docker = host.of("docker")
        assert docker[0].startswith("login --username AWS --password-stdin 123456789012.dkr.ecr.")
        assert docker[1] == f"pull --quiet {CONTAINER}"
        assert docker[2].endswith(f"{CONTAINER} models fetch")
        assert host.of("systemctl")[-1] == "restart livedub-sts"
        assert "--publish 10.0.16.30:8000:8000 " in host.unit
        assert f"{CONTAINER} serve" in host.unit
        assert "k1" not in host.unit

    def test_its_journal_goes_away_before_anything_can_fail(self, host: Host):
        assert host.install_gpu().returncode == 0
        assert host.journal_goes_to == LOGS
        pulled = next(index for index, call in enumerate(host.calls) if call.startswith("docker pull"))
        assert host.calls.index("systemctl restart livedub-logs") < pulled
        assert (host.root / "opt/livedub").stat().st_mode & 0o777 == 0o755
        command = [str(host.root / "usr/local/bin/livedub"), "hosts", "logs"]
        environment = {
            "PATH": os.environ["PATH"],
            "CALLS": str(host.folder / "calls"),
            "AWS_REGION": "eu-west-1",
        }
        subprocess.run(command, env=environment, check=True, timeout=30)
        assert host.of("livedub") == ["hosts logs in eu-west-1"]

    def test_the_key_is_in_memory_alone_and_fetched_at_every_start(self, host: Host):
        assert host.install_gpu().returncode == 0
        assert (host.root / "run/livedub/sts.env").read_text() == "STS_API_KEY=k1\n"
        assert (host.root / "run/livedub/sts.env").stat().st_mode & 0o077 == 0
        assert "ExecStartPre=/usr/local/sbin/livedub-sts-key" in host.unit

    @pytest.mark.parametrize("secret", ['{"STS_API_KEY": ""}', "{}"])
    def test_no_key_is_said_and_nothing_started(self, host: Host, secret: str):
        done = host.install_gpu(PLAYED_KEY=secret)
        assert done.returncode != 0
        assert "livedub/prod/sts/secrets has no STS_API_KEY: put one in" in done.stderr
        assert "restart livedub-sts" not in host.of("systemctl")

    def test_the_same_again_restarts_nothing(self, host: Host):
        assert host.install_gpu().returncode == 0
        assert host.install_gpu().returncode == 0
        assert host.of("systemctl").count("restart livedub-sts") == 1

    def test_one_that_does_not_get_ready_makes_room_for_the_one_before(self, host: Host):
        assert host.install_gpu().returncode == 0
        (host.archives / "sick").touch()
        done = host.install_gpu(RELEASE_ID="two", CONTAINER=CONTAINER.replace("a" * 64, "b" * 64))
        assert done.returncode == 1
        assert "release two is not ready within 2 s: the one before runs again" in done.stderr
        assert f"{CONTAINER} serve" in host.unit
        assert host.of("systemctl").count("restart livedub-sts") == 3

    def test_a_first_one_that_does_not_get_ready_is_said(self, host: Host):
        (host.archives / "sick").touch()
        done = host.install_gpu()
        assert done.returncode == 1
        assert "journalctl -u livedub-sts" in done.stderr

    @pytest.mark.parametrize("missing", ["nvidia-ctk", "nvidia-smi"])
    def test_an_image_without_what_it_takes_is_named(self, host: Host, missing: str):
        (host.folder / "bin" / missing).unlink()
        done = host.install_gpu()
        assert done.returncode == 1
        assert f"{missing} is missing: take an Ubuntu image" in done.stderr

    def test_models_that_are_not_mounted_are_not_fetched(self, host: Host):
        done = host.install_gpu(UNMOUNTED=f"{host.root}/{MODELS}")
        assert done.returncode == 1
        assert "is not mounted" in done.stderr
        assert host.of("docker") == []
