"""The picture of an exact cut: copied between two pictures that start afresh, encoded anew at the edges."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, cast

import av
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.container import InputContainer
from av.error import FFmpegError

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.work.exact_span import ExactSpan
from livedub.library.work.h264_nal import begins_afresh, free_set_id, length_bytes_of, parameter_sets
from livedub.library.work.media_output import MediaOutput
from livedub.library.work.media_source import pictures, rewind, start_us
from livedub.library.work.step_progress import StepProgress

_HOLDS_TWO_ENCODERS = frozenset({".m4v", ".mkv", ".mov", ".mp4"})
_PIXELS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuv444p"})
_SOME_RATE = 25
_QUALITY = {"crf": "16", "preset": "fast"}
"""Good enough that nobody sees where the copy begins."""
_PLAN_NOTHING = {"rc-lookahead": "0", "mbtree": "0", "weightp": "0", "sc_threshold": "0"}
"""What x264 plans ahead, within a process that does other things too, did not always come out the same: other bytes 7
times in 3000. Without it they were not once in 1850."""
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "0"}


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """What of the picture is copied: timestamps of the packets, in the order of decoding; the first one starts afresh."""

    copied: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet of the picture: when it is shown, and whether no picture from it on depends on one before."""

    stamp: int
    afresh: bool


def plan_picture(
    container: InputContainer, suffix: str, span: ExactSpan, progress: StepProgress
) -> PicturePlan | None:
    """What can be copied; None where all of the piece is to be encoded anew."""
    stream = pictures(container)[0]
    context = stream.codec_context
    if context.name != "h264" or suffix not in _HOLDS_TWO_ENCODERS or context.pix_fmt not in _PIXELS:
        return None
    return plan_copy(_seen(container, stream, span, progress), span, stream.time_base)


def plan_copy(seen: Sequence[Seen], span: ExactSpan, time_base: Fraction) -> PicturePlan | None:
    """From the first picture that starts afresh within the piece to the last such one with nothing but the piece before."""
    first: int | None = None
    last: int | None = None
    for at, packet in enumerate(seen):
        if first is None:
            if packet.afresh and span.holds(packet.stamp, time_base):
                first = at
            continue
        if packet.afresh:
            last = at
        if not span.holds(packet.stamp, time_base):
            break
    else:
        last = len(seen)  # the file ends within the piece
    if first is None or last is None:
        return None
    return PicturePlan(tuple(packet.stamp for packet in seen[first:last]))


def _seen(container: InputContainer, stream: Any, span: ExactSpan, progress: StepProgress) -> list[Seen]:
    """The packets around the piece, up to one that lies behind it with all that follow."""
    length_bytes = length_bytes_of(stream.codec_context.extradata)
    seen: list[Seen] = []
    _seek(container, span)
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        progress.tick(0)
        afresh = packet.is_keyframe and begins_afresh(bytes(packet), length_bytes)
        seen.append(Seen(packet.pts, afresh))
        if afresh and packet.pts * packet.time_base >= span.end:
            break
    return seen


def copy_between_edges(
    container: InputContainer,
    output: MediaOutput,
    plan: PicturePlan,
    span: ExactSpan,
    threads: int,
    progress: StepProgress,
) -> Iterator[Any]:
    """The piece's packets, in order: an edge, what is copied, an edge."""
    stream = pictures(container)[0]
    base = stream.time_base
    copy, to_start_codes = output.add_start_code_copy(stream)
    own_sets = copy.codec_context.extradata or b""
    last = max(plan.copied)
    before = ExactSpan(span.start, plan.copied[0] * base)
    behind = ExactSpan((last + 1) * base, span.end)
    set_id = free_set_id(own_sets)
    head = list(_encoded(_frames(container, stream, before, progress), stream, threads, set_id))
    tail = list(_encoded(_frames(container, stream, behind, progress), stream, threads, set_id))
    for packet in (*head, *tail)[:1]:
        # Whoever reads only the file's head must know both encoders.
        copy.codec_context.extradata = own_sets + parameter_sets(bytes(packet))
    stamps = [packet.pts for packet in head] + list(plan.copied) + [packet.pts for packet in tail]
    decoding = decoding_stamps(stamps)
    middle = _copied(container, stream, plan, span, to_start_codes)
    for index, packet in enumerate(chain(head, middle, tail)):
        if packet.pts != stamps[index]:
            raise LibraryError(
                LibraryErrorCode.WORK_FAILED,
                "The source's picture reads differently the second time.",
                "Trim it without exact, or transcode it first.",
            )
        packet.pts, packet.dts = span.shifted(stamps[index], base), span.shifted(decoding[index], base)
        packet.time_base = base
        _end_in_time(packet, stream, span)
        packet.stream = copy
        yield packet


def decoding_stamps(stamps: Sequence[int]) -> list[int]:
    """When each packet is decoded: rising, and none later than it is shown; `stamps` come in the order of decoding."""
    shown = sorted(stamps)
    delay = max((at - stamp for at, stamp in zip(shown, stamps, strict=True)), default=0)
    return [at - delay for at in shown]


