"""What the STS transport costs: `python tests/bench/bench_sts_http.py [--fragments N] [--out FILE]` prints JSON.

Client and service are two processes on loopback, the service with mock engines, the fragment 4 s of 16 kHz mono noise
(the worst case for FLAC). Overhead is the round trip less the engines' own time: serialising, HTTP, queue, checks on
both sides, the service's decoding of the request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.sts.answer import read_answer
from livedub.sts.breaker import CircuitBreaker, percentile_95
from livedub.sts.client import GuardedSts, connect_sts
from livedub.sts.contract import AudioFormat, StsConfig, StsRequest, StsResult, Target

FRAGMENT_MS = 4_000
RATE_HZ = 16_000
WARM_UP = 10
ENGINE_STAGES = ("asr_ms", "translation_ms", "tts_ms", "fit_ms")
READY = re.compile(r"STS ready on (\S+):")


def fragment(sequence_number: int, audio_format: AudioFormat) -> StsRequest:
    noise = np.random.default_rng(sequence_number).normal(0, 0.1, FRAGMENT_MS * RATE_HZ // 1_000)
    return StsRequest(
        fragment_id=f"bench/0/{sequence_number}",
        stream_id="bench",
        generation=0,
        sequence_number=sequence_number,
        deadline_ms=10_000,
        audio=encode_audio(noise.astype(np.float32), RATE_HZ, audio_format),
        config=StsConfig(source_language="es", targets=(Target(language="en"),)),
    )


@contextmanager
def mock_service(log_level: str = "WARNING", **settings: str) -> Iterator[str]:
    """The URL of a service in a process of its own, with these `STS_*` variables."""
    command = [sys.executable, "-m", "gpu_handler", "--log-level", log_level, "serve"]
    command += ["--profile", "mock", "--port", "0", "--die-with-parent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings})
    try:
        assert process.stdout is not None
        match = READY.match(process.stdout.readline())
        assert match is not None
        yield match[1]
    finally:
        process.terminate()
        process.wait(30)


def milliseconds(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(values), 2),
        "p95": round(percentile_95([round(value * 1_000) for value in values]) / 1_000, 2),
        "max": round(max(values), 2),
    }


def engines_ms(result: StsResult) -> float:
    timings = result.stage_timings.model_dump()
    return sum(timings[stage] for stage in ENGINE_STAGES)


async def measure(url: str, audio_format: AudioFormat, count: int, in_flight: int) -> dict[str, Any]:
    """Round trips of `count` fragments, `in_flight` at a time."""
    sts = GuardedSts(connect_sts(url), CircuitBreaker())
    requests = [fragment(number, audio_format) for number in range(count + WARM_UP)]
    round_trips: list[float] = []
    overheads: list[float] = []
    slots = asyncio.Semaphore(in_flight)

    async def one(asked: StsRequest) -> StsResult:
        async with slots:
            started_s = time.perf_counter()
            result = await sts.process(asked)
            took_ms = (time.perf_counter() - started_s) * 1_000
        if asked.sequence_number >= WARM_UP:
            round_trips.append(took_ms)
            overheads.append(took_ms - engines_ms(result))
        return result

    try:
        for asked in requests[:WARM_UP]:
            await one(asked)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        results = await asyncio.gather(*(one(asked) for asked in requests[WARM_UP:]))
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    finally:
        await sts.aclose()
    return {
        "format": audio_format.value,
        "in_flight": in_flight,
        "fragments": count,
        "request_bytes": len(requests[0].model_dump_json()),
        "answer_bytes": len(results[0].model_dump_json()),
        "round_trip_ms": milliseconds(round_trips),
        "overhead_ms": milliseconds(overheads),
        "client_cpu_ms_per_fragment": round(cpu_s * 1_000 / count, 2),
        "fragments_per_s": round(count / wall_s, 1),
        "answer_check_ms": milliseconds(check_times(requests[-1], results[-1])),
    }


def check_times(asked: StsRequest, result: StsResult) -> list[float]:
    """How long the client takes to parse and check an answer, in milliseconds."""
    body = result.model_dump_json().encode()
    times: list[float] = []
    for _ in range(50):
        started_s = time.perf_counter()
        read_answer(asked, 200, body)
        times.append((time.perf_counter() - started_s) * 1_000)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fragments", type=int, default=200, help="per row (default 200)")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    with mock_service() as url:
        rows = [
            asyncio.run(measure(url, audio_format, options.fragments, in_flight))
            for audio_format in AudioFormat
            for in_flight in (1, 4)
        ]
    report = {
        "what": "STS client and service on loopback, mock engines",
        "fragment_ms": FRAGMENT_MS,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "rows": rows,
    }
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
