"""The systemd units of a media-cache host say what the code and the other unit rely on."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import media_edge.cache
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.private_ca import LEAF_DAYS
from media_edge.cache.upload_settings import UploadSettings

FOLDER = Path(media_edge.cache.__file__).parent
UNITS = ["livedub-media-upload.service", "livedub-media-caddy.service"]
CLEANUP = "livedub-media-cleanup.service"


def directives(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (FOLDER / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def environment(unit: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for value in directives(unit)["Environment"] for entry in value.split())


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_room_for_a_thousand_clients(unit: str):
    assert int(directives(unit)["LimitNOFILE"][0]) >= 20_000


@pytest.mark.parametrize("unit", [*UNITS, CLEANUP])
def test_a_unit_needs_its_volume_and_can_do_no_more_than_it_must(unit: str):
    found = directives(unit)
    assert found["AssertPathIsMountPoint"] == ["/mnt/media-data"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["CapabilityBoundingSet"] == [""]


def test_each_runs_as_a_user_of_its_own_and_two_share_a_group():
    upload, caddy, cleanup = (directives(unit) for unit in (*UNITS, CLEANUP))
    assert len({unit["User"][0] for unit in (upload, caddy, cleanup)}) == 3
    assert upload["Group"] == caddy["SupplementaryGroups"] == ["livedub-media"]
    assert "Group" not in cleanup
    users = (FOLDER / "livedub-media.sysusers.conf").read_text()
    assert all(f"u {unit['User'][0]} " in users for unit in (upload, caddy, cleanup))


def test_both_mean_the_same_socket_and_folder():
    upload, caddy = (environment(unit) for unit in UNITS)
    assert (
        upload["MEDIA_SOCKET"] == caddy["MEDIA_SOCKET"] == str(UploadSettings.model_fields["socket"].default)
    )
    assert upload["MEDIA_DATA_DIR"] == caddy["MEDIA_DATA_DIR"]
    assert upload["MEDIA_REQUIRE_MOUNT"] == "true"


def test_uploads_may_end_before_the_service_is_killed():
    drain_s = UploadSettings.model_fields["drain_timeout_s"].default
    assert int(directives(UNITS[0])["TimeoutStopSec"][0]) > drain_s


def test_a_clean_up_comes_every_hour_and_may_end_by_itself():
    timer = directives("livedub-media-cleanup.timer")
    assert timer["OnCalendar"] == ["hourly"]
    assert timer["Persistent"] == ["true"]
    budget_s = MediaCleanupSettings.model_fields["budget_s"].default
    assert int(directives(CLEANUP)["TimeoutStartSec"][0]) > budget_s


@pytest.mark.parametrize("bundle", ["", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"])
def test_a_clean_up_trusts_what_consumers_trust_now(tmp_path: Path, bundle: str):
    (start,) = directives(CLEANUP)["ExecStart"]
    # systemd.exec(5) makes $ of $$; the interpreter at its place is one that shows what it was given.
    shell = shlex.split(start.replace("$$", "$"))
    shown = tmp_path / "python"
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$*" "$TTS_MEDIA_CACHE_CA_BUNDLE"\n')
    shown.chmod(0o755)
    (tmp_path / "ca-for-clients.pem").write_text(bundle or "\n")
    said = subprocess.run(
        [*shell[:2], shell[2].replace("/opt/livedub/.venv/bin/python", str(shown))],
        env={
            "CREDENTIALS_DIRECTORY": str(tmp_path),
            "MEDIA_DATA_DIR": "/mnt/media-data",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    command, _, given = said.partition("\n")
    assert command == "-m livedub.cli.main media cleanup --json --sweep --data-dir /mnt/media-data"
    assert given.strip() == bundle.strip()
    credentials = directives(CLEANUP)
    assert credentials["LoadCredential"] == ["ca-for-clients.pem:/opt/services/media/tls/ca-for-clients.pem"]
    assert credentials["SetCredential"] == ["ca-for-clients.pem:\\n"]


def test_a_certificate_is_renewed_well_before_its_end_and_only_where_consumers_need_not_know():
    assert directives("livedub-media-renew.timer")["OnCalendar"] == ["weekly"]
    assert LEAF_DAYS >= 3 * 7
    found = directives("livedub-media-renew.service")
    assert found["ExecCondition"] == ["""/bin/sh -c '[ "$$MEDIA_TLS_PRIVATE_CA" = true ]'"""]
    assert found["ExecStart"][0].endswith("media rotate --renew --unless-given")
    own, caddy = environment("livedub-media-renew.service"), environment("livedub-media-caddy.service")
    for name in ("MEDIA_TLS_CERT_HOST_PATH", "MEDIA_CADDY_ADMIN_SOCKET"):
        assert own[name] == caddy[name]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_every_line(tmp_path: Path):
    copies: list[Path] = []
    for unit in [*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")]:
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(re.sub(r"/opt/livedub/\.venv/bin/\w+", "/bin/true", unit.read_text()))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, copies)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stderr
    assert [line for line in said.splitlines() if "livedub-media" in line] == []
