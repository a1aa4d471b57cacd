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
    assert hooks.answer({}) == HTTPStatus.FORBIDDEN


class Callback(BaseHTTPRequestHandler):
    heard: list[bytes]

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, format: str, *args: object):  # noqa: A002 - the base class says so
        pass


@pytest.fixture
def receiver():
    """A hook receiver: (url, heard)."""
    heard: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Callback,), {"heard": heard}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hook_is_told_when_a_publisher_comes_and_goes(tmp_path: Path, receiver: tuple[str, list[bytes]]):
    url, heard = receiver
    hooks = NginxHooks(tmp_path, trusted=frozenset(), hook_url=url)
    hooks.answer({**form(), "clientid": "7", "args": "token=x"})
    hooks.answer(form("publish_done"))
    hooks.answer(form(name="demo/out"))
    rest = b"path=live%2Fdemo%2Fin&query=token%3Dx&source_type=rtmpConn&source_id=7"
    assert heard[0] == b"event=ready&" + rest
    assert heard[1].startswith(b"event=not_ready&path=live%2Fdemo%2Fin&")
    assert len(heard) == 2, "the worker's own output is no news"


def test_a_hook_that_does_not_answer_keeps_no_publisher_out(tmp_path: Path):
    hooks = NginxHooks(tmp_path, trusted=frozenset(), hook_url=f"http://127.0.0.1:{free_port()}/")
    assert hooks.answer(form()) == HTTPStatus.OK
