"""The real engines, loaded once for all tests that need them."""

from collections.abc import Iterator

import pytest

from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings


@pytest.fixture(scope="session")
def real_pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline.from_settings(StsSettings(profile="cpu"))
    pipeline.load()
    yield pipeline
    pipeline.close()
