"""Decoded audio of a recording as one run of 48 kHz stereo samples that stand where their timestamps say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples
from livedub.audio.resample import resample
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, ns_to_samples, samples_to_ns

_JUMP_NS = 5 * NS_PER_MS
"""A timestamp this far from where the samples before it end starts a new run; less is rounding or a slow clock."""
TIMELINE_RESET_NS = NS_PER_S
"""A step back this far means that the timestamps started over, not that a packet came out of order."""
_ROUNDING_NS = 3 * NS_PER_MS
_PIECE_NS = NS_PER_S


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    """Decoder output: (n, channels) samples at `rate_hz` that start at `pts_ns`."""

    pts_ns: int
    rate_hz: int
    samples: Samples

    @property
    def duration_ns(self) -> int:
        """Length by sample count."""
        return samples_to_ns(len(self.samples), self.rate_hz)


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """Samples (n, 2) at 48 kHz; sample 0 stands at `start_ns`. Times that no packet covered are silent."""

    start_ns: int
    samples: Samples

    @property
    def end_ns(self) -> int:
        """End of the last sample."""
        return self.start_ns + samples_to_ns(len(self.samples), PROGRAMME_RATE_HZ)

    def position(self, at_ns: int) -> int:
        """Index of the sample at a time of the file; may lie outside the track."""
        return ns_to_samples(at_ns - self.start_ns, PROGRAMME_RATE_HZ)

    def slice(self, start_ns: int, count: int) -> Samples:
        """`count` samples from `start_ns`, silence where the track has none."""
        first = self.position(start_ns)
        out = np.zeros((count, PROGRAMME_CHANNELS), dtype=np.float32)
        begin, end = max(0, first), min(len(self.samples), first + count)
        if begin < end:
            out[begin - first : end - first] = self.samples[begin:end]
        return out

    def mono(self) -> Samples:
        """The mid channel."""
        return self.samples.mean(axis=1, dtype=np.float32)


class TrackBuilder:
    """Joins decoded blocks into a track.

    Container timestamps are rounded (FLV: to 1 ms), so a block's own timestamp places it up to 1 ms wrong. Within
    a run of blocks that follow each other the samples are contiguous and the run stands where its timestamps say
    on average; a run whose clock drifts against its timestamps is placed second by second.
    """

    def __init__(self) -> None:
        self._takes: list[list[list[DecodedBlock]]] = []

    def add(self, block: DecodedBlock) -> None:
        """Append the next block in decoding order."""
        last = self._takes[-1][-1][-1] if self._takes else None
        if last is None or block.pts_ns < last.pts_ns - TIMELINE_RESET_NS:
            self._takes.append([[block]])
        elif _follows(last, block):
            self._takes[-1][-1].append(block)
        else:
            self._takes[-1].append([block])

    def build(self) -> tuple[AudioTrack, ...]:
        """One track per take, in file order."""
        return tuple(_join([piece for run in take for piece in _place(run)]) for take in self._takes)


def _follows(last: DecodedBlock, block: DecodedBlock) -> bool:
    return (
        last.rate_hz == block.rate_hz
        and last.samples.shape[1] == block.samples.shape[1]
        and abs(block.pts_ns - last.pts_ns - last.duration_ns) <= _JUMP_NS
    )


def _join(placed: list[tuple[int, Samples]]) -> AudioTrack:
    first = min(position for position, _ in placed)
    last = max(position + len(samples) for position, samples in placed)
    joined = np.zeros((last - first, PROGRAMME_CHANNELS), dtype=np.float32)
    for position, samples in placed:
        joined[position - first : position - first + len(samples)] = samples
    return AudioTrack(samples_to_ns(first, PROGRAMME_RATE_HZ), joined)


def _place(run: list[DecodedBlock]) -> list[tuple[int, Samples]]:
    """Positions on the 48 kHz grid of time 0, and samples, of one run."""
    rate_hz = run[0].rate_hz
    lengths = np.array([len(block.samples) for block in run], dtype=np.int64)
    begins = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    shifts_ns = np.array(
        [block.pts_ns - samples_to_ns(int(begin), rate_hz) for block, begin in zip(run, begins, strict=True)],
        dtype=np.int64,
    )
    if int(np.ptp(shifts_ns)) <= _ROUNDING_NS:
        samples = _programme(np.concatenate([block.samples for block in run]), rate_hz)
        return [(ns_to_samples(int(np.mean(shifts_ns)), PROGRAMME_RATE_HZ), samples)]
    per_piece = max(1, _PIECE_NS // max(1, run[0].duration_ns))
    pieces = [run[index : index + per_piece] for index in range(0, len(run), per_piece)]
    return [piece for short in pieces for piece in _place_piece(short)]


def _place_piece(piece: list[DecodedBlock]) -> list[tuple[int, Samples]]:
    rate_hz = piece[0].rate_hz
    begin = 0
    shifts_ns: list[int] = []
    for block in piece:
        shifts_ns.append(block.pts_ns - samples_to_ns(begin, rate_hz))
        begin += len(block.samples)
    samples = _programme(np.concatenate([block.samples for block in piece]), rate_hz)
    return [(ns_to_samples(round(sum(shifts_ns) / len(shifts_ns)), PROGRAMME_RATE_HZ), samples)]


def _programme(samples: Samples, rate_hz: int) -> Samples:
    """(n, channels) at any rate to (m, 2) at 48 kHz; more than two channels keep the front pair."""
    left, right = samples[:, 0], samples[:, min(1, samples.shape[1] - 1)]
    channels = [
        resample(np.ascontiguousarray(channel), rate_hz, PROGRAMME_RATE_HZ) for channel in (left, right)
    ]
    return np.stack(channels, axis=1)
