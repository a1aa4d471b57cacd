"""The parts of the worker process that are not about media: progress, watchdog, recording, metrics."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from livedub.sts.breaker import BreakerState
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.flv import FILE_HEADER, pack_audio, read_tags
from media_edge.worker.metrics import WorkerMetrics
from media_edge.worker.progress import ProgressWriter
from media_edge.worker.recording import FlvFile, Recordings
from media_edge.worker.watchdog import Watchdog

BOUND_S = 10.0


def test_progress_is_one_json_object_a_line():
    stream = io.StringIO()
    writer = ProgressWriter(stream)
    writer.write({"event": "state", "state": "live"})
    writer.write({"event": "fragment", "transcript": "¿Qué?"})
    writer.close()
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "state", "state": "live"},
        {"event": "fragment", "transcript": "¿Qué?"},
    ]


def test_a_reader_that_does_not_read_costs_lines_and_no_time():
    read_again = threading.Event()

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            read_again.wait(BOUND_S)
            return super().write(text)

    writer = ProgressWriter(Full())
    began = time.monotonic()
    for index in range(3_000):
        writer.write({"event": "progress", "index": index})
    assert time.monotonic() - began < BOUND_S / 2
    assert writer.dropped >= 3_000 - 1_002
    read_again.set()
    writer.close()


def test_a_reader_that_is_gone_does_not_end_the_worker():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    writer = ProgressWriter(Gone())
    for _ in range(3):
        writer.write({"event": "state"})
    writer.close()


def test_the_watchdog_bites_only_what_stands_still():
    bitten = threading.Event()
    now = [0]
    dog = Watchdog(5_000_000_000, bitten.set, now_ns=lambda: now[0])
    dog.start()
    dog.beat()
    now[0] = 4_000_000_000
    assert not bitten.wait(1.5)
    now[0] = 6_000_000_000
    assert bitten.wait(BOUND_S)
    dog.stop()


def test_a_wedged_process_ends_with_its_code_and_every_stack():
    code = (
        "import time; from functools import partial\n"
        "from media_edge.worker.watchdog import Watchdog, exit_wedged\n"
        "dog = Watchdog(100_000_000, partial(exit_wedged, 6)); dog.start()\n"
        "def stuck_here(): time.sleep(60)\n"
        "stuck_here()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == ExitCode.WEDGED
    assert "stuck_here" in done.stderr


def test_a_recording_is_one_flv_file_even_over_two_workers(tmp_path: Path):
    path = tmp_path / "deep" / "out.flv"
    for stamp in (1, 2):
        file = FlvFile(path)
        file.write(pack_audio(b"a", stamp))
        file.close()
        file.close()
    data = path.read_bytes()
    assert data.count(FILE_HEADER) == 1
    assert [tag.timestamp_ms for tag in read_tags(data)] == [1, 2]


def test_a_full_disk_costs_the_recording_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    file = FlvFile(path)
    for _ in range(2_000):
        file.write(pack_audio(b"a" * 100, 0))
    file.close()
    assert sum("recording" in record.message for record in caplog.records) == 1


def test_a_recording_leaves_others_their_share_of_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    free_mb = 100

    def usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free_mb * 2**20)

    monkeypatch.setattr("media_edge.worker.recording.shutil.disk_usage", usage)
    path = tmp_path / "out.flv"
    file = FlvFile(path, free_bytes=100 * 2**20)
    megabyte = pack_audio(b"a" * 2**20, 0)
    for _ in range(8):
        file.write(megabyte)
    assert not caplog.records
    free_mb = 99
    for _ in range(64):
        file.write(megabyte)
    written = path.stat().st_size
    assert 8 * 2**20 < written < 20 * 2**20, "it ends soon after, not at once"
    (record,) = caplog.records
    assert "ends here, the stream goes on: less than 100 MB of the disk are free" in record.getMessage()
    file.close()
    assert path.stat().st_size == written


def test_a_recording_that_finds_no_room_to_begin_costs_no_stream(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    file = FlvFile(tmp_path / "out.flv")
    file.write(pack_audio(b"a", 0))
    file.close()
    assert "No space left on device" in caplog.text


class Sink:
    """A publisher that takes everything."""

    failure = None
    finished = False
    queued_tags = 0

    def push(self, tags: object) -> None: ...

    def poll(self) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def test_each_language_is_recorded_in_a_file_of_its_own(tmp_path: Path):
    recordings = Recordings(tmp_path / "out.flv")
    for track, stamp in (("", 1), ("fr", 2), ("fr", 3)):
        recordings.recorded(track, Sink()).push([(pack_audio(b"a", stamp), 0)])
    recordings.close()
    stamps = {
        path.name: [tag.timestamp_ms for tag in read_tags(path.read_bytes())] for path in tmp_path.iterdir()
    }
    assert stamps == {"out.flv": [1], "out-fr.flv": [2, 3]}
    sink = Sink()
    assert Recordings(None).recorded("fr", sink) is sink


def test_metrics_of_a_language_that_is_gone_are_gone():
    metrics = WorkerMetrics()
    live = {"state": "live", "sent_media_ms": 7_000}
    metrics.observe_outputs({"out": live, "out-fr": {"state": "backing_off", "sent_media_ms": None}})
    metrics.observe_event({"event": "fragment", "rung": "dub", "languages": {"fr": {"rung": "ducked"}}})
    text = generate_latest(metrics.registry).decode()
    for line in (
        'worker_output_live{output="out"} 1.0',
        'worker_output_live{output="out-fr"} 0.0',
        'worker_output_sent_media_ms{output="out"} 7000.0',
        'worker_language_fragments_total{language="fr",rung="ducked"} 1.0',
    ):
        assert line in text
    metrics.observe_outputs({"out": live})
    assert "out-fr" not in generate_latest(metrics.registry).decode()


def test_metrics_are_served_with_the_names_that_dashboards_use():
    metrics = WorkerMetrics()
    port = metrics.serve("127.0.0.1", 0)
    try:
        metrics.delay.set(8_000)
        metrics.observe_event({"event": "session"})
        metrics.observe_event(
            {"event": "fragment", "rung": "dub", "reason": "aired", "sent_ns": 0, "ready_ns": 1_500_000_000}
        )
        metrics.observe_event({"event": "fragment", "rung": "ducked", "reason": "late"})
        metrics.count_failure("egress")
        metrics.observe_figures(
            {
                "in_flight": 2,
                "av_sync_delta_ms": -0.3,
                "video_buffer_bytes": 10,
                "output_media_ms": None,
                "input_absent_ms": 0,
                "drift_ppm": 1.5,
            },
            BreakerState.OPEN,
            sessions=1,
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND_S) as answer:
            text = answer.read().decode()
    finally:
        metrics.close()
    for line in (
        'worker_audio_fragments_total{rung="dub"} 1.0',
        'worker_audio_fragments_total{rung="ducked"} 1.0',
        'worker_fallback_total{reason="late"} 1.0',
        'worker_gst_bus_errors_total{side="egress"} 1.0',
        'worker_sts_rtt_ms_bucket{le="1500.0"} 1.0',
        "worker_inflight_fragments 2.0",
        "worker_av_sync_delta_ms -0.3",
        "worker_sts_breaker_state 2.0",
        "worker_delay_ms 8000.0",
    ):
        assert line in text


def test_every_exit_code_has_a_terminal_outcome():
    assert {code.outcome for code in ExitCode} == {"drained", "source_lost", "crashed"}
    assert [int(code) for code in ExitCode] == [0, 2, 3, 4, 5, 6, 7, 8]
