"""`livedub hosts logs` as a process, with a played journalctl, against the local AWS's CloudWatch Logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.rig import BOUND_S, REGION, ROOT, Aws, eventually, name

JOURNALCTL = """#!{python}
import os, sys, time
folder, parent = {folder!r}, os.getppid()
after = [word.split("=", 1)[1] for word in sys.argv if word.startswith("--after-cursor=")]
with open(folder + "/calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
journal = open(folder + "/journal", "rb")
shown = not after
while os.getppid() == parent:
    line = journal.readline()
    if not line:
        time.sleep(0.02)
    elif shown:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    else:
        shown = after[0].encode() in line
"""
"""Prints what is in a file and then follows it, as the real one does; it ends with whoever started it."""


class Host:
    """One machine: its journal, and the service on it."""

    def __init__(self, folder: Path, aws: Aws) -> None:
        self.folder = folder
        self.aws = aws
        self.id = name("i")
        self.group = f"/livedub/test/{name('hosts')}"
        program = folder / "journalctl"
        program.write_text(JOURNALCTL.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        (folder / "instance-id").write_text(f"{self.id}\n")
        (folder / "journal").touch()
        self._written = 0

    def write(self, *messages: str, unit: str = "livedub-agent.service") -> None:
        """Services say something."""
        with (self.folder / "journal").open("ab") as journal:
            for message in messages:
                now_us = 1_000 * self.now_ms() + self._written
                entry = {
                    "__CURSOR": f"s=1;i={self._written:04x}",
                    "__REALTIME_TIMESTAMP": str(now_us),
                    "_SYSTEMD_UNIT": unit,
                    "MESSAGE": message,
                    "PRIORITY": "6",
                }
                journal.write(json.dumps(entry).encode() + b"\n")
                self._written += 1

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    @contextmanager
    def service(self) -> Iterator[subprocess.Popen[bytes]]:
        """The service while it runs."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'layers/core/python'}",
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "livedub.cli.main"),
                *("hosts", "logs", "/", "--group", self.group, "--service", "worker-host"),
                *("--namespace", "livedub/test", "--state", str(self.folder / "state")),
                *("--host-file", str(self.folder / "instance-id")),
                *("--journalctl", str(self.folder / "journalctl")),
            ],
            env=environment,
            stderr=(self.folder / "said").open("ab"),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == 0, self.said

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def stored(self) -> list[dict[str, Any]]:
        """What is in the stream of this host, oldest first."""
        try:
            found = self.aws.logs.get_log_events(
                logGroupName=self.group, logStreamName=self.id, startFromHead=True, limit=10_000
            )
        except self.aws.logs.exceptions.ResourceNotFoundException:
            return []
        return [json.loads(event["message"]) for event in found["events"]]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.stored() if "message" in line]


@pytest.fixture
def host(tmp_path: Path, aws: Aws) -> Host:
    return Host(tmp_path, aws)


def test_lines_of_every_service_and_how_full_the_host_is_arrive(host: Host, aws: Aws):
    aws.logs.create_log_group(logGroupName=host.group)
    host.write(json.dumps({"level": "error", "message": "late", "stream_id": "stadium"}))
    host.write("publish rtmp://10.0.0.1/live/stadium/out?token=abcdefgh", unit="mediamtx.service")
    with host.service() as process:
        eventually(lambda: len(host.messages()) == 2, "both lines")
        host.write("one more")
        eventually(lambda: len(host.messages()) == 3, "a line that came while it ran")
        host.stop(process)
    stored = host.stored()
    (use,) = [line for line in stored if "_aws" in line]
    assert use["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "livedub/test"
    assert 0 < use["DiskUsedPercent"] <= 100
    assert 0 < use["MemoryUsedPercent"] <= 100
    assert {line["host"] for line in stored} == {host.id}
    late, publish = [line for line in stored if line.get("stream_id") == "stadium"]
    assert (late["level"], late["unit"]) == ("error", "livedub-agent.service")
    assert publish["unit"] == "mediamtx.service"
    assert "abcdefgh" not in json.dumps(stored)


@pytest.mark.slow
def test_a_restart_goes_on_where_it_was_and_a_stop_takes_the_last_words_along(host: Host, aws: Aws):
    aws.logs.create_log_group(logGroupName=host.group)
    with host.service() as process:
        host.write(*(f"line {number}" for number in range(300)))
        eventually(lambda: len(host.messages()) == 300, "all lines")
        host.write("last words")
        host.stop(process)
    host.write("while it was off")
    with host.service() as process:
        eventually(lambda: "while it was off" in host.messages(), "the line that waited")
        host.stop(process)
    expected = [*(f"line {number}" for number in range(300)), "last words", "while it was off"]
    assert host.messages() == expected
    first, second = (host.folder / "calls").read_text().splitlines()
    assert "--since=-24h" in first
    assert "--after-cursor=s=1;i=012c" in second
    assert "--no-tail" in second
    assert "--merge" in second


@pytest.mark.slow
def test_killed_it_loses_nothing_that_it_had_not_delivered(host: Host, aws: Aws):
    host.write("one", "two")
    with host.service():
        # There is no group yet: it can only wait.
        eventually(lambda: "wait in the journal" in host.said, "the failure")
        assert not (host.folder / "state" / "place").exists()
    host.write("three")
    aws.logs.create_log_group(logGroupName=host.group)
    with host.service() as process:
        eventually(lambda: len(host.messages()) == 3, "all three")
        host.stop(process)
    assert host.messages() == ["one", "two", "three"]
