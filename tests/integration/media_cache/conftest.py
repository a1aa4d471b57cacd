from collections.abc import Iterator
from pathlib import Path

import pytest

from .media_rig import MediaHost

BODY_DEADLINE_MS = 1_500


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaHost]:
    """One host for the tests of a module; each test uses keys of its own."""
    folder: Path = tmp_path_factory.mktemp("media")
    with MediaHost(folder, MEDIA_BODY_DEADLINE_MS=str(BODY_DEADLINE_MS), MEDIA_METRICS_PORT="0") as running:
        yield running
