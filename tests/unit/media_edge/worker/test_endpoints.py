from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError
from media_edge.worker.endpoints import parse_endpoint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtmp://host/live/s/in", ("rtmp", "host", 1935, "live", "s/in")),
        (
            "rtmp://127.0.0.1:19350/live/s/out?token=a&x=1",
            ("rtmp", "127.0.0.1", 19350, "live", "s/out?token=a&x=1"),
        ),
        ("rtmps://host/app/key", ("rtmps", "host", 443, "app", "key")),
        ("rtsp://[::1]:8554/live/s/in", ("rtsp", "::1", 8554, "live", "s/in")),
    ],
)
def test_an_address_splits_after_the_application(url: str, expected: tuple[str, str, int, str, str]):
    endpoint = parse_endpoint("X", url, ("rtmp", "rtmps", "rtsp"))
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.app, endpoint.playpath) == expected


def test_shown_without_its_query():
    endpoint = parse_endpoint("X", "rtmp://host/live/s/out?token=secret", ("rtmp",))
    assert str(endpoint) == "rtmp://host:1935/live/s/out"


@pytest.mark.parametrize(
    "url", ["", "host/live/s", "rtmp:///live/s", "rtmp://host/live", "rtmp://host:99999/live/s"]
)
def test_what_is_no_stream_address_is_refused_without_its_query(url: str):
    with pytest.raises(ConfigurationError) as caught:
        parse_endpoint("WORKER_OUTPUT_URL", url + "?token=secret", ("rtmp",))
    assert "WORKER_OUTPUT_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_another_languages_output_is_its_neighbour_with_the_same_query():
    endpoint = parse_endpoint("X", "rtmp://host/live/s/out?token=a&x=1", ("rtmp",))
    beside = endpoint.beside("-fr")
    assert (beside.app, beside.playpath) == ("live", "s/out-fr?token=a&x=1")
    assert beside.url == "rtmp://host/live/s/out-fr?token=a&x=1"
    assert str(beside) == "rtmp://host:1935/live/s/out-fr"
