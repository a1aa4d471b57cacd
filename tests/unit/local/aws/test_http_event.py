from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from local.aws.http_event import (
    HttpRequest,
    MalformedAnswerError,
    Matched,
    function_answer,
    request_event,
)

MATCHED = Matched("POST /v1/{name}", "api1", {"name": "x"})


def event_of(**changes: Any) -> dict[str, Any]:
    request = HttpRequest(
        **{
            "method": "POST",
            "path": "/v1/x",
            "headers": [("Content-Type", "application/json"), ("Host", "localhost:1")],
            **changes,
        }
    )
    return request_event(request, MATCHED)


def test_a_request_becomes_a_payload_2_event():
    event = event_of(query="a=1&a=2&b=", body=b'{"k": 1}')
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /v1/{name}"
    assert event["rawPath"] == "/v1/x"
    assert event["rawQueryString"] == "a=1&a=2&b="
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["pathParameters"] == {"name": "x"}
    assert event["headers"]["content-type"] == "application/json"
    assert event["body"] == '{"k": 1}'
    assert event["isBase64Encoded"] is False
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["stage"] == "$default"


def test_what_is_empty_is_absent():
    event = request_event(HttpRequest("GET", "/"), Matched("$default", "api1"))
    assert not {"body", "cookies", "pathParameters", "queryStringParameters"} & event.keys()


def test_repeated_headers_are_joined_and_cookies_stand_apart():
    event = event_of(headers=[("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1; b=2")])
    assert event["headers"]["x-a"] == "1,2"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"\x00\xff"),
        ("application/x-www-form-urlencoded", b"a=1"),
        ("application/json", b"\xff\xfe"),
        ("", b"text without a type"),
    ],
)
def test_a_body_that_is_no_text_travels_as_base64(content_type: str, body: bytes):
    event = event_of(headers=[("Content-Type", content_type)], body=body)
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


def test_an_answer_with_a_status_is_taken_at_its_word():
    answer = function_answer(
        json.dumps(
            {
                "statusCode": 201,
                "headers": {"X-A": 1, "Content-Type": "text/html"},
                "cookies": ["a=1", "b=2"],
                "body": "<p>",
            }
        ).encode()
    )
    assert (answer.status, answer.body) == (201, b"<p>")
    assert ("X-A", "1") in answer.headers
    assert [value for name, value in answer.headers if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_a_binary_answer_is_decoded():
    body = base64.b64encode(b"\x00\x01").decode()
    answer = function_answer(json.dumps({"statusCode": 200, "body": body, "isBase64Encoded": True}).encode())
    assert answer.body == b"\x00\x01"


@pytest.mark.parametrize("payload", [b'{"a": 1}', b'"text"', b"[1]", b"null"])
def test_an_answer_without_a_status_is_the_body_of_a_200(payload: bytes):
    answer = function_answer(payload)
    assert (answer.status, answer.body) == (200, payload)
    assert answer.headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "headers": {"X-A": "a\r\nSet-Cookie: b"}},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    ],
)
def test_an_answer_that_is_no_response_is_refused(result: object):
    with pytest.raises(MalformedAnswerError):
        function_answer(json.dumps(result).encode())


def test_an_answer_that_is_no_json_is_refused():
    with pytest.raises(MalformedAnswerError):
        function_answer(b"not json")
