"""A volume that runs full, on a small tmpfs."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .media_rig import UploadService, path_of

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
