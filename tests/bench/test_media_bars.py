"""The bars of the media-cache host; the figures go to build/bench/media_*.json."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from livedub.errors import MissingPrerequisiteError
from tests.bench import (
    bench_media_get,
    bench_media_open_loop,
    bench_media_put,
    bench_media_rotation,
    bench_media_stalled,
)
from tests.bench.bars import kept, meets
from tests.bench.media_bench_rig import go_program

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def go():
    try:
        go_program("media_load")
    except MissingPrerequisiteError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def get() -> dict[str, Any]:
    if not bench_media_get.NGINX.exists():
        pytest.skip("nginx is not installed")
    return kept("media_get", bench_media_get.measure)


@pytest.fixture(scope="module")
def put() -> dict[str, Any]:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    report = kept("media_put", bench_media_put.measure)
    if not report["volumes_of_their_own"]:
        pytest.skip("no volumes can be mounted here, and a shared one says more about its other users")
    return report


@pytest.fixture(scope="module")
def rotation() -> dict[str, Any]:
    return kept("media_rotation", bench_media_rotation.measure)


@pytest.fixture(scope="module")
def stalled() -> dict[str, Any]:
    return kept("media_stalled", bench_media_stalled.measure)


def test_reads_keep_up_with_nginx(get: dict[str, Any]):
    assert get["wrong"] == {}
    meets(get["throughput_over_nginx"] >= 0.65, get["cores_used_by_others"])


def test_a_read_costs_less_than_twice_that_of_nginx(get: dict[str, Any]):
    meets(get["server_cpu_over_nginx"] <= 1.8, get["cores_used_by_others"])


def test_2000_random_reads_a_second_are_answered_in_10_ms():
    report = kept("media_open_loop", bench_media_open_loop.measure)
    assert report["wrong"] == {}
    meets(report["medians"]["p99_ms"] < 10, report["medians"]["cores_used_by_others"])


@pytest.mark.parametrize(("size", "bar"), [("40000", 0.95), ("300000", 0.85), ("1000000", 0.95)])
def test_uploads_keep_up_with_go(put: dict[str, Any], size: str, bar: float):
    figures = put["sizes"][size]
    meets(figures["over_go"] >= bar, figures["cores_used_by_others"])


@pytest.mark.parametrize("size", ["40000", "300000", "1000000"])
def test_a_catalogue_costs_a_fifth_at_most(put: dict[str, Any], size: str):
    figures = put["sizes"][size]
    meets(figures["catalogue_over_none"] >= 0.8, figures["cores_used_by_others"])


@pytest.mark.parametrize("size", ["40000", "300000", "1000000"])
def test_every_upload_is_stored_whole(put: dict[str, Any], size: str):
    assert (put["sizes"][size]["wrong"], put["sizes"][size]["lost"]) == ({}, 0)


def test_nobody_notices_a_rotation(rotation: dict[str, Any]):
    assert rotation["requests"] >= 20_000
    assert (rotation["failed"], rotation["consumer"]["failures"]) == (0, {})


def test_a_new_certificate_is_served_within_a_second(rotation: dict[str, Any]):
    assert max(rotation["served_after_ms"]) <= 1_000


def test_half_a_pair_is_never_served(rotation: dict[str, Any]):
    assert rotation["shown_in_order"]
    assert rotation["untrusted_handshakes"] == {}


def test_stalled_clients_harm_nobody(stalled: dict[str, Any]):
    assert (stalled["wrong"], stalled["objects_missing"], stalled["objects_partial"]) == ({}, 0, 0)
    slowest_ms = max(stalled["p99_ms"]["beside stalled clients"].values())
    meets(slowest_ms < 100, stalled["cores_used_by_others"])


def test_stalled_clients_are_let_go(stalled: dict[str, Any]):
    ended = stalled["stalled"]["ended_by_server"]
    assert {"stalled body: HTTP/1.1 408", "dripping body: HTTP/1.1 408", "silent: cut:EOF"} <= set(ended)
