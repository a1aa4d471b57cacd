"""What a media-cache host does at its first boot and at an installation, in a folder, with AWS and systemd played."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tests.infra.played_host import LOGS, LOGS_UNIT, SCRIPTS, PlayedHost

UNITS = ROOT / "media_edge/cache"
IP = "10.0.1.30"


class Host(PlayedHost):
    """A media-cache host."""

    def install(self, release: str, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "RELEASE_ID": release,
            "AWS_REGION": "eu-west-1",
            **{
                f"{name.upper()}_URL": f"s3://assets/{name}-{release}.zip"
                for name in ("packages", "shared", "cache")
            },
            "NAMESPACE": "livedub/dev",
            "MEDIA_CONSUMER_PREFIX": "/livedub/dev",
            "MEDIA_DATABASE_SECRET": "rds",
            "PRIVATE_IP": IP,
            "MEDIA_PORT": "8443",
            **LOGS,
        }
        return self.run("release_install.sh", "media_cache_install.sh", **{**settings, **variables})

    def release(self, name: str, *, broken: bool = False) -> None:
        """Put a release's archives where `aws s3 cp` finds them."""
        contents = {
            "packages": {"bin/caddy": "caddy", "psycopg/__init__.py": ""},
            "shared": {
                "python/livedub/__init__.py": f"'{name}'",
                f"python/livedub/host_logs/{LOGS_UNIT.name}": LOGS_UNIT.read_text(),
            },
            "cache": {path.name: path.read_text() for path in UNITS.glob("livedub-media*")},
        }
        if broken:
            contents["cache"]["broken"] = ""
        for archive, files in contents.items():
            with zipfile.ZipFile(self.archives / f"{archive}-{name}.zip", "w") as zipped:
                for path, text in files.items():
                    zipped.writestr(path, text)


@pytest.fixture
def host(tmp_path: Path) -> PlayedHost:
    return Host.made(tmp_path, "opt/services/media", "mnt/media-data")


def boot(host: Host, **variables: str) -> subprocess.CompletedProcess[str]:
    return host.run(
        "host_first_boot.sh", "media_cache.sh", DATA_VOLUME="vol-0aa", TLS_VOLUME="vol-0bb", **variables
    )


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.sh")))
def test_shellcheck_finds_nothing(script: str):
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [checker, SCRIPTS / script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("blkid", "formatted"), [(0, 0), (2, 2)])
def test_a_volume_is_formatted_when_it_is_new_and_never_again(host: Host, blkid: int, formatted: int):
    host.attach("vol-0aa", "vol-0bb")
    done = boot(host, BLKID=str(blkid))
    assert done.returncode == 0, done.stderr
    assert len(host.of("mkfs.ext4")) == formatted
    assert host.of("mount") == ["/mnt/media-data", "/opt/services/media"]
    lines = (host.root / "etc/fstab").read_text().splitlines()
    assert [line.split()[0].rsplit("_", 1)[-1] for line in lines] == ["vol0aa", "vol0bb"]
    assert [line.split()[1] for line in lines] == ["/mnt/media-data", "/opt/services/media"]
    assert host.of("dnf") == ["install --quiet --assumeyes python3.11"]


def test_a_volume_that_holds_something_unknown_is_left_as_it_is(host: Host):
    host.attach("vol-0aa", "vol-0bb")
    done = boot(host, BLKID="8")
    assert done.returncode == 1
    assert "vol-0aa holds something that blkid cannot tell" in done.stderr
    assert not host.of("mkfs.ext4")
    assert not host.of("mount")


def test_a_volume_that_is_not_attached_ends_the_boot(host: Host):
    done = boot(host, PATIENCE_S="1")
    assert done.returncode == 1
    assert "vol-0aa was not attached within 1 s" in done.stderr


