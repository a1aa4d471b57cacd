"""The systemd units of a media-cache host say what the code and the other unit rely on."""

from pathlib import Path

import pytest

import media_edge.cache
from media_edge.cache.upload_settings import UploadSettings

FOLDER = Path(media_edge.cache.__file__).parent
UNITS = ["livedub-media-upload.service", "livedub-media-caddy.service"]


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
def test_a_unit_needs_its_volume_and_has_room_for_a_thousand_clients(unit: str):
    found = directives(unit)
    assert found["AssertPathIsMountPoint"] == ["/mnt/media-data"]
    assert int(found["LimitNOFILE"][0]) >= 20_000
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["CapabilityBoundingSet"] == [""]


def test_the_two_run_as_two_users_that_share_a_group():
    upload, caddy = (directives(unit) for unit in UNITS)
    assert upload["User"] != caddy["User"]
    assert upload["Group"] == caddy["SupplementaryGroups"] == ["livedub-media"]
    users = (FOLDER / "livedub-media.sysusers.conf").read_text()
    assert all(f"u {unit['User'][0]} " in users for unit in (upload, caddy))


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
