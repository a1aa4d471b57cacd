"""Holes in the output's audio: time that no packet covers, and silence where the input sounds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.timeline.clock import NS_PER_MS, Span
from livedub.verify.recording import AudioPacket
from livedub.verify.track import AudioTrack

Levels = NDArray[np.float64]

HOP_MS = 1
_HOP_SAMPLES = PROGRAMME_RATE_HZ * HOP_MS // 1000
_SILENT_DBFS = -60.0
_SOUNDING_DBFS = -45.0
_MIN_SILENCE_MS = 50
_SMOOTHING_MS = 20
_BRIDGE_MS = 5
_ROUNDING_NS = 2 * NS_PER_MS
"""Two timestamps, each rounded to 1 ms, and one muxer that truncates where another rounds."""
_FLOOR_DBFS = -120.0
_FLOOR_WINDOW_MS = 3_000
_FLOOR_PERCENTILE = 10.0


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of the output's timeline without audio that should be there; `cause` is "pts_gap" or "silence"."""

    span: Span
    cause: str


def pts_gaps(packets: tuple[AudioPacket, ...]) -> list[Hole]:
    """Holes by timestamp: a packet that starts more than one frame (and rounding) after the one before it."""
    holes: list[Hole] = []
    for before, after in pairwise(packets):
        end_ns = before.pts_ns + before.duration_ns
        if after.pts_ns > end_ns + _ROUNDING_NS:
            holes.append(Hole(Span(end_ns, after.pts_ns), "pts_gap"))
    return holes


def largest_gap_ns(packets: tuple[AudioPacket, ...]) -> int:
    """The largest time between a packet's end and the next one's start; timestamp rounding included."""
    gaps = (after.pts_ns - before.pts_ns - before.duration_ns for before, after in pairwise(packets))
    return max((gap for gap in gaps if gap > 0), default=0)


def resets(packets: tuple[AudioPacket, ...]) -> int:
    """How often timestamps stepped back by a packet or more."""
    return sum(after.pts_ns <= before.pts_ns for before, after in pairwise(packets))


def silences(output: AudioTrack, expected_dbfs: Levels) -> list[Hole]:
    """Holes by level: at least 50 ms of the output under -60 dBFS while `expected_dbfs` (per hop) is over -45 dBFS."""
    level_dbfs = levels(output.samples)
    count = min(len(level_dbfs), len(expected_dbfs))
    silent = level_dbfs[:count] < _SILENT_DBFS
    missing = silent & (expected_dbfs[:count] > _SOUNDING_DBFS)
    return [
        Hole(
            Span(
                output.start_ns + begin * HOP_MS * NS_PER_MS,
                output.start_ns + end * HOP_MS * NS_PER_MS,
            ),
            "silence",
        )
        for begin, end in _runs(_bridged(missing, silent))
        if (end - begin) * HOP_MS >= _MIN_SILENCE_MS
    ]


def levels(samples: Samples) -> Levels:
    """RMS level of each hop in dBFS, of the louder channel; -120 for digital silence."""
    hops = len(samples) // _HOP_SAMPLES
    squares = np.square(samples[: hops * _HOP_SAMPLES], dtype=np.float64)
    mean_squares = squares.reshape(hops, _HOP_SAMPLES, -1).mean(axis=1).max(axis=1)
    return np.maximum(_FLOOR_DBFS, 10.0 * np.log10(mean_squares + 1e-12))


def steady(level_dbfs: Levels) -> Levels:
    """What the level is throughout 20 ms around each hop: the minimum, so that a misalignment of 10 ms is no hole."""
    mean = _windowed(10.0 ** (level_dbfs / 10.0), _SMOOTHING_MS // HOP_MS).mean(axis=1)
    smooth: Levels = 10.0 * np.log10(mean + 1e-12)
    return _windowed(smooth, _SMOOTHING_MS // HOP_MS).min(axis=1)


def background(level_dbfs: Levels) -> Levels:
    """The level that a programme keeps between its words: the 10th percentile over 6 s around each hop.

    Under a dub the original speech is gone by design, so only what sounded under it is owed to the listener.
    """
    coarse_hops = 50 // HOP_MS
    count = len(level_dbfs) // coarse_hops
    if count == 0:
        return np.full(len(level_dbfs), _FLOOR_DBFS)
    power = (10.0 ** (level_dbfs[: count * coarse_hops] / 10.0)).reshape(count, coarse_hops).mean(axis=1)
    coarse: Levels = 10.0 * np.log10(power + 1e-12)
    window = 2 * _FLOOR_WINDOW_MS // 50
    floor: Levels = np.percentile(_windowed(coarse, window), _FLOOR_PERCENTILE, axis=1)
    fine = np.repeat(floor, coarse_hops)
    return np.concatenate((fine, np.full(len(level_dbfs) - len(fine), fine[-1])))


def _windowed(values: Levels, window: int) -> NDArray[np.float64]:
    """Centred sliding windows, one per value, the ends repeated."""
    before = window // 2
    padded = np.pad(values, (before, window - 1 - before), mode="edge")
    return sliding_window_view(padded, window)


def _bridged(missing: NDArray[np.bool_], silent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close interruptions of a hole that are short and silent themselves (the input dipped for a moment)."""
    bridged = missing.copy()
    for (_, end), (begin, _) in pairwise(_runs(missing)):
        if (begin - end) * HOP_MS <= _BRIDGE_MS and bool(silent[end:begin].all()):
            bridged[end:begin] = True
    return bridged


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[begin, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
