import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from livedub.errors import InvalidInputError
from livedub.supervision.signing import SignatureRejectedError, verify
from local.aws.invoke import logical_id, read_event, with_credentials

KEY, TOKEN = "ab" * 32, "token"


def http_event(path: str, body: str | None = "{}", method: str = "POST", **more: Any) -> dict[str, Any]:
    return {"rawPath": path, "requestContext": {"http": {"method": method}}, "body": body, **more}


def signed(event: dict[str, Any]) -> dict[str, Any]:
    return with_credentials(event, relay_key=f"{KEY}\n{'cd' * 32}", api_token=TOKEN)


def test_a_hook_is_signed_as_the_relay_would_with_the_first_key():
    event = signed(http_event("/v1/hooks/publish", '{"path":"live/é/in"}', headers={"Host": "x"}))
    now_ms = time.time_ns() // 1_000_000
    body = '{"path":"live/é/in"}'.encode()
    verify(bytes.fromhex(KEY), event["headers"], body, method="POST", path="/v1/hooks/publish", now_ms=now_ms)
    assert event["headers"]["host"] == "x"
    with pytest.raises(SignatureRejectedError):
        verify(
            bytes.fromhex("cd" * 32),
            event["headers"],
            body,
            method="POST",
            path="/v1/hooks/publish",
            now_ms=now_ms,
        )


def test_an_encoded_body_is_signed_as_it_was_sent():
    raw = b"\x00\xff{}"
    event = signed(
        http_event("/v1/media/paths", base64.b64encode(raw).decode(), isBase64Encoded=True, headers=None)
    )
    now_ms = time.time_ns() // 1_000_000
    verify(bytes.fromhex(KEY), event["headers"], raw, method="POST", path="/v1/media/paths", now_ms=now_ms)


def test_a_request_to_the_stream_api_gets_the_token():
    event = signed(
        http_event("/v1/streams/demo", None, method="GET", headers={"Authorization": "Bearer old"})
    )
    assert event["headers"] == {"authorization": "Bearer token"}


def test_what_is_no_request_cannot_be_signed():
    with pytest.raises(InvalidInputError, match=r"no HTTP request.*Leave --sign out"):
        signed({"stream_id": "demo"})


def test_functions_are_found_by_the_name_of_their_construct():
    template = {
        "Resources": {
            "OnPublishA75ABC12": {
                "Type": "AWS::Lambda::Function",
                "Metadata": {"aws:cdk:path": "stack/OnPublish/Resource"},
            },
            "Table": {"Type": "AWS::DynamoDB::Table", "Metadata": {"aws:cdk:path": "stack/Table/Resource"}},
        }
    }
    assert logical_id(template, "OnPublish") == "OnPublishA75ABC12"
    for wrong in ("on_publish", "Table", "OnPublishA75ABC12"):
        with pytest.raises(InvalidInputError, match=r"not in the template.*Take one of OnPublish"):
            logical_id(template, wrong)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), ("{", "is no JSON"), ("[]", "is a JSON list"), ('"x"', "is a JSON str")],
)
def test_an_event_that_cannot_be_used_is_explained(tmp_path: Path, content: str | None, words: str):
    path = tmp_path / "event.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError, match=words):
        read_event(path)


def test_an_event_that_lambda_would_not_take_is_refused(tmp_path: Path):
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"body": "x" * 6 * 1024 * 1024}))
    with pytest.raises(InvalidInputError, match="Lambda takes 6291456"):
        read_event(path)
