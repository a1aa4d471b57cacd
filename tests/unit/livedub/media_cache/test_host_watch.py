"""What the hourly visit tells of the media-cache hosts, over real connections."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.host_state import HostState, host_state
from livedub.media_cache.host_watch import host_metrics
from livedub.media_cache.private_ca import PrivateCa

CA = PrivateCa.create()
BUNDLE = CA.pem.decode()


@contextmanager
def host(folder: Path, status: int, body: Any) -> Iterator[str]:
    """A host that answers `/ready` so; its base URL."""
    answer = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Nothing: pytest's output is for tests."""

    material = CA.issue_leaf(["127.0.0.1"], days=20)
    pair = folder / "pair.pem"
    pair.write_bytes(material.fullchain_pem + b"\n" + material.privkey_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=BUNDLE)


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {"status": "ready", "volume_used_percent": 41.5}, HostState(ready=True, used_percent=41.5)),
        (503, {"reasons": ["full"], "volume_used_percent": 100}, HostState(ready=False, used_percent=100.0)),
        (200, {"status": "ready"}, HostState(ready=True, used_percent=None)),
        (200, {"volume_used_percent": True}, HostState(ready=True, used_percent=None)),
        (200, {"volume_used_percent": "many"}, HostState(ready=True, used_percent=None)),
        (200, [1], HostState(ready=True, used_percent=None)),
        (502, b"<html>", HostState(ready=False, used_percent=None)),
    ],
)
def test_a_host_says_how_it_is(
    tmp_path: Path, trusting: ssl.SSLContext, status: int, body: Any, state: HostState
):
    with host(tmp_path, status, body) as base_url:
        assert host_state(base_url, trusting) == state


def test_nobody_answers_or_nobody_trusted_is_not_ready(tmp_path: Path, trusting: ssl.SSLContext):
    with host(tmp_path, 200, {"status": "ready"}) as base_url:
        assert not host_state(base_url, ssl.create_default_context()).ready
    assert host_state(base_url, trusting) == HostState(ready=False, used_percent=None)


def metrics_of(monkeypatch: pytest.MonkeyPatch, base_url: str, bundle: str = BUNDLE) -> dict[str, float]:
    monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", base_url)
    monkeypatch.setenv("TTS_MEDIA_CACHE_CA_BUNDLE", bundle)
    found = host_metrics(MediaCacheSettings(), datetime.now(timezone.utc))
    return {name: value for name, _, value in found}


def test_of_several_hosts_the_worst_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    with (
        host(one, 200, {"status": "ready", "volume_used_percent": 12}) as well,
        host(other, 503, {"reasons": ["x"], "volume_used_percent": 97}) as full,
    ):
        told = metrics_of(monkeypatch, f"{well},{full}")
    assert told["CertificateDaysLeft"] == pytest.approx(20, abs=0.1)
    assert (told["CacheHostsNotReady"], told["CacheVolumeUsedPercent"]) == (1, 97)


def test_a_host_that_is_gone_is_told_as_not_ready_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with host(tmp_path, 200, {}) as gone:
        pass
    assert metrics_of(monkeypatch, gone) == {"CacheHostsNotReady": 1}


def test_a_bundle_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(CaBundleError):
        metrics_of(monkeypatch, "https://127.0.0.1:1", "not a bundle")