def encode_pictures(
    container: InputContainer, output: MediaOutput, span: ExactSpan, threads: int, progress: StepProgress
) -> Iterator[Any]:
    """The piece's packets, all encoded anew: H.264, or VP9 in WebM."""
    stream = pictures(container)[0]
    context = stream.codec_context
    vp9 = output.suffix == ".webm"
    encoder = output.add_encoder(
        "libvpx-vp9" if vp9 else "libx264",
        rate=stream.average_rate or stream.guessed_rate or _SOME_RATE,
        options=dict(_VP9) if vp9 else _QUALITY | _PLAN_NOTHING,
        width=context.width,
        height=context.height,
    )
    _like_source(encoder.codec_context, stream, threads)
    for frame in _frames(container, stream, span, progress):
        frame.pts = span.shifted(frame.pts, stream.time_base)
        yield from _ended(encoder.encode(frame), stream, span)
    yield from _ended(encoder.encode(None), stream, span)


def _ended(packets: Iterable[Any], stream: Any, span: ExactSpan) -> Iterator[Any]:
    for packet in packets:
        _end_in_time(packet, stream, span)
        yield packet


def _end_in_time(packet: Any, stream: Any, span: ExactSpan) -> None:
    """The last frame is shown to the end of the piece, not beyond."""
    base = packet.time_base
    frame = round(1 / (Fraction(stream.average_rate or stream.guessed_rate or _SOME_RATE) * base))
    packet.duration = max(
        1, min(packet.duration or frame, round((span.end - span.start) / base) - packet.pts)
    )


def _frames(container: InputContainer, stream: Any, span: ExactSpan, progress: StepProgress) -> Iterator[Any]:
    """The decoded frames of a span, in the order in which they are shown."""
    if span.start >= span.end:
        return
    # A decoder with threads beside an encoder with threads makes other bytes, once in some hundred times.
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = 1
    _seek(container, span)
    for packet in container.demux(stream):
        progress.tick(0)
        try:
            frames = cast("list[Any]", packet.decode())
        except FFmpegError:
            continue  # one damaged packet; the decoder goes on with the next
        for frame in frames:
            if frame.pts is None or frame.pts * stream.time_base < span.start:
                continue
            if frame.pts * stream.time_base >= span.end:
                return
            frame.pict_type = 0  # the encoder decides itself
            yield frame


def _encoded(frames: Iterable[Any], stream: Any, threads: int, set_id: int) -> Iterator[Any]:
    """H.264 whose parameter sets have an id of their own, and come with the packets."""
    encoder: Any = None
    for frame in frames:
        if encoder is None:
            encoder = _edge_encoder(stream, frame, threads, set_id)
        yield from encoder.encode(frame)
    if encoder is not None:
        yield from encoder.encode(None)


def _edge_encoder(stream: Any, frame: Any, threads: int, set_id: int) -> Any:
    encoder: Any = av.CodecContext.create("libx264", "w")
    fields = ":tff=1" if frame.interlaced_frame else ""
    encoder.options = {**_QUALITY, **_PLAN_NOTHING, "bf": "0", "x264-params": f"sps-id={set_id}{fields}"}
    encoder.width, encoder.height = stream.codec_context.width, stream.codec_context.height
    encoder.framerate = stream.average_rate or stream.guessed_rate or _SOME_RATE
    _like_source(encoder, stream, threads)
    return encoder


def _like_source(encoder: Any, stream: Any, threads: int) -> None:
    """What a player takes from the stream's head must fit all of its packets."""
    context = stream.codec_context
    encoder.time_base = stream.time_base
    encoder.pix_fmt = context.pix_fmt
    if context.sample_aspect_ratio is not None:
        encoder.sample_aspect_ratio = context.sample_aspect_ratio
    encoder.color_range = context.color_range
    encoder.color_primaries = context.color_primaries
    encoder.color_trc = context.color_trc
    encoder.colorspace = context.colorspace
    encoder.thread_count = threads
    encoder.flags |= Flags.bitexact


def _copied(
    container: InputContainer,
    stream: Any,
    plan: PicturePlan,
    span: ExactSpan,
    to_start_codes: BitStreamFilterContext | None,
) -> Iterator[Any]:
    """The packets that the plan names."""
    left = len(plan.copied)
    _seek(container, ExactSpan(plan.copied[0] * stream.time_base, span.end))
    for packet in container.demux(stream):
        if packet.pts is None or (left == len(plan.copied) and packet.pts != plan.copied[0]):
            continue
        for filtered in [packet] if to_start_codes is None else to_start_codes.filter(packet):
            yield filtered
            left -= 1
        if left == 0:
            return


def _seek(container: InputContainer, span: ExactSpan) -> None:
    """To a key frame at or before the span's start; to the file's start where the file has no index to go by."""
    if container.format.name == "mpegts" or span.seek_us <= start_us(container):
        rewind(container)
    else:
        container.seek(span.seek_us, backward=True)
