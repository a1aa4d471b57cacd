"""The delay a viewer sees: when the same packet reached a listener at `in` and a listener at `out`, by wall clock.

File timestamps cannot show it: a worker that stamps its packets right and sends them early looks perfect in a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.verify.alignment import align
from livedub.verify.json_lines import read_json_lines


@dataclass(frozen=True, slots=True)
class ArrivalDelays:
    """Wall-clock delay of each video packet that both listeners saw, in order; `left_ns` is when it left (UTC)."""

    left_ns: tuple[int, ...]
    delays_ns: tuple[int, ...]

    def median_ms(self) -> float:
        """The middle delay."""
        return float(np.median(self.delays_ns)) / NS_PER_MS

    def by_second_ms(self) -> tuple[tuple[int, float], ...]:
        """(whole seconds since the first packet left, median delay of the packets that left in that second)."""
        if not self.left_ns:
            return ()
        seconds = (np.asarray(self.left_ns, dtype=np.int64) - self.left_ns[0]) // NS_PER_S
        delays = np.asarray(self.delays_ns, dtype=np.float64) / NS_PER_MS
        return tuple(
            (int(second), round(float(np.median(delays[seconds == second])), 2))
            for second in np.unique(seconds)
        )

    def deviation_ms(self, nominal_ms: float, percentile: float) -> float:
        """Distance from the nominal delay that `percentile` of the packets stay within."""
        distances = np.abs(np.asarray(self.delays_ns, dtype=np.float64) / NS_PER_MS - nominal_ms)
        return float(np.percentile(distances, percentile))


def sidecar(recording: Path) -> Path:
    """Where the recorder of FILE.flv notes arrivals: FILE.arrivals.jsonl."""
    return recording.with_suffix(".arrivals.jsonl")


def arrival_delays(source: Path, output: Path) -> ArrivalDelays:
    """Match two arrival logs by payload hash.

    Raises:
        InvalidInputError: a line is malformed.
    """
    came, left = _video_arrivals(source), _video_arrivals(output)
    pairs = align(came, left)
    return ArrivalDelays(
        tuple(left[j][1] for _, j in pairs), tuple(left[j][1] - came[i][1] for i, j in pairs)
    )


def _video_arrivals(path: Path) -> list[tuple[str, int]]:
    return [
        _arrival(path, number, entry)
        for number, entry in read_json_lines(path)
        if entry.get("kind") == "video"
    ]


def _arrival(path: Path, number: int, entry: dict[str, Any]) -> tuple[str, int]:
    try:
        return str(entry["sha256"]), int(entry["utc_ns"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"line {number} of {path} lacks sha256 or utc_ns.",
            remedy="Give the file that the recorder wrote beside the recording.",
        ) from error
