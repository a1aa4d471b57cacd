"""mediamtx.yml against the keys that the pinned version documents (names only, in tests/golden/mediamtx)."""

import json
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from livedub.errors import ConfigurationError
from local.media_servers.base import MediaServerOptions, StreamPath
from local.media_servers.mediamtx import (
    MINIMUM_VERSION,
    PINNED_VERSION,
    MediaMtx,
    online_paths,
    parse_version,
    render_config,
)
from local.processes import Supervisor
from media_edge.mediamtx import hook
from media_edge.mediamtx.relay.settings import RelaySettings

ROOT = Path(__file__).parents[3]
CONFIG = (ROOT / "media_edge/mediamtx/mediamtx.yml").read_text()
GOLDEN = json.loads((ROOT / "tests/golden/mediamtx/keys.json").read_text())

Triple = tuple[str, list[HTTPStatus], list[bytes]]
Run = Callable[..., int]

NESTED_IN_USERS = {"user", "pass", "ips", "permissions", "action", "path"}


def keys(text: str) -> tuple[set[str], set[str]]:
    """(global keys, keys of paths) of a configuration in the plain style that ours keeps to."""
    top: set[str] = set()
    path: set[str] = set()
    section = ""
    for line in text.splitlines():
        match = re.match(r"( *)(?:- )?([A-Za-z][A-Za-z0-9]*):", line)
        if not match:
            continue
        if not match[1]:
            section = match[2]
            top.add(section)
        elif section in ("paths", "pathDefaults"):
            path.add(match[2])
        else:
            assert section == "authInternalUsers", f"unexpected nesting in {section}"
            assert match[2] in NESTED_IN_USERS
    return top - {"paths", "pathDefaults"}, path


def test_the_golden_list_is_of_the_pinned_version():
    assert parse_version(GOLDEN["version"]) == PINNED_VERSION
    assert parse_version(GOLDEN["minimum_version"]) == MINIMUM_VERSION


def test_every_key_is_documented_by_the_pinned_version():
    top, path = keys(CONFIG)
    assert top <= set(GOLDEN["global"])
    assert path <= set(GOLDEN["path"])
    assert {"runOnAvailable", "runOnUnavailable", "runOnOnline", "runOnOffline"} <= path


def test_an_older_version_gets_the_hooks_by_their_older_names():
    older = render_config(CONFIG, (1, 19, 2))
    top, path = keys(older)
    assert top == keys(CONFIG)[0]
    hooks = {key for key in path if key.startswith("runOn")}
    assert hooks == {"runOnReady", "runOnNotReady"} <= set(GOLDEN["deprecated_path"])
    assert "runOnReady: python3 $LIVEDUB_MEDIAMTX_HOOK ready\n" in older
    assert "runOnNotReady: python3 $LIVEDUB_MEDIAMTX_HOOK not_ready\n" in older
    assert render_config(CONFIG, (1, 19, 3)) == CONFIG


def test_the_relay_decides_about_everything_and_everybody():
    assert "\nauthMethod: http\nauthHTTPAddress: http://127.0.0.1:9996/auth\nauthHTTPExclude: []\n" in CONFIG
    assert RelaySettings.model_fields["port"].default == 9996
    assert RelaySettings.model_fields["host"].default == "127.0.0.1"


def server_environment(tmp_path: Path, **options: str) -> dict[str, str]:
    given = MediaServerOptions(tmp_path, rtmp_port=1935, http_port=8888, **options)  # pyright: ignore[reportArgumentType]
    return MediaMtx(given, Supervisor(tmp_path))._environment()


def test_a_server_is_told_of_its_relay(tmp_path: Path):
    environment = server_environment(tmp_path, relay_url="http://127.0.0.1:1", hook_url="http://127.0.0.1:2/")
    assert environment["MTX_AUTHHTTPADDRESS"] == "http://127.0.0.1:1/auth"
    assert environment["LIVEDUB_HOOK_URL"] == "http://127.0.0.1:1/hook"
    assert "MTX_AUTHMETHOD" not in environment


def test_a_server_without_a_relay_decides_by_itself(tmp_path: Path):
    environment = server_environment(tmp_path, hook_url="http://127.0.0.1:2/")
    assert environment["MTX_AUTHMETHOD"] == "internal"
    assert environment["LIVEDUB_HOOK_URL"] == "http://127.0.0.1:2/"


