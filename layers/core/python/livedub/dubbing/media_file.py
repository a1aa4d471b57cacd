"""Dubs a media file: video and subtitles are copied, the first audio track goes through the dubbing session.

Each language becomes an audio track of its own, in the order of the session's tracks.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its packets open.

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples
from livedub.audio.resample import slew
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.virtual import OfflineSession, VirtualClock, dub_tracks
from livedub.errors import InvalidInputError
from livedub.timeline.alignment import SampleAligner
from livedub.timeline.clock import NS_PER_S

Progress = Callable[[float, float], None]
"""Seconds dubbed so far, seconds in total."""

_AUDIO_CODEC = {
    ".flac": "flac",
    ".mp3": "libmp3lame",
    ".oga": "libopus",
    ".ogg": "libopus",
    ".opus": "libopus",
    ".wav": "pcm_s16le",
    ".webm": "libopus",
}
_AUDIO_ONLY = frozenset(_AUDIO_CODEC) - {".webm"} | {".m4a"}
_TRACK_LANGUAGES = dict(
    pair.split(":")
    for pair in [
        "ar:ara",
        "bg:bul",
        "ca:cat",
        "cs:ces",
        "da:dan",
        "de:deu",
        "el:ell",
        "en:eng",
        "es:spa",
        "et:est",
        "eu:eus",
        "fa:fas",
        "fi:fin",
        "fr:fra",
        "gl:glg",
        "he:heb",
        "hi:hin",
        "hr:hrv",
        "hu:hun",
        "id:ind",
        "is:isl",
        "it:ita",
        "ja:jpn",
        "ko:kor",
        "lt:lit",
        "lv:lav",
        "nb:nob",
        "nl:nld",
        "no:nor",
        "pl:pol",
        "pt:por",
        "ro:ron",
        "ru:rus",
        "sk:slk",
        "sl:slv",
        "sq:sqi",
        "sr:srp",
        "sv:swe",
        "th:tha",
        "tr:tur",
        "uk:ukr",
        "ur:urd",
        "vi:vie",
        "zh:zho",
    ]
)
"""ISO 639-2/T, which MP4 wants; a language that is not here keeps its code, which Matroska takes."""
_PROGRAMME_TIME_BASE = Fraction(1, PROGRAMME_RATE_HZ)


@dataclass(frozen=True, slots=True)
class DubbedFile:
    """What was written."""

    seconds: float
    copied_streams: int


async def dub_media_file(
    source: Path,
    target: Path,
    config: DubbingConfig,
    make_session: Callable[[VirtualClock], OfflineSession],
    on_progress: Progress,
) -> DubbedFile:
    """Write `target`: `source` with its first audio track dubbed, once for each language, and everything else copied.

    The file appears under its name only when it is complete.

    Raises:
        InvalidInputError: `source` cannot be read or has no audio, or `target`'s container cannot hold its streams.
    """
    with _appearing_when_complete(source, target) as partial:
        try:
            with _open_input(source) as container, _open_output(partial, target.suffix) as output:
                return await _Dubber(
                    container, output, target.suffix, config, make_session, on_progress
                ).run()
        except (FFmpegError, ValueError) as error:
            raise InvalidInputError(
                f"{target.name} cannot be made from {source.name}: {error}",
                remedy="Choose an output container that holds the input's video codec, such as .mkv.",
            ) from error


@contextmanager
def _appearing_when_complete(source: Path, target: Path) -> Generator[Path]:
    """A file beside `target` that takes its name when the block ends well and vanishes when it does not."""
    if target.exists() and target.samefile(source):
        raise InvalidInputError(f"OUT is the same file as IN: {source}", remedy="Give another output file.")
    if not target.parent.is_dir():
        raise InvalidInputError(f"OUT's folder {target.parent} does not exist", remedy="Create it first.")
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _open_input(source: Path) -> InputContainer:
    try:
        container = av.open(str(source), "r", metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise InvalidInputError(
            f"IN {source} cannot be read: {error}", remedy="Give a media file."
        ) from error
    if not container.streams.audio:
        container.close()
        raise InvalidInputError(f"IN {source} has no audio track", remedy="Give a file with speech in it.")
    return container


def _open_output(path: Path, suffix: str) -> OutputContainer:
    try:
        # Without these a Matroska file carries a random number; .m4v alone means a bare MPEG-4 stream.
        form = "mp4" if suffix.lower() == ".m4v" else None
        return av.open(str(path), "w", format=form, container_options={"fflags": "+bitexact"})
    except (FFmpegError, ValueError) as error:
        raise InvalidInputError(
            f"OUT cannot be a {suffix or 'file without suffix'}: {error}",
            remedy="Use .mp4, .mkv, .mov, .flv, .ts, .m4a, .mp3, .wav, .flac or .ogg.",
        ) from error


class _Dubber:
    """One pass over the input: packets to copy go straight out, audio goes through the session."""

    def __init__(
        self,
        container: InputContainer,
        output: OutputContainer,
        suffix: str,
        config: DubbingConfig,
        make_session: Callable[[VirtualClock], OfflineSession],
        on_progress: Progress,
    ) -> None:
        self._container = container
        self._output = output
        self._config = config
        self._make_session = make_session
        self._on_progress = on_progress
        self._audio = container.streams.audio[0]
        self._copies: dict[int, Any] = {
            # opaque: PyAV 14 would put an encoder's parameter sets in the place of the source's.
            stream.index: output.add_stream_from_template(stream, opaque=True)
            for stream in (*container.streams.video, *container.streams.subtitles)
            if suffix not in _AUDIO_ONLY
        }
        codec = _AUDIO_CODEC.get(suffix, "aac")
        self._encoders = {
            track: _audio_track(output, codec, dubbed.language) for track, dubbed in config.tracks.items()
        }
        self._seconds = float(container.duration or 0) / 1_000_000

    async def run(self) -> DubbedFile:
        clock = VirtualClock()
        session = self._make_session(clock)
        session.start()
        last = 0
        try:
            async for position, blocks in dub_tracks(session, clock, self._config, self._programme()):
                for track, block in blocks.items():
                    self._encode(self._encoders[track], position, block.samples)
                    last = position + len(block.samples)
                self._on_progress(last / PROGRAMME_RATE_HZ, max(self._seconds, last / PROGRAMME_RATE_HZ))
        finally:
            await session.aclose()
        for encoder in self._encoders.values():
            for packet in encoder.encode(None):
                self._output.mux(packet)
        if last == 0:
            raise InvalidInputError("IN has an audio track without any sound in it", remedy="Check the file.")
        return DubbedFile(last / PROGRAMME_RATE_HZ, len(self._copies))

    def _programme(self) -> Iterator[tuple[int, Samples]]:
        """The audio track as (position, samples); other packets are copied on the way."""
        resampler = programme_resampler(self._audio)
        aligner = SampleAligner(PROGRAMME_RATE_HZ)
        wanted = [self._audio, *(self._container.streams[index] for index in self._copies)]
        for packet in self._container.demux(wanted):
            if packet.stream.index in self._copies:
                self._copy(packet)
                continue
            try:
                frames = cast("list[av.AudioFrame]", packet.decode())
            except FFmpegError:
                continue  # a damaged audio packet leaves a hole; the rest of the track is still good
            for frame in frames:
                for converted in resampler.resample(frame):
                    yield from placed_samples(aligner, converted)

    def _copy(self, packet: Any) -> None:
        if packet.dts is None:
            return  # PyAV's flush packet
        packet.stream = self._copies[packet.stream.index]
        self._output.mux(packet)

    def _encode(self, encoder: Any, position: int, samples: Samples) -> None:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
        frame.sample_rate = PROGRAMME_RATE_HZ
        frame.pts = position
        frame.time_base = _PROGRAMME_TIME_BASE
        for packet in encoder.encode(frame):
            self._output.mux(packet)


def _audio_track(output: OutputContainer, codec: str, language: str) -> Any:
    track: Any = output.add_stream(codec, rate=PROGRAMME_RATE_HZ, layout="stereo")
    track.metadata["language"] = _TRACK_LANGUAGES.get(language, language)
    return track


def programme_resampler(audio: Any) -> av.AudioResampler:
    """Turns decoded frames of the track into what `placed_samples` takes."""
    # One channel is doubled there: libswresample would lower it by 3 dB.
    layout = "mono" if audio.channels == 1 else "stereo"
    return av.AudioResampler(format="flt", layout=layout, rate=PROGRAMME_RATE_HZ)


def placed_samples(
    aligner: SampleAligner, frame: av.AudioFrame, shift_ns: int = 0
) -> Iterator[tuple[int, Samples]]:
    """A resampled frame as (position, (n, 2) samples), its timestamp moved by `shift_ns`; nothing where it has none."""
    channels = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).astype(np.float32, copy=False)
    samples = np.repeat(channels, PROGRAMME_CHANNELS, axis=1) if channels.shape[1] == 1 else channels
    if frame.pts is None or frame.time_base is None or len(samples) == 0:
        return
    pts_ns = round(frame.pts * frame.time_base * NS_PER_S) + shift_ns
    placement = aligner.place(pts_ns, len(samples))
    placed = slew(samples[placement.overlap :], placement.samples)
    if len(placed):
        yield placement.position, placed
