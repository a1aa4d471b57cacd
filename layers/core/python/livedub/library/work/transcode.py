"""Encodes a file by a preset, with the ffmpeg program; the same source and preset give the same bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from av.container import InputContainer

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import AudioEncoding, Container, Job, Preset, VideoEncoding
from livedub.library.work.ffmpeg_run import run_ffmpeg
from livedub.library.work.made_file import MadeFile
from livedub.library.work.media_source import SAFE_SOURCE, known, open_source, pictures, start_us
from livedub.library.work.step_progress import StepProgress

_SUFFIXES = {
    Container.MP4: frozenset({".mp4", ".m4v"}),
    Container.M4A: frozenset({".m4a"}),
    Container.HLS: frozenset({".m3u8"}),
}
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_BITEXACT = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
_BEST_LOSSY = 1
"""0 is lossless, which the High profile, and with it most players, does not know."""
_SMALL_START_US = 1_000_000
_BUFFER_S = 2
"""Of the decoder that a bit rate's bound is meant for."""


def transcode(
    job: Job, preset: Preset, source: Path, progress: StepProgress, settings: LibrarySettings
) -> list[MadeFile]:
    """Write what `preset` says beside `source`; the file of the job's own key comes last.

    Raises:
        LibraryError: what is wrong with the source, INVALID_REQUEST where preset, source and output_key do not go
            together, or why ffmpeg failed.
        MissingPrerequisiteError: there is no ffmpeg.
    """
    key = PurePosixPath(job.output_key)
    if key.suffix.lower() not in _SUFFIXES[preset.container]:
        raise LibraryError(
            LibraryErrorCode.INVALID_REQUEST,
            f"Preset {preset.name!r} writes {preset.container.value}, output_key ends with {key.suffix!r}.",
            f"End output_key with {' or '.join(sorted(_SUFFIXES[preset.container]))}.",
        )
    with open_source(source, job.source_key) as container:
        length_us = container.duration or 0
        streams = _streams(container, preset, job.source_key, settings.ffmpeg_threads)
        clock = _clock(container)
    made = source.parent / "made"
    made.mkdir()
    arguments = [item for name, value in SAFE_SOURCE.items() for item in (f"-{name}", value)]
    # One thread decodes: together with an encoder's threads, several do not always give the same bytes.
    arguments += [*clock, "-threads", "1", "-i", str(source), *streams, "-sn", "-dn", *_BITEXACT]
    arguments += _container_arguments(preset, key)
    run_ffmpeg(settings.ffmpeg, arguments, folder=made, length_us=length_us, progress=progress)
    # A player that finds the playlist finds the parts.
    names = sorted(path.name for path in made.iterdir() if path.name != _own_name(key))
    return [MadeFile(made / name, str(key.with_name(name))) for name in names] + [
        MadeFile(made / _own_name(key), job.output_key)
    ]


def _clock(container: InputContainer) -> list[str]:
    """Keep the file's own time, unless it is one of a stream that had run for long.

    ffmpeg would let its first packet lie at 0, and that may be one that only warms a decoder up.
    """
    return ["-copyts"] if abs(start_us(container)) < _SMALL_START_US else []


def _own_name(key: PurePosixPath) -> str:
    """What the file of the job's key is called here: a key's last part may be longer than a file's name may be."""
    return f"main{key.suffix.lower()}"


def _streams(container: InputContainer, preset: Preset, name: str, threads: int) -> list[str]:
    """Which streams, and how each is encoded."""
    video, audio = pictures(container), known(container.streams.audio)
    if not ((preset.video and video) or (preset.audio and audio)):
        raise _nothing_for(preset, name, "picture or sound")
    if preset.video and not video:
        raise _nothing_for(preset, name, "picture")
    arguments: list[str] = []
    if preset.video:
        arguments += ["-map", f"0:{video[0].index}", *_video_arguments(preset, preset.video, threads)]
    if preset.audio and audio:
        arguments += ["-map", f"0:{audio[0].index}", *_audio_arguments(preset.audio)]
    return arguments


def _nothing_for(preset: Preset, name: str, what: str) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.INVALID_REQUEST,
        f"{name!r} has no {what}, which preset {preset.name!r} encodes.",
        "Choose a preset for what it has, such as audio-only.",
    )


def _video_arguments(preset: Preset, video: VideoEncoding, threads: int) -> list[str]:
    # Even sizes, which 4:2:0 needs, and square pixels, which every player shows right.
    height = f"2*trunc(min(ih\\,{video.max_height})/2)"
    scale = f"scale=w=2*trunc(oh*dar/2+0.5):h={height}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
    # No frame twice: a rate that is only declared must not make more of them.
    arguments = [
        "-fps_mode",
        "vfr",
        "-filter_threads",
        "1",
        "-vf",
        f"yadif=deint=interlaced,{scale},setsar=1,format=yuv420p",
    ]
    arguments += ["-c:v", "libx264", "-preset", video.speed, "-profile:v", "high"]
    arguments += ["-crf", str(max(_BEST_LOSSY, video.quality)), "-maxrate", f"{video.max_bitrate_kbps}k"]
    arguments += ["-bufsize", f"{_BUFFER_S * video.max_bitrate_kbps}k", "-threads", str(threads)]
    if preset.container is Container.HLS:
        arguments += ["-force_key_frames", f"expr:gte(t,n_forced*{preset.hls_part_s})"]
    return arguments


def _audio_arguments(audio: AudioEncoding) -> list[str]:
    return [
        *("-c:a", audio.codec, "-b:a", f"{audio.bitrate_kbps}k"),
        *("-ar", str(audio.sample_rate_hz), "-ac", str(audio.channels)),
    ]


def _container_arguments(preset: Preset, key: PurePosixPath) -> list[str]:
    if preset.container is not Container.HLS:
        format_name = "ipod" if preset.container is Container.M4A else "mp4"
        return ["-movflags", "+faststart", "-f", format_name, _own_name(key)]
    stem = part_stem(key)
    return [
        *("-f", "hls", "-hls_time", str(preset.hls_part_s), "-hls_playlist_type", "vod"),
        *("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", f"{stem}-init.mp4"),
        *("-hls_segment_filename", f"{stem}-%05d.m4s", "-hls_flags", "independent_segments"),
        _own_name(key),
    ]


def part_stem(key: PurePosixPath) -> str:
    """What the names of a playlist's parts begin with: the playlist's own name, if that can stand in a URL as it is.

    Two playlists in one folder never share parts.
    """
    if _SAFE_NAME.fullmatch(key.stem):
        return key.stem
    return hashlib.sha256(key.name.encode()).hexdigest()[:16]