def test_control_and_metrics_listen_on_the_loopback_at_their_ports():
    assert "\napiAddress: 127.0.0.1:9997\n" in CONFIG
    assert "\nmetricsAddress: 127.0.0.1:9998\n" in CONFIG


def section_of(pattern: str) -> str:
    start = CONFIG.index(f"  '{pattern}':\n", CONFIG.index("\npaths:\n"))
    rest = CONFIG[start:].split("\n", 1)[1]
    return rest.split("\n  '", 1)[0]


IN = "~^live/[A-Za-z0-9_-]{1,64}/in$"
OUT = "~^live/[A-Za-z0-9_-]{1,64}/out(-[a-z]{2,3})?$"


def test_only_in_has_hooks():
    assert "runOn" in section_of(IN)
    assert "runOn" not in section_of(OUT)


@pytest.mark.parametrize(
    ("path", "matching"),
    [
        ("live/demo/in", IN),
        ("live/a_B-9/out", OUT),
        ("live/demo/out-en", OUT),
        ("live/demo/out-spa", OUT),
        ("live/demo/out-EN", None),
        ("live/demo/in/x", None),
        ("live/de mo/in", None),
        ("live/../in", None),
        ("other/demo/in", None),
        (f"live/{'a' * 65}/in", None),
    ],
)
def test_the_paths_are_those_of_the_naming_scheme(path: str, matching: str | None):
    assert [pattern for pattern in (IN, OUT) if re.search(pattern[1:], path)] == (
        [matching] if matching else []
    )


@pytest.mark.parametrize("text", ["v1.18.2", "1.9.3", "something else", ""])
def test_a_version_too_old_is_named_with_the_remedy(text: str):
    with pytest.raises(ConfigurationError, match=r"Install v1\.20\.1"):
        parse_version(text)


def test_the_published_paths_are_read_from_either_generation_of_the_api():
    items = [
        {"name": "live/b/in", "online": True, "ready": True},
        {"name": "live/a/out", "ready": True},
        {"name": "live/c/in", "online": False, "ready": True},
        {"name": "elsewhere/c/in", "online": True},
        {"name": "live/c/unknown", "online": True},
    ]
    assert online_paths(items) == [StreamPath("a", "out"), StreamPath("b", "in")]


class Receiver(BaseHTTPRequestHandler):
    answers: list[HTTPStatus]
    heard: list[bytes]

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.answers.pop(0))
        self.end_headers()

    def log_message(self, format: str, *args: object):  # noqa: A002 - the base class says so
        pass


@pytest.fixture
def receiver():
    """(url, answers to give, forms heard)."""
    answers: list[HTTPStatus] = []
    heard: list[bytes] = []
    handler = type("Handler", (Receiver,), {"answers": answers, "heard": heard})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hooks/mediamtx", answers, heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_hook(monkeypatch: pytest.MonkeyPatch, receiver: Triple):
    def run(*arguments: str) -> int:
        monkeypatch.setattr(hook, "_PAUSE_S", 0.0)
        monkeypatch.setattr(sys, "argv", ["hook.py", *arguments])
        monkeypatch.setenv("LIVEDUB_HOOK_URL", receiver[0])
        monkeypatch.setenv("MTX_PATH", "live/demo/in")
        monkeypatch.setenv("MTX_SOURCE_ID", "42")
        return hook.main()

    return run


def test_the_hook_posts_what_mediamtx_told_it(run_hook: Run, receiver: Triple):
    receiver[1].append(HTTPStatus.NO_CONTENT)
    assert run_hook("ready") == 0
    assert receiver[2] == [b"event=ready&path=live%2Fdemo%2Fin&query=&source_type=&source_id=42"]


def test_the_hook_tries_again_and_then_says_what_was_lost(
    run_hook: Run, receiver: Triple, capsys: pytest.CaptureFixture[str]
):
    receiver[1].extend([HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.OK])
    assert run_hook("not_ready") == 0
    receiver[1].extend([HTTPStatus.SERVICE_UNAVAILABLE] * 3)
    assert run_hook("not_ready") == 1
    assert "hook not_ready of live/demo/in was lost: it answered 503" in capsys.readouterr().err
    assert len(receiver[2]) == 5


def test_the_hook_refuses_an_event_it_does_not_know(run_hook: Run, receiver: Triple):
    assert run_hook("published") == 2
    assert receiver[2] == []
