"""How many live streams one STS service keeps up with: `python tests/bench/bench_streams_per_card.py --url URL`.

Each stream sends a fragment of speech every `--fragment-s`, as a live stream's worker does, at an offset of its own. A
load is kept up with when at least 99 % of its fragments come back dubbed within `--deadline-ms`. The load is doubled until
it is not, then halved down between; the answer is the largest one kept up with. Prints JSON. `--url` is what a worker's
STS_SERVICE_URL would be; STS_API_KEY its key. The speech is espeak-ng's, its words of no weight for speed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from livedub.audio.clip import read_clip
from livedub.audio.codec import encode_audio
from livedub.sts.client import SpeechToSpeech, connect_sts
from livedub.sts.contract import Audio, AudioFormat, Status, StsConfig, StsRequest, Target
from livedub.sts.errors import StsFailure

RATE_HZ = 16_000
KEPT = 0.99
TEXT = (
    "The home side won the ball near the half way line and went forward at once, but the pass was too long and the "
    "keeper was out quickly. There are twelve minutes left and nobody in the ground is sitting down any more."
)


@dataclass(frozen=True, slots=True)
class Load:
    """What became of one number of streams."""

    streams: int
    fragments: int
    kept: float
    """Share of fragments that came back dubbed in time."""
    median_ms: float
    p95_ms: float
    errors: dict[str, int]

    @property
    def kept_up(self) -> bool:
        return self.kept >= KEPT


async def most_streams(measure: Callable[[int], Awaitable[Load]], *, most: int) -> list[Load]:
    """Measure by doubling, then by halving the gap; the loads in the order they were measured."""
    measured: list[Load] = []
    good, bad = 0, 0
    streams = 1
    while good < most and not bad:
        measured.append(await measure(streams))
        if measured[-1].kept_up:
            good, streams = streams, min(streams * 2, most)
        else:
            bad = streams
    while bad - good > max(1, good // 16):
        measured.append(await measure((good + bad) // 2))
        if measured[-1].kept_up:
            good = measured[-1].streams
        else:
            bad = measured[-1].streams
    return measured


def fragments_of_speech(language: str, fragment_s: float) -> list[Audio]:
    """The text, spoken and cut into fragments; the last, shorter one is left out."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        command = ["espeak-ng", "-v", language, "-s", "150", "-w", str(spoken), TEXT]
        subprocess.run(command, check=True, timeout=60)
        samples = read_clip(spoken, RATE_HZ, longest_s=120)
    size = round(fragment_s * RATE_HZ)
    repeated = np.tile(samples, math.ceil(3 * size / len(samples)))
    cuts = range(0, len(repeated) - size + 1, size)
    return [encode_audio(repeated[cut : cut + size], RATE_HZ, AudioFormat.FLAC) for cut in cuts]


class StreamLoad:
    """Drives paced streams against one service."""

    def __init__(self, sts: SpeechToSpeech, audio: list[Audio], options: argparse.Namespace) -> None:
        self._sts = sts
        self._audio = audio
        self._options = options
        self._config = StsConfig(
            source_language=options.source,
            targets=tuple(Target(language=language) for language in options.target.split(",")),
        )

    async def measure(self, streams: int) -> Load:
        """Run `streams` streams for the time asked for."""
        count = max(1, round(self._options.seconds / self._options.fragment_s))
        times: list[float] = []
        errors: dict[str, int] = {}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._stream(number, streams, count, times, errors))
                for number in range(streams)
            ]
        late = sum(task.result() for task in tasks)
        total = streams * count
        return Load(
            streams,
            total,
            round((len(times) - late) / total, 4),
            round(statistics.median(times), 1) if times else 0.0,
            round(float(np.percentile(times, 95)), 1) if times else 0.0,
            errors,
        )

    async def _stream(
        self, number: int, streams: int, count: int, times: list[float], errors: dict[str, int]
    ) -> int:
        """One stream; returns how many of its fragments came back, but late."""
        loop = asyncio.get_running_loop()
        period_s = self._options.fragment_s
        start_s = loop.time() + period_s * number / streams
        late = 0
        async with asyncio.TaskGroup() as group:
            sent = []
            for sequence in range(count):
                await asyncio.sleep(max(0.0, start_s + sequence * period_s - loop.time()))
                sent.append(group.create_task(self._fragment(f"bench-{streams}-{number}", sequence, errors)))
        for task in sent:
            took_ms = task.result()
            if took_ms is not None:
                times.append(took_ms)
                late += took_ms > self._options.deadline_ms
        return late

    async def _fragment(self, stream_id: str, sequence: int, errors: dict[str, int]) -> float | None:
        """Milliseconds that one fragment took, or None when it came back without all its dubs."""
        request = StsRequest(
            fragment_id=f"{stream_id}/0/{sequence}",
            stream_id=stream_id,
            generation=0,
            sequence_number=sequence,
            deadline_ms=self._options.deadline_ms,
            audio=self._audio[sequence % len(self._audio)],
            config=self._config,
        )
        started_s = asyncio.get_running_loop().time()
        try:
            result = await self._sts.process(request)
        except StsFailure as failure:
            errors[failure.reason] = errors.get(failure.reason, 0) + 1
            return None
        if result.status is not Status.SUCCESS:
            errors[result.status.value] = errors.get(result.status.value, 0) + 1
            return None
        return (asyncio.get_running_loop().time() - started_s) * 1_000


async def run(options: argparse.Namespace) -> dict[str, object]:
    sts = connect_sts(options.url, api_key=os.environ.get("STS_API_KEY", ""))
    try:
        await sts.warm_up(timeout_ms=600_000)
        load = StreamLoad(sts, fragments_of_speech(options.source, options.fragment_s), options)
        measured = await most_streams(load.measure, most=options.most)
    finally:
        await sts.aclose()
    kept_up = [one.streams for one in measured if one.kept_up]
    return {
        "streams": max(kept_up, default=0),
        "at_most_tried": options.most,
        "fragment_s": options.fragment_s,
        "deadline_ms": options.deadline_ms,
        "targets": options.target,
        "loads": [asdict(one) for one in measured],
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="es", help="comma-separated")
    parser.add_argument("--fragment-s", type=float, default=4.0)
    parser.add_argument("--deadline-ms", type=int, default=4_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="per load")
    parser.add_argument("--most", type=int, default=256, help="streams at most")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(parse())), indent=2))  # noqa: T201 - its output
