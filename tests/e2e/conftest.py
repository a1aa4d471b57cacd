"""A rig per test, clips per machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.sync_clip import sync_clip
from tests.e2e.rig import Rig, clip_cache


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def clip() -> Path:
    """A minute of flashes and beeps, 720p30 with B-frames."""
    return sync_clip("standard", 60, clip_cache())


@pytest.fixture(scope="session")
def small_mono_clip() -> Path:
    """640x360 with 44.1 kHz mono audio."""
    return sync_clip("small", 60, clip_cache())


@pytest.fixture(scope="session")
def mute_clip() -> Path:
    """No audio track."""
    return sync_clip("silent", 60, clip_cache())
