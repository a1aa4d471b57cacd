import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from local.function_front import MAX_BODY_BYTES, FunctionFront
from local.function_workers import FunctionFailedError

Event = Mapping[str, Any]


def echoed(event: Event) -> bytes:
    return json.dumps(
        {"statusCode": 201, "headers": {"Content-Type": "application/json"}, "body": json.dumps(event)}
    ).encode()


async def echo(event: Event) -> bytes:
    return echoed(event)


async def ask(front: FunctionFront, method: str, url: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://here") as client:
        return await client.request(method, url, **more)


async def test_a_request_reaches_the_function_as_an_event():
    answer = await ask(
        FunctionFront(echo),
        "POST",
        "/api/jobs/%C3%A9?limit=2&limit=3&empty=",
        json={"a": "ü"},
        headers={"X-One": "1"},
    )
    assert answer.status_code == 201
    event = answer.json()
    assert (event["version"], event["rawPath"], event["requestContext"]["http"]["method"]) == (
        "2.0",
        "/api/jobs/é",
        "POST",
    )
    assert event["queryStringParameters"] == {"limit": "2,3", "empty": ""}
    assert event["headers"]["x-one"] == "1"
    assert (json.loads(event["body"]), event["isBase64Encoded"]) == ({"a": "ü"}, False)


async def test_bytes_travel_as_base64():
    event = (await ask(FunctionFront(echo), "PUT", "/", content=b"\xff\x00")).json()
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\xff\x00", True)


async def test_a_body_in_pieces_is_put_together():
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"a": '
        yield b"1}"

    headers = {"content-type": "application/json"}
    event = (await ask(FunctionFront(echo), "POST", "/", content=pieces(), headers=headers)).json()
    assert event["body"] == '{"a": 1}'


async def test_a_body_beyond_the_limit_never_reaches_the_function():
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(MAX_BODY_BYTES // 10)

    async def called(_event: Event) -> bytes:
        raise AssertionError("it was called")

    assert (await ask(FunctionFront(called), "POST", "/", content=pieces())).status_code == 413


async def test_a_head_has_the_headers_of_a_get_and_no_body():
    answer = await ask(FunctionFront(echo), "HEAD", "/")
    assert (answer.status_code, answer.content) == (201, b"")
    assert int(answer.headers["content-length"]) > 2


@pytest.mark.parametrize(
    "answer", [b"no JSON", b'{"statusCode": "odd"}', b'{"statusCode": 200, "headers": {"a": "b\\r\\nc: d"}}']
)
async def test_what_is_no_answer_is_a_500(answer: bytes):
    async def call(_event: Event) -> bytes:
        return answer

    told = await ask(FunctionFront(call), "GET", "/")
    assert (told.status_code, told.json()) == (500, {"message": "Internal Server Error"})


async def test_a_function_that_fails_says_nothing_of_why():
    async def call(_event: Event) -> bytes:
        raise FunctionFailedError("a secret")

    told = await ask(FunctionFront(call), "GET", "/")
    assert (told.status_code, told.json()) == (500, {"message": "Internal Server Error"})


async def test_who_waits_too_long_hears_503():
    async def call(_event: Event) -> bytes:
        await asyncio.Event().wait()
        return b""

    assert (await ask(FunctionFront(call, answer_bound_s=0.01), "GET", "/")).status_code == 503
