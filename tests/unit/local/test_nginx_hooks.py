from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from local.media_servers.nginx_hooks import NginxHooks
from local.ports import free_port


def form(call: str = "publish", name: str = "demo/in", app: str = "live", addr: str = "127.0.0.1"):
    return {"call": call, "name": name, "app": app, "addr": addr}


@pytest.fixture
def hooks(tmp_path: Path):
    return NginxHooks(tmp_path / "hls", trusted=frozenset(), hook_url=None)


def test_publishing_makes_the_folder_of_the_stream_and_no_more(hooks: NginxHooks, tmp_path: Path):
    assert hooks.answer(form()) == HTTPStatus.OK
    assert [path.name for path in (tmp_path / "hls").iterdir()] == ["demo"]


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
    assert hooks.answer({}) == HTTPStatus.FORBIDDEN


class Callback(BaseHTTPRequestHandler):
    status = HTTPStatus.OK
    heard: list[bytes]

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object):  # noqa: A002 - the base class says so
        pass


@pytest.mark.parametrize("status", [HTTPStatus.NO_CONTENT, HTTPStatus.FORBIDDEN])
def test_the_callback_has_the_last_word(tmp_path: Path, status: HTTPStatus):
    heard: list[bytes] = []
    handler = type("Handler", (Callback,), {"status": status, "heard": heard})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        answer = NginxHooks(tmp_path, trusted=frozenset(), hook_url=url).answer(form())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert answer == (HTTPStatus.OK if status == HTTPStatus.NO_CONTENT else HTTPStatus.FORBIDDEN)
    assert heard == [b"call=publish&name=demo%2Fin&app=live&addr=127.0.0.1"]


def test_a_callback_that_does_not_answer_has_not_agreed(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}/"
    hooks = NginxHooks(tmp_path, trusted=frozenset(), hook_url=url)
    assert hooks.answer(form()) == HTTPStatus.FORBIDDEN
