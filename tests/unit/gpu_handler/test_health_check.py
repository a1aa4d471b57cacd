"""What the container's health check asks, for each thing the container may have been started for."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from gpu_handler import health_check
from gpu_handler.health_check import is_healthy, serves_http

SERVE = ["python", "-m", "gpu_handler", "serve", ""]
WORKER = ["tini", "--", "python", "-m", "gpu_handler", "runpod", ""]


class Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep test output clean."""


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize(
    ("command", "serving"),
    [
        (SERVE, True),
        (["tini", "--", *SERVE], True),
        (["python", "-m", "gpu_handler", "--log=json", "--log-level", "INFO", "serve"], True),
        (WORKER, False),
        (["python", "-m", "gpu_handler"], False),
        (["python", "-m", "gpu_handler", "models", "serve"], False),
        (["python", "-m", "gpu_handler.health_check"], False),
        (["serve"], False),
    ],
)
def test_the_http_service_is_told_from_everything_else(command: list[str], serving: bool):
    assert serves_http([["bash"], command]) is serving


def test_a_ready_service_is_healthy(port: int):
    assert is_healthy(port, [SERVE])


def test_a_service_that_still_loads_is_not(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Answer, "status", 503)
    assert not is_healthy(port, [SERVE])


def test_a_service_that_does_not_answer_is_not(port: int):
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as unused:
        free = unused.server_port
    assert not is_healthy(free, [SERVE])


def test_the_queue_worker_opens_no_port_and_is_healthy_while_it_runs():
    assert is_healthy(1, [WORKER])


def test_a_wrong_setting_is_unhealthy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_API_PORT", "many")
    assert health_check.main() == 1
