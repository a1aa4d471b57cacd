"""Clips whose every frame and sample can be told apart, and stand-ins for storage and executor."""

import shutil
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from livedub.library.library_errors import MissingKeyError
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job, JobKind, JobParameters, JobState, Preset
from livedub.library.work.run import run_job

WIDTH, HEIGHT, BLOCK = 192, 96, 16
BITS = WIDTH // BLOCK
RATE_HZ = 48_000


def picture_of(number: int) -> np.ndarray:
    """A frame that carries its number: a black or white bar for each bit, on a background that moves."""
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[..., 1] = (np.arange(WIDTH)[None, :] * 3 + np.arange(HEIGHT)[:, None] * 2 + number * 5) % 256
    for bit in range(BITS):
        picture[: HEIGHT // 2, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return picture


def number_in(picture: np.ndarray) -> int:
    bars = picture[8 : HEIGHT // 2 - 8, :, :].mean(axis=(0, 2)).reshape(BITS, BLOCK)[:, 4:-4].mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(bars) if level > 128)


def sound(samples: int) -> np.ndarray:
    """Stereo noise below 4 kHz: it survives AAC, and every position of it is like no other."""
    white = np.random.default_rng(6).standard_normal((samples + 64, 2))
    kernel = np.sinc(np.arange(-32, 33) * 8_000 / RATE_HZ) * np.hanning(65)
    smooth = np.stack([np.convolve(white[:, c], kernel, mode="valid") for c in range(2)], axis=1)
    return (0.25 * smooth / smooth.std()).clip(-1, 1).astype(np.float32)


def make_clip(
    path: Path,
    *,
    seconds: float = 6.0,
    rate: Fraction | int = 25,
    video: str | None = "libx264",
    audio: str | None = "aac",
    gop: int = 30,
    options: dict[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """Write a clip; by default H.264 with B frames and a key frame every 30 frames, and AAC."""
    frames = round(seconds * rate)
    pcm = sound(round(seconds * RATE_HZ))
    with av.open(str(path), "w", format=container_format) as output:
        pictures: Any = None
        if video:
            pictures = output.add_stream(
                video, rate=rate, options=options or {"preset": "ultrafast", "bf": "2", "sc_threshold": "0"}
            )
            pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            pictures.gop_size = gop
            pictures.codec_context.thread_count = 1
        speech: Any = output.add_stream(audio, rate=RATE_HZ, layout="stereo") if audio else None
        position = 0
        for number in range(frames):
            if pictures is not None:
                frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24")
                frame.pts = number
                frame.time_base = 1 / Fraction(rate)
                output.mux(pictures.encode(frame))
            end = min(len(pcm), round((number + 1) / rate * RATE_HZ))
            if speech is not None:
                output.mux(speech.encode(audio_frame(pcm[position:end], position)))
            position = end
        for stream in (pictures, speech):
            if stream is not None:
                output.mux(stream.encode(None))
    return path


def audio_frame(samples: np.ndarray, position: int) -> av.AudioFrame:
    planar = np.ascontiguousarray(samples.T)
    frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, position, Fraction(1, RATE_HZ)
    return frame


def numbers_of(path: Path) -> list[int]:
    """The numbers of a file's frames, in the order in which they are shown."""
    with av.open(str(path)) as container:
        return [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def samples_of(path: Path) -> np.ndarray:
    """(n, 2) samples as a player hears them."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE_HZ)
        blocks = [
            converted.to_ndarray()
            for frame in container.decode(audio=0)
            for converted in resampler.resample(frame)
        ]
        blocks += [converted.to_ndarray() for converted in resampler.resample(None)]
    return np.concatenate(blocks, axis=1).T


class FolderStorage:
    """Buckets as folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.deleted: list[str] = []

    def path(self, bucket: str, key: str) -> Path:
        return self.root / bucket / key

    def put(self, key: str, source: Path, bucket: str = "mpr-media-in") -> None:
        self.path(bucket, key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, self.path(bucket, key))

    def download_file(
        self, bucket: str, key: str, path: Path, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        source = self.path(bucket, key)
        if not source.exists():
            raise MissingKeyError(bucket, key)
        shutil.copyfile(source, path)
        if on_progress:
            on_progress(source.stat().st_size, source.stat().st_size)

    def upload_file(
        self,
        path: Path,
        bucket: str,
        key: str,
        content_type: str = "",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        size = path.stat().st_size
        if on_progress:
            on_progress(size // 2, size)
        self.put(key, path, bucket)
        if on_progress:
            on_progress(size, size)

    def delete_object(self, bucket: str, key: str) -> None:
        self.deleted.append(key)
        self.path(bucket, key).unlink(missing_ok=True)

    def keys(self, bucket: str = "mpr-media-out") -> list[str]:
        root = self.root / bucket
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Watched:
    """A JobProgress that keeps what it hears, and cancels when `cancel_at` says so."""

    def __init__(self, cancel_at: Callable[[], bool] = lambda: False) -> None:
        self.fractions: list[float] = []
        self._cancel_at = cancel_at

    def report(self, fraction: float) -> None:
        self.fractions.append(fraction)

    def cancelled(self) -> bool:
        return self._cancel_at()


def job_of(
    parameters: JobParameters, kind: JobKind, source: str, output: str, preset: Preset | None = None
) -> Job:
    now = datetime.now(timezone.utc)
    return Job(
        id=uuid.UUID(int=6),
        kind=kind,
        state=JobState.PROCESSING,
        source_key=source,
        output_key=output,
        preset=preset,
        parameters=parameters,
        attempt=1,
        created_at=now,
        updated_at=now,
    )


def settings_for(tmp_path: Path, **more: object) -> LibrarySettings:
    return LibrarySettings.model_validate({"work_dir": tmp_path / "work", **more})


def run(job: Job, storage: FolderStorage, tmp_path: Path, progress: Watched | None = None, **more: object):
    return run_job(job, storage, progress or Watched(), settings_for(tmp_path, **more))
