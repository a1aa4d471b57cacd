"""What pipelines share, on GStreamer itself."""

import time
from collections.abc import Iterator

import pytest

from media_edge.worker.gst.pipeline import ListSource, Pipeline, timed_buffer

BOUND_S = 30.0


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline("appsrc name=lists format=time max-buffers=0 ! fakesink async=false")
    yield pipeline
    pipeline.stop(BOUND_S)


def push(source: ListSource, buffers: int):
    source.push([timed_buffer(b"abc", number) for number in range(buffers)])


def drain(source: ListSource):
    end = time.monotonic() + BOUND_S
    while source.queued_buffers:
        assert time.monotonic() < end, f"{source.queued_buffers} buffers are not taken"
        time.sleep(0.001)


def test_a_list_is_kept_until_it_is_taken(pipeline: Pipeline):
    source = pipeline.list_source("lists")
    for buffers in (1, 3, 2):
        push(source, buffers)
    assert (source.queued_buffers, source.kept_lists) == (6, 3)
    pipeline.play()
    drain(source)
    push(source, 2)
    assert source.kept_lists <= 1
