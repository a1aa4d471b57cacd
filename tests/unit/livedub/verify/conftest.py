"""A short programme as it was sent, and tools to make the output a worker would, or a damaged one."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import numpy as np
import pytest

DELAY_MS = 2_000
SECONDS = 8


@dataclass
class Carried:
    """One packet on its way from the input recording to the output's."""

    kind: str
    index: int
    pts_ms: int
    dts_ms: int
    payload: bytes
    keyframe: bool


Carry = Callable[..., Path]
"""`carry(source, change, *, delay_ms, name)`: writes an output recording and returns its path."""


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments], check=True, timeout=60)


def programme_audio(seconds: float = SECONDS, rate_hz: int = 48_000) -> np.ndarray:
    """Noise that never repeats over a bass note: sounds throughout and correlates with itself only at lag 0."""
    count = round(seconds * rate_hz)
    noise = np.random.default_rng(7).standard_normal((count, 2)) * 0.05
    bass = 0.1 * np.sin(2 * np.pi * 110 * np.arange(count) / rate_hz)
    return noise + bass[:, None]


def write_pcm(path: Path, samples: np.ndarray) -> Path:
    path.write_bytes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return path


def with_audio(video: Path, samples: np.ndarray, target: Path, *, kbps: int = 128) -> Path:
    """`video`'s pictures untouched, with other audio that starts at time 0."""
    pcm = write_pcm(target.with_suffix(".pcm"), samples)
    ffmpeg(
        *("-f", "s16le", "-ar", "48000", "-ac", "2", "-i", str(pcm), "-i", str(video)),
        *("-map", "1:v", "-map", "0:a", "-c:v", "copy", "-c:a", "aac", "-b:a", f"{kbps}k", str(target)),
    )
    return target


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s of 320x180 with B-frames and a keyframe a second."""
    target = tmp_path_factory.mktemp("programme") / "pictures.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=30:duration={SECONDS}", "-c:v", "libx264"),
        *("-preset", "veryfast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p", str(target)),
    )
    return target


@pytest.fixture(scope="session")
def programme(pictures: Path) -> Path:
    """The pictures with continuous audio, as a recorder of `in` stores them."""
    return with_audio(pictures, programme_audio(), pictures.with_name("in.flv"))


@pytest.fixture
def carry(tmp_path: Path) -> Carry:
    """Write OUT.flv from IN.flv, D later, each packet through `change` (a packet, or None to lose it)."""

    def run(
        source: Path,
        change: Callable[[Carried], Carried | None] = lambda packet: packet,
        *,
        delay_ms: int = DELAY_MS,
        name: str = "out.flv",
    ) -> Path:
        target = tmp_path / name
        with av.open(str(source)) as reader, av.open(str(target), "w", format="flv") as writer:
            streams = {
                stream.index: writer.add_stream_from_template(stream)
                for stream in (reader.streams.video[0], reader.streams.audio[0])
            }
            for packet, carried in _packets(reader):
                kept = change(carried)
                if kept is None:
                    continue
                changed = av.Packet(kept.payload)
                changed.stream = streams[packet.stream_index]
                changed.time_base = packet.time_base
                changed.pts, changed.dts = kept.pts_ms + delay_ms, kept.dts_ms + delay_ms
                changed.is_keyframe = kept.keyframe
                writer.mux_one(changed)
        return target

    return run


def _packets(reader: av.container.InputContainer) -> Iterator[tuple[av.Packet, Carried]]:
    counts = {"video": 0, "audio": 0}
    for packet in reader.demux(reader.streams.video[0], reader.streams.audio[0]):
        if packet.pts is None or packet.dts is None:
            continue
        kind = packet.stream.type
        yield (
            packet,
            Carried(kind, counts[kind], packet.pts, packet.dts, bytes(packet), packet.is_keyframe),
        )
        counts[kind] += 1
