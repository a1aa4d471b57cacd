"""A ring of samples addressed by their absolute position on the media timeline."""

from __future__ import annotations

import numpy as np

from livedub.audio.pcm import Samples


class SampleRing:
    """Keeps the newest `capacity` samples; what was never written reads as silence.

    Positions only grow: a write beyond the end leaves a hole of silence, a write that reaches back overwrites.
    """

    def __init__(self, capacity: int, channels: int) -> None:
        self._data = np.zeros((capacity, channels), dtype=np.float32)
        self._end = 0
        self._start = 0

    @property
    def end(self) -> int:
        """One past the newest position written."""
        return self._end

    def write(self, position: int, samples: Samples) -> None:
        """Place (n, channels) samples at `position`; what lies before the kept window is dropped."""
        columns = samples[:, None] if samples.ndim == 1 else samples
        capacity = len(self._data)
        if self._end == 0 and self._start == 0:
            self._start = self._end = position
        if position > self._end:
            self._copy_in(max(self._end, position - capacity), None, position)
        end = position + len(columns)
        new_end = max(self._end, end)
        first = max(position, new_end - capacity, self._start)
        if first < end:
            self._copy_in(first, columns[first - position :], end)
        self._end = new_end
        self._start = max(self._start, self._end - capacity)

    def read(self, position: int, count: int) -> Samples:
        """(count, channels) samples from `position`, silence where nothing is kept."""
        out = np.zeros((count, self._data.shape[1]), dtype=np.float32)
        first, last = max(position, self._start), min(position + count, self._end)
        capacity = len(self._data)
        while first < last:
            index = first % capacity
            run = min(last - first, capacity - index)
            out[first - position : first - position + run] = self._data[index : index + run]
            first += run
        return out

    def _copy_in(self, first: int, columns: Samples | None, end: int) -> None:
        capacity = len(self._data)
        taken = 0
        while first < end:
            index = first % capacity
            run = min(end - first, capacity - index)
            self._data[index : index + run] = 0.0 if columns is None else columns[taken : taken + run]
            first += run
            taken += run
