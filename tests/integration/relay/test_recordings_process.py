"""What MediaMTX left on the disk reaches the library through the process that brings it there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from media_edge.mediamtx.generation_log import GenerationLog

ROOT = Path(__file__).resolve().parents[3]
BOUND_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_recorded_parts_are_uploaded_by_generation(tmp_path: Path):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        storage = LibraryStorage(LibrarySettings.model_validate({"endpoint_url": f"http://{host}:{port}"}))
        storage.ensure_buckets()
        GenerationLog(tmp_path / "generations").note("demo", 5, 1_700_000_000.0)
        parts = tmp_path / "parts/live/demo/out"
        parts.mkdir(parents=True)
        (parts / "1700000001-000000.mp4").write_bytes(b"first")
        (parts / "1700000601-000000.mp4").write_bytes(b"still written")
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}",
            "S3_ENDPOINT_URL": f"http://{host}:{port}",
            "RECORDINGS_FOLDER": str(tmp_path),
            "RECORDINGS_PERIOD_S": "0.2",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "media_edge.mediamtx.recordings"],
            env=env,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        try:
            wanted = ["live/demo/5/out-1700000001-000000.mp4"]
            deadline_s = time.monotonic() + BOUND_S
            while [info.key for info in storage.list_objects(storage.bucket_in)] != wanted:
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(BOUND_S) == 0
        finally:
            process.kill()
            process.wait(BOUND_S)
        assert (parts / "1700000601-000000.mp4").exists()
    finally:
        server.stop()
