from __future__ import annotations

import pytest

from local.aws.routes import match_route

ROUTES = (
    "$default",
    "ANY /v1/{proxy+}",
    "GET /v1/streams",
    "GET /v1/streams/{stream_id}",
    "POST /v1/streams/{stream_id}/stop",
    "GET /v1/streams/all",
)


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/v1/streams", "GET /v1/streams", {}),
        ("GET", "/v1/streams/", "GET /v1/streams", {}),
        ("GET", "/v1/streams/s1", "GET /v1/streams/{stream_id}", {"stream_id": "s1"}),
        ("GET", "/v1/streams/all", "GET /v1/streams/all", {}),
        ("POST", "/v1/streams/s1/stop", "POST /v1/streams/{stream_id}/stop", {"stream_id": "s1"}),
        ("POST", "/v1/streams/s1/start", "ANY /v1/{proxy+}", {"proxy": "streams/s1/start"}),
        ("GET", "/elsewhere", "$default", {}),
    ],
)
def test_the_most_specific_route_wins(method: str, path: str, key: str, parameters: dict[str, str]):
    assert match_route(ROUTES, method, path) == (key, parameters)


def test_a_method_wins_over_any():
    assert match_route(("ANY /a", "GET /a"), "GET", "/a") == ("GET /a", {})
    assert match_route(("ANY /a", "GET /a"), "PUT", "/a") == ("ANY /a", {})


def test_a_parameter_takes_one_segment_and_dots_are_literal():
    assert match_route(("GET /a/{b}",), "GET", "/a/b/c") is None
    assert match_route(("GET /a.b",), "GET", "/axb") is None


def test_nothing_matches_without_a_default():
    assert match_route(("GET /a",), "POST", "/a") is None
