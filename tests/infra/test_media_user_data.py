"""What a media host does at its first boot and at an installation, in a folder, with AWS and systemd played."""

import io
import json
import os
import re
import subprocess
import tarfile
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from local.ports import free_ports
from tests.infra.conftest import ROOT
from tests.infra.offline_build import build_offline
from tests.infra.played_host import KEY, LOGS, LOGS_UNIT, PlayedHost

IP = "10.0.100.30"
MEDIA = ROOT / "media_edge/mediamtx"
IN_WHEEL = "media_edge/mediamtx"


class Host(PlayedHost):
    """A media host."""

    def install(self, release: str, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "RELEASE_ID": release,
            "AWS_REGION": "eu-west-1",
            "PACKAGES_URL": f"s3://assets/packages-{release}.zip",
            "LIVEDUB_URL": f"s3://assets/livedub-{release}.whl",
            "MEDIAMTX_URL": f"s3://assets/mediamtx-{release}.gz",
            "API_NETWORKS": "10.0.0.0/16",
            "API_URL": "https://api.example",
            "MEDIA_BUCKET_IN": "bucket-in",
            "PRIVATE_IP": IP,
            "RECORD": "no",
            "RELAY_ID": "livedub-dev-media",
            "RELAY_KEY_SECRET": "relay-key",
            "PLAYED_KEY": KEY,
            **LOGS,
        }
        return self.run("release_install.sh", "media_install.sh", **{**settings, **variables})

    def release(
        self,
        name: str,
        *,
        program: str = "mediamtx",
        broken: bool = False,
        changed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Put a release's archives where `aws s3 cp` finds them; `changed` stands below files of the wheel."""
        with zipfile.ZipFile(self.archives / f"packages-{name}.zip", "w") as zipped:
            zipped.writestr("httpx/__init__.py", "")
        with zipfile.ZipFile(self.archives / f"livedub-{name}.whl", "w") as zipped:
            for path in MEDIA.iterdir():
                if path.is_file():
                    more = changed.get(path.suffix.removeprefix("."), "")
                    zipped.writestr(f"{IN_WHEEL}/{path.name}", path.read_text() + more)
            zipped.writestr("livedub/release", name)
            zipped.writestr(f"livedub/host_logs/{LOGS_UNIT.name}", LOGS_UNIT.read_text())
            if broken:
                zipped.writestr("broken", "")
        with tarfile.open(self.archives / f"mediamtx-{name}.gz", "w:gz") as tar:
            for member, content in (("LICENSE", "MIT"), ("mediamtx", program), ("mediamtx.yml", "theirs")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def restarted(self) -> list[str]:
        return [call.removeprefix("restart ") for call in self.of("systemctl") if call.startswith("restart ")]


@pytest.fixture
def host(tmp_path: Path) -> PlayedHost:
    return Host.made(tmp_path, "var/lib/livedub-recordings", "usr/local/bin")


# --- the first boot


def boot(host: Host, agent: str, **variables: str) -> subprocess.CompletedProcess[str]:
    host.attach("vol-0aa")
    return host.run(
        "host_first_boot.sh",
        "media.sh",
        AWS_REGION="eu-west-1",
        SSM_AGENT_URL=agent,
        RECORDINGS_VOLUME="vol-0aa",
        BLKID="2",
        **variables,
    )


def test_the_agent_comes_first_and_from_our_bucket(host: Host):
    (host.archives / "agent.deb").touch()
    done = boot(host, "s3://assets/agent.deb")
    assert done.returncode == 0, done.stderr
    programs = [call.split(" ")[0] for call in host.calls]
    assert programs.index("dpkg") < programs.index("blkid") < programs.index("mount")
    assert "enable --now amazon-ssm-agent" in host.of("systemctl")
    assert host.of("mount") == ["/var/lib/livedub-recordings"]
    assert len(host.of("mkfs.ext4")) == 1


def test_an_image_that_has_the_agent_gets_none(host: Host):
    done = boot(host, "")
    assert done.returncode == 0, done.stderr
    assert not host.of("dpkg")
    assert not host.of("aws")
    assert host.of("mount") == ["/var/lib/livedub-recordings"]


def test_without_the_agent_the_boot_fails_where_somebody_sees_it(host: Host):
    assert boot(host, "s3://assets/not-there.deb", PATIENCE_S="1").returncode != 0
    assert not host.of("dpkg")


# --- an installation


def test_an_installation_is_whole(host: Host):
    host.release("one")
    done = host.install("one")
    assert done.returncode == 0, done.stderr
    assert host.current == "one"
    packages = "opt/livedub/.venv/lib/python3.11/site-packages"
    assert host.text(f"{packages}/livedub/release") == "one"
    assert (host.root / packages / "httpx/__init__.py").is_file()
    assert host.text("opt/livedub/.venv/bin/mediamtx") == "mediamtx"
    assert os.access(host.root / "opt/livedub/.venv/bin/mediamtx", os.X_OK)
    for unit in ("mediamtx", "livedub-relay", "livedub-recordings"):
        assert host.text(f"etc/systemd/system/{unit}.service") == (MEDIA / f"{unit}.service").read_text()
    assert host.text("etc/livedub/mediamtx.yml") == (MEDIA / "mediamtx.yml").read_text()
    assert host.of("systemd-sysusers") == [""]
    assert host.restarted == ["livedub-logs", "livedub-relay", "mediamtx", "livedub-recordings"]
    assert host.journal_goes_to == LOGS
    order = [call.split(" ")[0] for call in host.calls if call.startswith(("systemd-sysusers", "curl"))]
    assert order[0] == "systemd-sysusers"
    assert {call.rsplit(" ", 1)[-1] for call in host.of("curl")} == {
        "http://127.0.0.1:9996/health",
        f"http://{IP}:9997/v3/paths/list",
    }


def test_its_settings_are_ones_that_its_programs_know_and_none_is_a_secret(
    host: Host, monkeypatch: pytest.MonkeyPatch
):
    from livedub.settings import variables  # noqa: PLC0415
    from media_edge.mediamtx.relay.settings import RelaySettings  # noqa: PLC0415

    host.release("one")
    assert host.install("one").returncode == 0
    relay = dict(line.split("=", 1) for line in host.text("etc/livedub/relay.env").splitlines())
    assert set(relay) <= {each.name for each in variables(RelaySettings)}
    for name, value in relay.items():
        monkeypatch.setenv(name, value)
    settings = RelaySettings.load()
    assert settings.media.kick_url == f"http://{IP}:9995/v1/kick"
    assert [str(network) for network in settings.api_network_list] == ["10.0.0.0/16"]
    server = dict(line.split("=", 1) for line in host.text("etc/livedub/mediamtx.env").splitlines())
    assert server == {
        "MTX_APIADDRESS": f"{IP}:9997",
        "MTX_METRICSADDRESS": f"{IP}:9998",
        "MTX_PATHDEFAULTS_RECORD": "no",
    }
    assert settings.server_api_url == f"http://{server['MTX_APIADDRESS']}"
    documented = (MEDIA / "mediamtx.yml").read_text()
    for name in ("apiAddress", "metricsAddress", "record"):
        assert re.search(rf"^\s*{name}: ", documented, re.MULTILINE)
    assert KEY not in "".join(path.read_text() for path in (host.root / "etc/livedub").glob("*.env"))


def test_the_key_is_for_root_alone_and_must_be_one(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    key = host.root / "etc/livedub/relay.key"
    assert key.read_text() == f"{KEY}\n"
    assert key.stat().st_mode & 0o777 == 0o600
    assert KEY not in "\n".join(host.calls)
    done = host.install("one", PLAYED_KEY="not hex")
    assert done.returncode == 1
    assert "holds no key in hex" in done.stderr
    assert key.read_text() == f"{KEY}\n"


def test_a_new_key_reaches_the_relay_and_no_stream_ends(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    host.forget()
    other = KEY[::-1]
    assert host.install("one", PLAYED_KEY=f"{other}\n{KEY}").returncode == 0
    assert host.text("etc/livedub/relay.key").split() == [other, KEY]
    assert host.restarted == ["livedub-logs", "livedub-relay", "livedub-recordings"]
    assert len(host.of("aws")) == 1, "the archives are there already"


@pytest.mark.parametrize("suffix", ["py", "yml"])
def test_a_release_with_the_same_server_ends_no_stream(host: Host, suffix: str):
    host.release("one")
    assert host.install("one").returncode == 0
    host.forget()
    host.release("two", changed={suffix: "# another\n"})
    assert host.install("two").returncode == 0
    assert host.current == "two"
    assert "mediamtx" not in host.restarted
    # It reads this file again by itself.
    assert host.text("etc/livedub/mediamtx.yml").endswith("# another\n") is (suffix == "yml")


def test_a_configuration_that_is_the_same_is_not_even_touched(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    path = host.root / "etc/livedub/mediamtx.yml"
    os.utime(path, (1, 1))
    host.release("two", changed={"py": "# another\n"})
    assert host.install("two").returncode == 0
    assert path.stat().st_mtime == 1


def test_another_server_unit_or_address_restarts_it(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    unit = {"service": "# another\n"}
    changes: tuple[tuple[str, Mapping[str, str], dict[str, str]], ...] = (
        ("two", {}, {}),
        ("three", unit, {}),
        ("three", unit, {"PRIVATE_IP": "10.0.100.31"}),
    )
    for release, changed, settings in changes:
        host.forget()
        host.release(release, program="another", changed=changed)
        assert host.install(release, **settings).returncode == 0
        assert "mediamtx" in host.restarted, release


def test_recording_is_switched_on_and_off(host: Host):
    drop_in = host.root / "etc/systemd/system/livedub-relay.service.d/recordings.conf"
    host.release("one")
    assert host.install("one", RECORD="yes").returncode == 0
    assert drop_in.read_text() == (MEDIA / "livedub-relay.recordings.conf").read_text()
    assert "MTX_PATHDEFAULTS_RECORD=yes" in host.text("etc/livedub/mediamtx.env")
    assert host.text("etc/livedub/recordings.env").splitlines() == [
        "AWS_REGION=eu-west-1",
        "S3_BUCKET_IN=bucket-in",
    ]
    assert host.install("one").returncode == 0
    assert not drop_in.exists()


def test_an_image_that_brings_the_server_is_taken_by_its_word(host: Host):
    host.release("one")
    (host.root / "usr/local/bin/mediamtx").write_text("of the image")
    assert host.install("one", MEDIAMTX_URL="").returncode == 0
    assert host.text("opt/livedub/.venv/bin/mediamtx") == "of the image"


def test_releases_before_the_last_two_go(host: Host):
    for name in ("one", "two", "three"):
        host.release(name)
        done = host.install(name)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (host.root / "opt/livedub-releases").iterdir()} == {"two", "three"}


def test_a_release_that_does_not_get_ready_makes_room_for_the_one_before(host: Host):
    host.release("one")
    assert host.install("one").returncode == 0
    host.release("two", broken=True, changed={"yml": "# another\n"})
    done = host.install("two", PATIENCE_S="1")
    assert done.returncode == 1
    assert "release two is not ready within 1 s: one runs again" in done.stderr
    assert host.current == "one"
    assert host.text("etc/livedub/mediamtx.yml") == (MEDIA / "mediamtx.yml").read_text()


def test_a_first_release_that_does_not_get_ready_is_said(host: Host):
    host.release("one", broken=True)
    done = host.install("one", PATIENCE_S="1")
    assert done.returncode == 1
    assert "release one is not ready within 1 s: journalctl" in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CLOUD_INIT": "1"}, "the first boot did not end well"),
        ({"UNMOUNTED": "ROOT/var/lib/livedub-recordings"}, "livedub-recordings is not mounted"),
    ],
)
def test_nothing_is_installed_on_a_machine_that_is_not_whole(
    host: Host, variables: dict[str, str], said: str
):
    host.release("one")
    values = {name: value.replace("ROOT", str(host.root)) for name, value in variables.items()}
    done = host.install("one", **values)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (host.root / "opt/livedub-releases").exists()


def test_what_was_cut_off_while_it_was_fetched_leaves_nothing(host: Host):
    host.release("one")
    (host.archives / "mediamtx-one.gz").unlink()
    assert host.install("one").returncode != 0
    assert not list((host.root / "opt/livedub-releases").iterdir())
    host.release("one")
    assert host.install("one").returncode == 0


# --- what is really installed


def zipped(folder: Path, into: Path) -> None:
    with zipfile.ZipFile(into, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))


@pytest.mark.slow
def test_the_relay_starts_as_its_unit_does_from_what_was_installed(tmp_path: Path):
    build_offline("build_wheel.sh", tmp_path / "wheels")
    build_offline("build_host_packages.sh", tmp_path / "packages", "locks/media-host.txt")
    host = Host.made(tmp_path / "host", "var/lib/livedub-recordings", "usr/local/bin")
    host.release("one")
    zipped(tmp_path / "packages", host.archives / "packages-one.zip")
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    wheel.replace(host.archives / "livedub-one.whl")
    # This machine's own, with a virtual environment that runs.
    (host.folder / "bin/python3.11").unlink()
    address = "127.20.100.30"
    done = host.install("one", PRIVATE_IP=address)
    assert done.returncode == 0, done.stderr

    port, kick_port = free_ports(2)
    settings = dict(line.split("=", 1) for line in host.text("etc/livedub/relay.env").splitlines())
    [command] = re.findall(
        r"^ExecStart=/opt/livedub/(.*)$", (MEDIA / "livedub-relay.service").read_text(), re.MULTILINE
    )
    relay = subprocess.Popen(
        [host.root / "opt/livedub" / command.split()[0], *command.split()[1:]],
        env={
            **settings,
            "RELAY_SIGNING_KEY_FILE": str(host.root / "etc/livedub/relay.key"),
            # Not those of the host: others on this machine may have them.
            "RELAY_PORT": str(port),
            "RELAY_KICK_PORT": str(kick_port),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        },
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert relay.stdout is not None
        assert json.loads(relay.stdout.readline())["event"] == "ready"
        with urllib.request.urlopen(f"http://{address}:{kick_port}/health", timeout=10) as answer:
            assert answer.status == 200
    finally:
        relay.terminate()
        relay.wait(30)
    assert relay.returncode == 0
