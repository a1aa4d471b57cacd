"""What a stream leaves behind reaches the library, also when the agent was killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from livedub.supervision import desire
from tests.integration.agent.control_plane import STREAM, AgentProcess, ControlPlane, eventually

StartAgent = Callable[..., AgentProcess]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class LibraryApi(ThreadingHTTPServer):
    """Notes which prefixes it is to scan, and refuses them while it is down."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Scan)
        self.scans: list[tuple[str, str | None, str]] = []
        self.down = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Scan(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, LibraryApi)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.down:
            self.server.scans.append((self.path, self.headers["Authorization"], body["prefix"]))
        self.send_response(503 if self.server.down else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - theirs
        pass


@contextmanager
def serving() -> Iterator[LibraryApi]:
    api = LibraryApi()
    thread = threading.Thread(target=api.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.shutdown()
        api.server_close()
        thread.join(30)


@pytest.fixture
def library_api() -> Iterator[LibraryApi]:
    with serving() as api:
        yield api


@pytest.fixture
def storage(plane: ControlPlane) -> LibraryStorage:
    storage = LibraryStorage(LibrarySettings.model_validate({"endpoint_url": plane.endpoint}))
    storage.ensure_buckets()
    return storage


def keys(storage: LibraryStorage) -> list[str]:
    return [info.key for info in storage.list_objects(storage.bucket_in)]


def test_what_a_stream_leaves_is_in_the_library_when_the_agent_has_ended(
    plane: ControlPlane,
    start_agent: StartAgent,
    storage: LibraryStorage,
    library_api: LibraryApi,
    tmp_path: Path,
):
    settings = {
        "AGENT_LIBRARY_SPOOL": str(tmp_path / "spool"),
        "AGENT_LIBRARY_RECORDS": "true",
        "S3_ENDPOINT_URL": plane.endpoint,
        "LIBRARY_API_URL": library_api.url,
        "LIBRARY_API_TOKEN": "library-token",
    }
    agent = start_agent("first", **settings)
    execution = plane.publish()
    (assigned,) = agent.assigned()
    assert not [value for value in assigned["settings"].values() if "library-token" in str(value)]
    plane.store.update(STREAM, lambda row: desire.drain(row, 0) if row else None)
    eventually(lambda: plane.report(execution))
    wanted = [f"live/{STREAM}/1/en.vtt", f"live/{STREAM}/1/out.flv"]
    eventually(lambda: keys(storage) == wanted)
    eventually(lambda: library_api.scans)
    assert library_api.scans == [("/api/assets/scan", "Bearer library-token", f"live/{STREAM}/1/")]
    eventually(lambda: not list((tmp_path / "spool").iterdir()))
    agent.process.terminate()
    assert agent.process.wait(40) == 0


def test_a_killed_agents_leavings_are_uploaded_by_the_next(
    plane: ControlPlane,
    start_agent: StartAgent,
    storage: LibraryStorage,
    library_api: LibraryApi,
    tmp_path: Path,
):
    settings = {
        "AGENT_LIBRARY_SPOOL": str(tmp_path / "spool"),
        "S3_ENDPOINT_URL": plane.endpoint,
        "LIBRARY_API_URL": library_api.url,
    }
    killed = start_agent("killed", **settings)
    plane.publish()
    killed.assigned()
    left = tmp_path / "spool" / STREAM / "1" / STREAM / "en.vtt"
    eventually(left.is_file)
    killed.process.kill()
    killed.process.wait(40)
    assert left.is_file()
    assert keys(storage) == []
    start_agent("next", **settings)
    eventually(lambda: keys(storage) == [f"live/{STREAM}/1/en.vtt"])
    eventually(lambda: library_api.scans)
    eventually(lambda: not left.exists())


def test_a_host_that_is_drained_ends_when_what_streams_left_has_arrived(
    plane: ControlPlane, start_agent: StartAgent, tmp_path: Path
):
    settings = {
        "AGENT_LIBRARY_SPOOL": str(tmp_path / "spool"),
        "AGENT_DRAIN_TIMEOUT_S": "60",
        "S3_ENDPOINT_URL": plane.endpoint,
    }
    agent = start_agent("drained", **settings)
    plane.publish()
    agent.assigned()
    agent.process.terminate()
    # There are no buckets yet.
    eventually(lambda: agent.log_text().count("stays here until the next try") >= 2)
    assert agent.process.poll() is None
    storage = LibraryStorage(LibrarySettings.model_validate({"endpoint_url": plane.endpoint}))
    storage.ensure_buckets()
    assert agent.process.wait(40) == 0
    assert keys(storage) == [f"live/{STREAM}/1/en.vtt"]
    assert not list((tmp_path / "spool").iterdir())


def test_a_full_disk_costs_what_would_be_kept_and_no_stream(
    plane: ControlPlane, start_agent: StartAgent, tmp_path: Path
):
    agent = start_agent(
        "full",
        AGENT_LIBRARY_SPOOL=str(tmp_path / "spool"),
        AGENT_LIBRARY_FREE_MB="9999999",
        S3_ENDPOINT_URL=plane.endpoint,
    )
    plane.publish()
    (assigned,) = agent.assigned()
    assert "subtitles_dir" not in assigned["settings"]
    assert "Nothing of this generation is kept for the library: the disk of" in agent.log_text()
    plane.store.update(STREAM, lambda row: desire.drain(row, 0) if row else None)
    agent.process.terminate()
    assert agent.process.wait(40) == 0
