"""The flash-and-beep clip: a film whose sound and picture tell where and when they belong.

`python -m local.sync_clip OUT.mp4 [--seconds 60] [--kind standard]` makes one. Picture (boxes in pixels of a
1280x720 picture, other sizes scale them): a black strip across the top; in it FLASH_BOX, white for FLASH_FRAMES
frames at every event, and INDEX_BITS boxes that count the events in binary, least significant bit first, white
for 1. Sound: silence, and a BEEP_HZ beep of BEEP_MS that starts with the flash to the sample. Event k happens at
EVENT_OFFSET_MS + k * EVENT_PERIOD_MS: half a period away from the keyframes, so that a player that joins at a
keyframe sees and hears its first event whole.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from livedub.errors import LivedubError, MissingPrerequisiteError

REFERENCE_WIDTH = 1280
REFERENCE_HEIGHT = 720
STRIP_HEIGHT = 200
FLASH_BOX = (0, 0, 200, 200)
"""x, y, width, height."""
INDEX_BITS = 16
INDEX_FIRST_BOX = (240, 20, 44, 160)
INDEX_BOX_STEP = 60

FRAME_RATE = 30
FLASH_FRAMES = 2
EVENT_PERIOD_MS = 2_000
EVENT_OFFSET_MS = 1_000
BEEP_MS = 100
BEEP_HZ = 1_000
BEEP_AMPLITUDE = 0.6

_ENCODE_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class SyncClip:
    """Parameters of one clip; H.264 at 30 frames a second with a keyframe every 2 s, AAC."""

    seconds: int = 60
    width: int = REFERENCE_WIDTH
    height: int = REFERENCE_HEIGHT
    b_frames: bool = True
    video_kbps: int = 2_500
    audio: bool = True
    sample_rate_hz: int = 48_000
    channels: int = 2


KINDS: dict[str, SyncClip] = {
    "standard": SyncClip(),
    "baseline": SyncClip(b_frames=False),
    "small": SyncClip(width=640, height=360, video_kbps=800, sample_rate_hz=44_100, channels=1),
    "silent": SyncClip(audio=False),
}
"""`small` is what a publisher may return with; `silent` has no audio track at all."""


def sync_clip(kind: str, seconds: int, cache_dir: Path) -> Path:
    """Return the clip of a kind, made on first use."""
    return make_sync_clip(replace(KINDS[kind], seconds=seconds), cache_dir)


def make_sync_clip(clip: SyncClip, cache_dir: Path) -> Path:
    """Return the clip, from `cache_dir` where it has been made before.

    The name carries a hash of the whole recipe, so a changed recipe never meets an old file, and a clip appears
    under its name only when it is complete.

    Raises:
        MissingPrerequisiteError: ffmpeg is not installed.
        LivedubError: ffmpeg failed; carries what it said.
    """
    recipe = _encoder_args(clip)
    key = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]
    path = cache_dir / f"sync-{clip.seconds}s-{key}.mp4"
    if path.exists():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".sync-") as scratch:
        unfinished = Path(scratch) / path.name
        _run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", *recipe, str(unfinished)])
        unfinished.replace(path)
    return path


def event_times_ms(seconds: int) -> list[int]:
    """When the events of a clip happen, from its start."""
    return list(range(EVENT_OFFSET_MS, seconds * 1000, EVENT_PERIOD_MS))


def scaled_box(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """A box of the 1280x720 picture in a picture of another size."""
    x, y, box_width, box_height = box
    return (
        x * width // REFERENCE_WIDTH,
        y * height // REFERENCE_HEIGHT,
        box_width * width // REFERENCE_WIDTH,
        box_height * height // REFERENCE_HEIGHT,
    )


def index_box(bit: int) -> tuple[int, int, int, int]:
    """The box of one bit of the event index in the 1280x720 picture."""
    x, y, width, height = INDEX_FIRST_BOX
    return (x + bit * INDEX_BOX_STEP, y, width, height)


def _encoder_args(clip: SyncClip) -> list[str]:
    source = f"testsrc2=size={clip.width}x{clip.height}:rate={FRAME_RATE}:duration={clip.seconds}"
    return [
        *("-f", "lavfi", "-i", f"{source},{_picture_filter(clip)}"),
        *(_sound_args(clip) if clip.audio else ()),
        *_video_args(clip),
        *(("-c:a", "aac", "-b:a", "128k") if clip.audio else ()),
        *("-t", str(clip.seconds), "-f", "mp4"),
    ]


def _video_args(clip: SyncClip) -> list[str]:
    gop = FRAME_RATE * EVENT_PERIOD_MS // 1000
    # ultrafast switches B-frames, CABAC and the 8x8 transform off; the last two make the profile High again.
    kind = ["-profile:v", "high", "-bf", "2", "-x264-params", "cabac=1:8x8dct=1"]
    if not clip.b_frames:
        kind = ["-profile:v", "baseline", "-bf", "0"]
    return [
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *kind),
        *("-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"),
        *("-b:v", f"{clip.video_kbps}k", "-maxrate", f"{clip.video_kbps}k"),
        *("-bufsize", f"{2 * clip.video_kbps}k"),
    ]


def _picture_filter(clip: SyncClip) -> str:
    period = FRAME_RATE * EVENT_PERIOD_MS // 1000
    offset = FRAME_RATE * EVENT_OFFSET_MS // 1000
    strip = (0, 0, REFERENCE_WIDTH, STRIP_HEIGHT)
    boxes = [_draw(clip, strip, "black")]
    # The index changes half a period before its flash: it is steady while the flash is on.
    boxes += [
        _draw(clip, index_box(bit), "white", rf"gt(bitand(floor(n/{period})\,{1 << bit})\,0)")
        for bit in range(INDEX_BITS)
    ]
    flash = rf"between(mod(n\,{period})\,{offset}\,{offset + FLASH_FRAMES - 1})"
    return ",".join([*boxes, _draw(clip, FLASH_BOX, "white", flash)])


def _draw(clip: SyncClip, box: tuple[int, int, int, int], color: str, enable: str = "") -> str:
    x, y, width, height = scaled_box(box, clip.width, clip.height)
    condition = f":enable='{enable}'" if enable else ""
    return f"drawbox=x={x}:y={y}:w={width}:h={height}:color={color}:t=fill{condition}"


def _sound_args(clip: SyncClip) -> list[str]:
    period_s, offset_s, beep_s = EVENT_PERIOD_MS / 1000, EVENT_OFFSET_MS / 1000, BEEP_MS / 1000
    # The phase counts from the beep's start; one period is added so that it is positive before the first.
    phase = rf"mod(t+{period_s - offset_s}\,{period_s})"
    beep = rf"{BEEP_AMPLITUDE}*sin(2*PI*{BEEP_HZ}*{phase})*lt({phase}\,{beep_s})"
    channels = "|".join([beep] * clip.channels)
    return ["-f", "lavfi", "-i", f"aevalsrc='{channels}':s={clip.sample_rate_hz}:d={clip.seconds}"]


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_ENCODE_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise MissingPrerequisiteError("ffmpeg is not on PATH.", remedy="Run make setup.") from error
    except subprocess.TimeoutExpired as error:
        raise LivedubError(f"ffmpeg did not make the clip within {_ENCODE_TIMEOUT_S} s.") from error
    if done.returncode:
        raise LivedubError(f"ffmpeg could not make the clip: {done.stderr.decode(errors='replace').strip()}")


def main() -> int:
    """Make one clip under a given name."""
    parser = argparse.ArgumentParser(
        prog="python -m local.sync_clip", description="Make a flash-and-beep clip."
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--kind", choices=sorted(KINDS), default="standard")
    arguments = parser.parse_args()
    out: Path = arguments.out
    try:
        sync_clip(arguments.kind, arguments.seconds, out.resolve().parent).replace(out)
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
