"""Rigs and clips of the worker's integration tests."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.sync_clip import sync_clip
from tests.integration.worker.rig import WorkerRig, worker_rig

CLIP_SECONDS = 60


def clip_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "livedub" / "clips"


@pytest.fixture(scope="session")
def clip() -> Path:
    return sync_clip("standard", CLIP_SECONDS, clip_cache())


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[WorkerRig]:
    async with worker_rig(tmp_path) as running:
        yield running
