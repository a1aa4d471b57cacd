import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from media_edge.mediamtx.relay.incoming import (
    Access,
    Hook,
    LocalAccess,
    hook_form,
    mediamtx_auth,
    nginx_form,
)

ID = "3fa0c7f0-7a2c-4f0e-9a53-0d6f6f2f0f11"


def auth(**fields: Any) -> bytes:
    request = {
        "ip": "192.0.2.7",
        "user": "",
        "password": "",
        "token": "",
        "action": "publish",
        "path": "live/demo/in",
        "protocol": "rtmp",
        "id": ID,
        "query": "",
        "userAgent": "",
    }
    return json.dumps({**request, **fields}).encode()


def access(body: bytes) -> Access:
    found = mediamtx_auth(body)
    assert isinstance(found, Access)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "key=k-1"},
        {"query": "a=b&token=k-1&c=d"},
        {"query": "key=k-1", "password": "other"},
        {"password": "k-1", "user": "demo"},
        {"token": "k-1"},
        {"query": "key=", "token": "k-1"},
    ],
)
def test_the_credential_is_found_wherever_the_client_put_it(fields: dict[str, str]):
    found = access(auth(**fields))
    assert found.credential == "k-1"
    assert found == Access("publish", "live/demo/in", "k-1", "192.0.2.7", "rtmp", ID)
    assert "k-1" not in repr(found)


def test_reading_and_playing_back_are_the_same_question():
    assert access(auth(action="read", path="live/demo/out-en")).action == "read"
    assert access(auth(action="playback")).action == "read"


def test_publishing_an_output_needs_the_lease():
    assert access(auth(path="live/demo/out")).is_output
    assert not access(auth()).is_output


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
def test_the_servers_own_pages_are_no_matter_of_paths(action: str):
    assert mediamtx_auth(auth(action=action, path="")) == LocalAccess("192.0.2.7")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 3_000,
        b"\xff",
        auth(action="delete"),
        auth(path="live/demo/elsewhere"),
        auth(path="live/../in"),
        auth(path="live/demo/in\n"),
        auth(path=7),
        auth(query="key=" + "x" * 600),
        auth(query="&".join(f"a{index}=1" for index in range(200))),
        auth(id="a b"),
        auth(user="\ud800"),
    ],
)
def test_a_malformed_auth_request_is_refused(body: bytes):
    with pytest.raises(InvalidInputError):
        mediamtx_auth(body)


def test_a_hook_of_either_generation_tells_the_same():
    body = urlencode(
        {
            "event": "ready",
            "path": "live/demo/in",
            "query": "key=x",
            "source_type": "rtmpConn",
            "source_id": ID,
        }
    ).encode()
    assert hook_form(body) == Hook("publish", "live/demo/in", ID, "rtmpConn")
    assert hook_form(body.replace(b"=ready", b"=not_ready")).event == "unpublish"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"event=ready&path=live/demo/in&source_id=",
        b"event=ready&path=live/demo/in&source_id=a%0Ab",
        b"event=ready&path=../etc&source_id=1",
        b"event=up&path=live/demo/in&source_id=1",
        b"event=ready&path=live/demo/in&source_id=" + b"1" * 200,
        b"\xff\xfe",
        b"&".join(b"a=1" for _ in range(200)),
    ],
)
def test_a_malformed_hook_is_refused(body: bytes):
    with pytest.raises(InvalidInputError):
        hook_form(body)


def nginx(call: str = "publish", name: str = "demo/in", query: str = "", tcurl: str = "", app: str = "live"):
    own = f"app={app}&flashver=FMLE/3.0&swfurl=&tcurl={quote(tcurl)}&pageurl=&addr=192.0.2.7&clientid=14"
    kind = "&type=live" if call == "publish" else ""
    return f"{own}&call={call}&name={name}{kind}{'&' if query else ''}{query}".encode()


def test_what_nginx_sends_is_read():
    """The forms were recorded from nginx 1.22.1 with the RTMP module 1.1.4."""
    found = nginx_form(nginx(query="key=k-1"))
    assert found.call == "publish"
    assert found.access == Access("publish", "live/demo/in", "k-1", "192.0.2.7", "rtmp", "14")
    assert (
        nginx_form(nginx("play", query="start=4294966296&duration=0&reset=0&token=t")).access.action == "read"
    )
    assert nginx_form(nginx("publish_done", query="key=k-1")).call == "publish_done"


def test_a_query_on_the_application_counts_too():
    assert nginx_form(nginx(tcurl="rtmp://h/live?key=k-2")).access.credential == "k-2"


@pytest.mark.parametrize(
    "body",
    [
        nginx(query="key=k&name=other/in"),
        nginx(query="call=publish_done"),
        nginx(query="addr=127.0.0.1"),
        nginx(query="type=append"),
        nginx(name="demo/elsewhere"),
        nginx(name="%2e%2e/in"),
        nginx(app="vod"),
        nginx("record_done"),
        nginx(query="key=" + "x" * 600),
        b"",
        b"call=publish",
        b"\xff",
    ],
)
def test_a_call_that_is_not_nginx_own_is_refused(body: bytes):
    with pytest.raises(InvalidInputError):
        nginx_form(body)


@given(query=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_no_query_of_a_client_changes_what_nginx_said(query: str):
    try:
        found = nginx_form(nginx(query=query))
    except InvalidInputError:
        return
    assert found.call == "publish"
    assert (found.access.path, found.access.remote_address, found.access.connection) == (
        "live/demo/in",
        "192.0.2.7",
        "14",
    )


@pytest.mark.parametrize("read", [mediamtx_auth, hook_form, nginx_form])
@given(body=st.binary(max_size=300))
def test_no_body_does_worse_than_be_refused(read: Callable[[bytes], object], body: bytes):
    with suppress(InvalidInputError):
        read(body)
