"""What the work of library jobs costs: `python tests/bench/bench_library_work.py [--seconds N] [--out FILE]`.

How long a cancelled encoding lives, what an exact cut keeps and costs beside encoding everything, and how much faster
than playing the presets encode. The source is 720p with a picture that moves everywhere. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import av

from livedub.library.library_settings import LibrarySettings
from livedub.library.presets import BUILT_IN
from livedub.library.types import Job, JobKind, JobParameters, JobState, TranscodeParameters, TrimParameters
from livedub.library.work.run import run_job
from livedub.library.work.work_ports import JobCancelledError
from tests.bench.machine_load import Bystanders, machine
from tests.unit.livedub.library.work.work_rig import FolderStorage

SECONDS = 60
CANCELS = 5
_RATE = 30
_SOURCE = "source.mp4"
_CANCEL_AT = 0.15
"""Of the job's progress: ffmpeg is well under way."""


class Canceller:
    """A JobProgress that cancels once the job has come so far, and remembers when."""

    def __init__(self, at: float = 2.0) -> None:
        self._at = at
        self.asked_s = 0.0

    def report(self, fraction: float) -> None:
        """Hear it."""
        if fraction >= self._at and not self.asked_s:
            self.asked_s = time.perf_counter()

    def cancelled(self) -> bool:
        """Whether it has come so far."""
        return bool(self.asked_s)


def measure(seconds: int = SECONDS) -> dict[str, Any]:
    """Make the source and do the jobs."""
    others = Bystanders()
    with tempfile.TemporaryDirectory(prefix="livedub-bench-") as name:
        folder = Path(name)
        storage = FolderStorage(folder)
        storage.put(_SOURCE, _clip(folder / _SOURCE, seconds))
        settings = LibrarySettings.model_validate({"work_dir": folder / "work"})
        result = {
            "machine": machine(),
            "seconds": seconds,
            "cancel_ms": _cancels(storage, settings),
            "left_behind": len(storage.keys()) + len(list((folder / "work").iterdir())),
            "exact_trim": _exact(storage, settings, seconds),
            "transcode": _presets(storage, settings, seconds),
        }
    return {**result, "cores_others_used": others.cores}


def _clip(path: Path, seconds: int) -> Path:
    picture = f"testsrc2=size=1280x720:rate={_RATE}:duration={seconds}"
    sound = f"anoisesrc=color=pink:sample_rate=48000:duration={seconds}:seed=6"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-c:a", "aac", "-ac", "2", str(path)]
    subprocess.run(command, check=True, timeout=600)
    return path


def _job(kind: JobKind, parameters: JobParameters, output: str) -> Job:
    now = datetime.now(timezone.utc)
    preset = BUILT_IN[parameters.preset] if isinstance(parameters, TranscodeParameters) else None
    return Job(
        id=UUID(int=6),
        kind=kind,
        state=JobState.PROCESSING,
        source_key=_SOURCE,
        output_key=output,
        preset=preset,
        parameters=parameters,
        attempt=1,
        created_at=now,
        updated_at=now,
    )


def _cancels(storage: FolderStorage, settings: LibrarySettings) -> dict[str, float]:
    """From the word to the end of the job, its folder gone."""
    job = _job(JobKind.TRANSCODE, TranscodeParameters(preset="web-1080p"), "cancelled.mp4")
    taken_ms: list[float] = []
    for _ in range(CANCELS):
        canceller = Canceller(_CANCEL_AT)
        try:
            run_job(job, storage, canceller, settings)
        except JobCancelledError:
            taken_ms.append((time.perf_counter() - canceller.asked_s) * 1_000)
    return {"runs": len(taken_ms), "median": statistics.median(taken_ms), "worst": max(taken_ms)}


def _exact(storage: FolderStorage, settings: LibrarySettings, seconds: int) -> dict[str, Any]:
    start_ms, end_ms = 1_234, seconds * 1_000 - 4_321
    parameters = TrimParameters(start_ms=start_ms, end_ms=end_ms, exact=True)
    started_s = time.perf_counter()
    run_job(_job(JobKind.TRIM, parameters, "exact.mp4"), storage, Canceller(), settings)
    taken_s = time.perf_counter() - started_s
    source, made = (
        storage.path(bucket, key)
        for bucket, key in (("mpr-media-in", _SOURCE), ("mpr-media-out", "exact.mp4"))
    )
    kept = _packets(source) & (packets := _packets(made))
    return {
        "span_ms": [start_ms, end_ms],
        "seconds_taken": round(taken_s, 2),
        "frames": _frames(made),
        "frames_expected": sum(1 for at in range(seconds * _RATE) if start_ms <= at * 1_000 / _RATE < end_ms),
        "samples": _samples(made),
        "samples_expected": (end_ms - start_ms) * 48,
        "packets_copied_percent": round(100 * len(kept) / len(packets), 1),
    }


def _packets(path: Path) -> set[bytes]:
    with av.open(str(path)) as container:
        return {bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size}


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def _samples(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def _presets(storage: FolderStorage, settings: LibrarySettings, seconds: int) -> dict[str, float]:
    """Seconds of film for each second of work."""
    speeds: dict[str, float] = {}
    for name, output in (("web-720p", "a.mp4"), ("audio-only", "a.m4a"), ("hls", "hls/a.m3u8")):
        started_s = time.perf_counter()
        job = _job(JobKind.TRANSCODE, TranscodeParameters(preset=name), output)
        run_job(job, storage, Canceller(), settings)
        speeds[name] = round(seconds / (time.perf_counter() - started_s), 2)
    return speeds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.seconds), indent=2)
    print(text)  # noqa: T201 - its product
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
