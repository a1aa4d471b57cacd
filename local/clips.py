"""ffmpeg on files: an input made fit for publishing, a recording made fit for watching."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from livedub.errors import InvalidInputError
from local.processes import ProcessError, ProcessSpec, Supervisor

_PROBE_TIMEOUT_S = 30.0
_COPY_TIMEOUT_S = 300.0
_ENCODE_TIMEOUT_S = 3_600.0

_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "60")
_TEST_PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30")
_FFMPEG = ("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y")


async def prepare_input(supervisor: Supervisor, source: Path, target: Path, *, seconds: int) -> None:
    """Write the first `seconds` of `source` as an MP4 that can be published by copying.

    RTMP carries H.264 and AAC; what is neither is encoded. A file without video gets a test picture.

    Raises:
        InvalidInputError: no file ffprobe can read, or no audio track in it.
        ProcessError: ffmpeg failed.
    """
    if not await asyncio.to_thread(source.is_file):
        raise InvalidInputError(f"--input {source} does not exist.", remedy="Give a media file.")
    streams = await _probe(supervisor, source)
    audio = next((stream for stream in streams if stream["codec_type"] == "audio"), None)
    video = next((stream for stream in streams if stream["codec_type"] == "video"), None)
    if audio is None:
        raise InvalidInputError(
            f"{source} has no audio track.", remedy="Give a file in which somebody speaks."
        )
    argv = [
        *(*_FFMPEG, "-i", str(source)),
        *(() if video is not None else _TEST_PICTURE),
        *("-t", str(seconds), "-map", "0:a:0", *_audio_codec(audio)),
        *(
            ("-map", "0:v:0", *_video_codec(video))
            if video is not None
            else ("-map", "1:v", *_H264, "-shortest")
        ),
    ]
    await _run(supervisor, "prepare-input", [*argv, str(target)], _ENCODE_TIMEOUT_S)


async def to_mp4(supervisor: Supervisor, recording: Path, target: Path) -> None:
    """Repack a recording for players, packets untouched; its clock starts at 0.

    Raises:
        ProcessError: ffmpeg failed.
    """
    argv = [*_FFMPEG, "-i", str(recording), "-map", "0", "-c", "copy", "-movflags", "+faststart", str(target)]
    await _run(supervisor, f"mp4-{target.stem}", argv, _COPY_TIMEOUT_S)


def _audio_codec(stream: dict[str, Any]) -> list[str]:
    return ["-c:a", "copy"] if stream["codec_name"] == "aac" else ["-c:a", "aac", "-b:a", "160k", "-ac", "2"]


def _video_codec(stream: dict[str, Any]) -> list[str]:
    if stream["codec_name"] == "h264" and stream.get("pix_fmt") in ("yuv420p", "yuvj420p"):
        return ["-c:v", "copy"]
    return [*_H264]


async def _probe(supervisor: Supervisor, source: Path) -> list[dict[str, Any]]:
    lines: list[str] = []
    argv = ("ffprobe", "-v", "error", "-show_streams", "-of", "json", str(source))
    child = await supervisor.start(ProcessSpec("ffprobe", argv), on_stdout=lines.append)
    try:
        code = await asyncio.wait_for(child.wait(), _PROBE_TIMEOUT_S)
    finally:
        await supervisor.stop(child)
    if code:
        raise InvalidInputError(f"{source} is no media file: {child.describe_end()}")
    return json.loads("\n".join(lines)).get("streams", [])


async def _run(supervisor: Supervisor, name: str, argv: list[str], timeout_s: float) -> None:
    child = await supervisor.start(ProcessSpec(name, argv))
    try:
        code = await asyncio.wait_for(child.wait(), timeout_s)
    except TimeoutError as error:
        raise ProcessError(f"{name} did not end within {timeout_s:.0f} s.") from error
    finally:
        await supervisor.stop(child)
    if code:
        raise ProcessError(child.describe_end())
