"""`run --supervised` as a process: ready before it knows its stream, no token in sight, obeys, dies with its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from media_edge.worker.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]
BOUND_S = 60.0
TOKEN = "sEcReT-publish-token"  # noqa: S105 - of this test
NOWHERE = "rtmp://127.0.0.1:1/live/stadium"


@contextmanager
def supervised() -> Generator[subprocess.Popen[str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "STS_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "media_edge.worker", "run", "--supervised"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**clean, "WORKER_SEPARATION": "off", "STS_SERVICE_URL": "http://127.0.0.1:1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=BOUND_S)


def tell(process: subprocess.Popen[str], line: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next line of that kind; pytest's own timeout bounds the wait."""
    assert process.stdout is not None
    for line in process.stdout:
        heard = json.loads(line)
        if heard["event"] == event:
            return heard
    pytest.fail(f"it ended without {event}")


def assign(process: subprocess.Popen[str]) -> None:
    settings = {
        "stream_id": "stadium",
        "generation": 2,
        "input_url": f"{NOWHERE}/in",
        "output_url": f"{NOWHERE}/out?token={TOKEN}",
    }
    tell(process, {"settings": settings, "timeline": None})


def test_it_loads_first_then_obeys_and_hides_the_token():
    with supervised() as process:
        hear(process, "ready")
        assign(process)
        assert hear(process, "state")["state"] == "waiting"
        for name in ("cmdline", "environ"):
            assert TOKEN not in Path(f"/proc/{process.pid}/{name}").read_text()
        tell(process, {"command": "settings", "settings": {"target_language": "de", "dub_gain_db": -6}})
        assert hear(process, "settings")["target_language"] == "de"
        tell(process, {"command": "settings", "settings": {"delay_ms": 3_000}})
        assert "delay_ms" in hear(process, "settings_refused")["problem"]
        tell(process, {"command": "fly"})
        tell(process, {"command": "drain"})
        assert hear(process, "end") == {"event": "end", "exit_code": 0, "outcome": "drained"}
        assert process.wait(BOUND_S) == ExitCode.DRAINED
        assert process.stderr is not None
        log = process.stderr.read()
        assert TOKEN not in log
        assert '"stream_id": "stadium"' in log


def test_it_ends_at_once_when_its_supervisor_does():
    with supervised() as process:
        hear(process, "ready")
        assign(process)
        hear(process, "state")
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(BOUND_S) == ExitCode.KILLED


def test_a_spare_that_is_not_needed_ends_quietly():
    with supervised() as process:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        hear(process, "ready")
        assert process.wait(BOUND_S) == ExitCode.DRAINED


def test_a_first_line_it_cannot_use_is_a_configuration_error():
    with supervised() as process:
        hear(process, "ready")
        tell(process, {"settings": {"stream_id": "stadium"}})
        end = hear(process, "end")
        assert end["exit_code"] == ExitCode.CONFIGURATION
        assert "WORKER_INPUT_URL" in end["problem"]
        assert process.wait(BOUND_S) == ExitCode.CONFIGURATION


def test_a_lease_that_nobody_renews_ends_it():
    with supervised() as process:
        hear(process, "ready")
        assign(process)
        tell(process, {"command": "lease", "valid_ms": 600_000})
        hear(process, "state")
        tell(process, {"command": "lease", "valid_ms": 1})
        assert process.wait(BOUND_S) == ExitCode.KILLED
        assert process.stderr is not None
        assert "has not renewed the lease" in process.stderr.read()