def test_an_installation_is_whole_and_tells_consumers_last(host: Host):
    host.release("one")
    done = host.install("one")
    assert done.returncode == 0, done.stderr
    assert host.current == "one"
    live = host.root / "opt/livedub"
    assert os.access(live / ".venv/bin/caddy", os.X_OK)
    assert (live / ".venv/lib/python3.11/site-packages/psycopg/__init__.py").is_file()
    assert (live / "layers/core/python/livedub/__init__.py").read_text() == "'one'"
    units = {path.name for path in (host.root / "etc/systemd/system").iterdir()}
    assert units == {LOGS_UNIT.name} | {
        path.name for path in UNITS.glob("livedub-media-*.*") if path.suffix in {".service", ".timer"}
    }
    assert host.journal_goes_to == LOGS
    assert next(call for call in host.of("systemctl") if call.startswith("restart")) == "restart livedub-logs"
    said = [call.removeprefix("-m livedub.cli.main media ") for call in host.of("python")]
    assert said == ["host-env /etc/livedub --database-secret rds", "tls-init", "rotate"]
    started = next(index for index, call in enumerate(host.calls) if call.startswith("systemctl restart"))
    order = [index for index, call in enumerate(host.calls) if call.startswith("python ")]
    assert order[0] < order[1] < started < order[2]
    settings = dict(
        line.split("=", 1) for line in (host.root / "etc/livedub/media.env").read_text().splitlines()
    )
    assert settings["MEDIA_TLS_PRIVATE_CA"] == "true"
    assert settings["MEDIA_SETTINGS_SOURCE"] == "aws"
    assert settings["MEDIA_HTTPS_ADDRESS"] == f"{IP}:8443"
    assert not [name for name in settings if "TOKEN" in name or "KEY" in name or "DATABASE" in name]


def test_the_settings_of_the_host_are_ones_that_its_programs_know(host: Host):
    from livedub.media_cache.media_tls_settings import MediaTlsSettings  # noqa: PLC0415
    from livedub.settings import variables  # noqa: PLC0415
    from media_edge.cache.host_settings import HostSettings  # noqa: PLC0415

    host.release("one")
    assert host.install("one").returncode == 0
    lines = (host.root / "etc/livedub/media.env").read_text().splitlines()
    named = {line.split("=", 1)[0] for line in lines} - {"AWS_REGION", "AWS_DEFAULT_REGION"}
    assert named <= {
        each.name for settings in (MediaTlsSettings, HostSettings) for each in variables(settings)
    }


def test_the_same_release_again_fetches_nothing(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    fetched = len(host.of("aws"))
    assert host.install("one").returncode == 0
    assert len(host.of("aws")) == fetched == 3


def test_releases_before_the_last_two_go(host: Host):
    for name in ("one", "two", "three"):
        host.release(name)
        done = host.install(name)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (host.root / "opt/livedub-releases").iterdir()} == {"two", "three"}


def test_a_release_that_does_not_get_ready_makes_room_for_the_one_before(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    host.release("two", broken=True)
    done = host.install("two", PATIENCE_S="1")
    assert done.returncode == 1
    assert "release two is not ready within 1 s: one runs again" in done.stderr
    assert host.current == "one"
    assert host.calls[-1].startswith("systemctl restart")
    assert len(host.of("python")) == 5, "consumers are not told of what does not run"


def test_a_first_release_that_does_not_get_ready_is_said(host: Host):
    host.release("one", broken=True)
    done = host.install("one", PATIENCE_S="1")
    assert done.returncode == 1
    assert "release one is not ready within 1 s: journalctl" in done.stderr


def test_nothing_is_installed_after_a_first_boot_that_failed(host: Host):
    host.release("one")
    done = host.install("one", CLOUD_INIT="1")
    assert done.returncode == 1
    assert "the first boot did not end well" in done.stderr
    assert not (host.root / "opt/livedub-releases").exists()
    assert host.install("one", CLOUD_INIT="2").returncode == 0


@pytest.mark.parametrize("folder", ["/mnt/media-data", "/opt/services/media"])
def test_nothing_is_installed_where_a_volume_is_missing(host: Host, folder: str):
    host.release("one")
    done = host.install("one", UNMOUNTED=f"{host.root}{folder}")
    assert done.returncode == 1
    assert f"{folder} is not mounted" in done.stderr
    assert not (host.root / "opt/livedub-releases").exists()


def test_what_was_cut_off_while_it_was_fetched_leaves_nothing(host: Host):
    host.release("one")
    (host.archives / "cache-one.zip").unlink()
    assert host.install("one").returncode != 0
    assert not list((host.root / "opt/livedub-releases").iterdir())
    host.release("one")
    assert host.install("one").returncode == 0
