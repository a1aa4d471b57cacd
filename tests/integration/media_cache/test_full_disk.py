"""A volume that runs full, on a small tmpfs."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .media_rig import MediaHost, UploadService, auth, path_of

BODY = b"x" * 40_000


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "volume"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no mount program here")
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=30)


def test_a_full_volume_is_507_and_damages_nothing(tmp_path: Path, volume: Path):
    with UploadService(tmp_path, volume, MEDIA_REQUIRE_MOUNT="true", MEDIA_MIN_FREE_BYTES="0") as service:
        statuses = [service.request("PUT", path_of(f"{number}"), BODY).status for number in range(80)]
        assert set(statuses) == {201, 507}
        stored = [number for number, status in enumerate(statuses) if status == 201]
        assert [size(volume, number) for number in stored] == [40_000] * len(stored)
        assert all(size(volume, number) is None for number in range(80) if number not in stored)

        # Replacing needs room for both for a moment; without it the old one stays.
        kept = path_of(str(stored[0]))
        assert service.request("PUT", kept, b"y" * 400_000).status == 507
        assert (volume / kept.removeprefix("/")).read_bytes() == BODY

        ready = service.request("GET", "/ready")
        assert ready.status in (200, 503)
        assert service.request("GET", "/health").status == 200

        # Freeing works without room, and what was freed is used.
        assert service.request("DELETE", path_of(str(stored[1]))).status == 204
        assert service.request("PUT", path_of("again"), BODY).status == 201


@pytest.mark.slow
def test_507_reaches_the_client_and_what_is_there_is_served(tmp_path: Path, volume: Path):
    with MediaHost(tmp_path, data_dir=volume, MEDIA_MIN_FREE_BYTES="0") as host:
        statuses: list[int] = []
        while 507 not in statuses:
            assert len(statuses) < 100
            statuses.append(host.put(path_of(f"{len(statuses)}"), BODY).status)
        assert set(statuses) == {201, 507}
        assert host.put(path_of("0"), b"y" * 1_000_000).status == 507
        assert host.request("GET", path_of("0")).body == BODY
        assert host.request("GET", path_of("0"), headers={"Range": "bytes=0-9"}).status == 206
        assert host.request("DELETE", path_of("1"), headers=auth()).status == 204
        assert host.put(path_of("again"), BODY).status == 201


def test_a_volume_with_too_little_room_is_not_ready(tmp_path: Path, volume: Path):
    with UploadService(tmp_path, volume, MEDIA_MIN_FREE_BYTES="1000000") as service:
        assert service.request("GET", "/ready").status == 200
        for number in range(30):
            service.request("PUT", path_of(f"{number}"), BODY)
    with UploadService(tmp_path, volume, MEDIA_MIN_FREE_BYTES="1000000") as service:
        ready = service.request("GET", "/ready")
        assert (ready.status, b"nearly full" in ready.body) == (503, True)


def size(volume: Path, number: int) -> int | None:
    file = volume / path_of(str(number)).removeprefix("/")
    return file.stat().st_size if file.exists() else None
