import pytest

from livedub.library.job_route import Route, route_of
from livedub.library.library_settings import LibrarySettings
from livedub.library.presets import BUILT_IN
from livedub.library.types import DubParameters, DubTarget, JobKind, TranscodeParameters
from tests.unit.livedub.library.memory_jobs import job

TRIM = job()
DUB = job(kind=JobKind.DUB, parameters=DubParameters(targets=(DubTarget(language="en"),)))
TRANSCODE = job(
    kind=JobKind.TRANSCODE, parameters=TranscodeParameters(preset="audio-only"), preset=BUILT_IN["audio-only"]
)
LIMIT = 1_000


def settings(**changes: object) -> LibrarySettings:
    return LibrarySettings.model_validate({"function_max_bytes": LIMIT, "fan_out_min_s": 600, **changes})


@pytest.mark.parametrize(
    ("size_bytes", "route"),
    [(0, Route.FUNCTION), (LIMIT, Route.FUNCTION), (LIMIT + 1, Route.HOST), (None, Route.FUNCTION)],
)
def test_a_small_file_is_trimmed_in_a_function(size_bytes: int | None, route: Route):
    assert route_of(TRIM, size_bytes=size_bytes, duration_ms=None, settings=settings()) is route


def test_a_transcode_needs_ffmpeg_in_the_function():
    for has_ffmpeg, route in ((True, Route.FUNCTION), (False, Route.HOST)):
        with_it = settings(function_has_ffmpeg=has_ffmpeg)
        assert route_of(TRANSCODE, size_bytes=1, duration_ms=None, settings=with_it) is route


def test_no_function_is_asked_where_none_may_be():
    for one in (TRIM, TRANSCODE):
        none = settings(function_max_bytes=0, function_has_ffmpeg=True)
        assert route_of(one, size_bytes=0, duration_ms=None, settings=none) is Route.HOST


@pytest.mark.parametrize(
    ("duration_ms", "route"), [(None, Route.HOST), (599_999, Route.HOST), (600_000, Route.FAN_OUT)]
)
def test_a_long_dub_is_divided(duration_ms: int | None, route: Route):
    assert route_of(DUB, size_bytes=1, duration_ms=duration_ms, settings=settings()) is route


def test_no_dub_is_divided_where_none_may_be():
    one_host = settings(fan_out_min_s=0)
    assert route_of(DUB, size_bytes=1, duration_ms=10**9, settings=one_host) is Route.HOST
