from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

import pytest

from local.media_servers.nginx_hooks import NginxHooks
from local.ports import free_port


def form(
    call: str = "publish", name: str = "demo/in", app: str = "live", addr: str = "127.0.0.1", more: str = ""
) -> bytes:
    return (
        urlencode({"app": app, "addr": addr, "clientid": "7", "call": call, "name": name}).encode()
        + more.encode()
    )


@pytest.fixture
def hooks(tmp_path: Path):
    return NginxHooks(tmp_path / "hls", trusted=frozenset(), hook_url=None)


def test_publishing_makes_the_folder_of_the_stream_and_no_more(hooks: NginxHooks, tmp_path: Path):
    assert hooks.answer(form()) == HTTPStatus.OK
    assert [path.name for path in (tmp_path / "hls").iterdir()] == ["demo"]


def test_a_playlist_of_an_earlier_publisher_is_removed_when_the_next_comes(hooks: NginxHooks, tmp_path: Path):
    folder = tmp_path / "hls" / "demo"
    folder.mkdir(parents=True)
    for name in ("in.m3u8", "in-0.ts", "out.m3u8"):
        (folder / name).touch()
    hooks.answer(form())
    assert sorted(path.name for path in folder.iterdir()) == ["in-0.ts", "out.m3u8"]


@pytest.mark.parametrize(
    "name",
    [
        "../etc/in",
        "demo/../in",
        "demo/in/x",
        "demo",
        "demo/",
        "/demo/in",
        "demo/out-EN",
        "demo/in\n",
        "a b/in",
        "",
    ],
)
def test_a_name_that_is_no_stream_path_is_refused_and_makes_nothing(
    hooks: NginxHooks, tmp_path: Path, name: str
):
    assert hooks.answer(form(name=name)) == HTTPStatus.FORBIDDEN
    assert list(tmp_path.rglob("*")) == []


def test_another_application_is_refused(hooks: NginxHooks):
    assert hooks.answer(form(app="vod")) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("name", "address", "status"),
    [
        ("demo/in", "192.0.2.7", HTTPStatus.OK),
        ("demo/out", "192.0.2.7", HTTPStatus.FORBIDDEN),
        ("demo/out-en", "127.0.0.2", HTTPStatus.OK),
        ("demo/out", "not an address", HTTPStatus.FORBIDDEN),
    ],
)
def test_only_this_machine_publishes_out(hooks: NginxHooks, name: str, address: str, status: HTTPStatus):
    assert hooks.answer(form(name=name, addr=address)) == status


def test_an_empty_form_is_refused(hooks: NginxHooks):
    assert hooks.answer(b"") == HTTPStatus.FORBIDDEN


def test_what_a_client_adds_to_its_query_counts_for_nothing(hooks: NginxHooks):
    foreign = form(name="demo/out", addr="192.0.2.7", more="&addr=127.0.0.1&name=demo/in")
    assert hooks.answer(foreign) == HTTPStatus.FORBIDDEN


class Callback(BaseHTTPRequestHandler):
    heard: list[bytes]
    status: list[HTTPStatus]

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status[0])
        self.end_headers()

    def log_message(self, format: str, *args: object):  # noqa: A002 - the base class says so
        pass


Receiver = tuple[str, list[bytes], list[HTTPStatus]]


@pytest.fixture
def receiver():
    """A hook receiver, or a relay: (url, heard, the status it answers)."""
    heard: list[bytes] = []
    status = [HTTPStatus.NO_CONTENT]
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Callback,), {"heard": heard, "status": status}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard, status
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hook_is_told_when_a_publisher_comes_and_goes(tmp_path: Path, receiver: Receiver):
    url, heard, _ = receiver
    hooks = NginxHooks(tmp_path, trusted=frozenset(), hook_url=url)
    hooks.answer(form(more="&token=x"))
    hooks.answer(form("publish_done"))
    hooks.answer(form(name="demo/out"))
    rest = b"path=live%2Fdemo%2Fin&query=&source_type=rtmpConn&source_id=7"
    assert heard[0] == b"event=ready&" + rest
    assert heard[1].startswith(b"event=not_ready&path=live%2Fdemo%2Fin&")
    assert len(heard) == 2, "the worker's own output is no news"


def test_a_hook_that_does_not_answer_keeps_no_publisher_out(tmp_path: Path):
    hooks = NginxHooks(tmp_path, trusted=frozenset(), hook_url=f"http://127.0.0.1:{free_port()}/")
    assert hooks.answer(form()) == HTTPStatus.OK


@pytest.mark.parametrize("call", ["publish", "play"])
def test_the_relay_decides_where_there_is_one(tmp_path: Path, receiver: Receiver, call: str):
    url, heard, status = receiver
    hooks = NginxHooks(tmp_path, trusted=frozenset({"192.0.2.7"}), hook_url=url, relay_url=url)
    body = form(call, name="demo/out", addr="192.0.2.7", more="&token=x&call=publish_done")
    status[0] = HTTPStatus.FORBIDDEN
    assert hooks.answer(body) == HTTPStatus.FORBIDDEN
    assert list(tmp_path.iterdir()) == []
    status[0] = HTTPStatus.OK
    assert hooks.answer(body) == HTTPStatus.OK
    assert heard == [body, body], "as nginx made it, and nothing besides"
    assert [path.name for path in tmp_path.iterdir()] == (["demo"] if call == "publish" else [])


def test_a_relay_that_does_not_answer_lets_nobody_in(tmp_path: Path):
    hooks = NginxHooks(
        tmp_path, trusted=frozenset(), hook_url=None, relay_url=f"http://127.0.0.1:{free_port()}"
    )
    assert hooks.answer(form()) == HTTPStatus.FORBIDDEN


def test_without_a_relay_everybody_may_play(hooks: NginxHooks):
    assert hooks.answer(form("play", addr="192.0.2.7", name="demo/out")) == HTTPStatus.OK
