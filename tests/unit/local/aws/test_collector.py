from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from local.aws import collector
from local.aws.background_work import BackgroundWork


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_loaded_is_left_out_of_collections_which_go_on_after_it():
    collector.pause()
    assert not gc.isenabled()
    background = BackgroundWork(speed=100_000.0)
    try:
        before = gc.get_freeze_count()
        collector.settle(background)
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
        settled = threading.Event()
        background.later(1_000.0, settled.set)
        assert settled.wait(10)
    finally:
        background.close()
