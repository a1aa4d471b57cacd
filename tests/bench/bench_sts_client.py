"""What asking STS costs beside its engines: `python tests/bench/bench_sts_client.py [--out FILE]` prints JSON.

One fragment of 4 s after another, as a stream sends them, to mock engines that take a set time: over HTTP, and over
RunPod's queue (the emulator and RunPod's own worker loop) by /runsync and by /run with its partials polled for.
Overhead is the round trip less that time: the client, its checks, the way there and back, queues, the pipeline's own
hand-overs. Every service is a process of its own on loopback. White noise is the worst FLAC can meet: what that codec
costs, once each way in the service, is the difference between `http` and `http flac`.

`client_ms` is the client's own share: what it takes to write the request and to read and check the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from livedub.sts.answer import read_answer
from livedub.sts.breaker import CircuitBreaker
from livedub.sts.client import GuardedSts, SpeechToSpeech
from livedub.sts.contract import AudioFormat, PartialKind, StsPartial, StsRequest, StsResult
from tests.bench.bench_sts_http import fragment, milliseconds
from tests.bench.machine_load import busy_seconds, machine
from tests.contract.client_rig import Entry, entry

ENGINES_MS = {"STS_MOCK_ASR_MS": 40, "STS_MOCK_MT_MS": 10, "STS_MOCK_TTS_MS": 30}
WARM_UP = 10
WAYS = (
    ("http", "http", AudioFormat.PCM_S16LE, False),
    ("http flac", "http", AudioFormat.FLAC, False),
    ("http stream", "http", AudioFormat.PCM_S16LE, True),
    ("runsync", "runpod", AudioFormat.FLAC, False),
    ("run", "runpod", AudioFormat.FLAC, True),
)
"""Name, entry, what the audio travels as, and whether partials are asked for."""


class Busy:
    """Cores that this process and its descendants used, and that everybody else did."""

    def __init__(self) -> None:
        self._started_s, self._all_s, self._own_s = time.perf_counter(), busy_seconds(), family_cpu_seconds()

    def cores(self) -> tuple[float, float]:
        elapsed_s = time.perf_counter() - self._started_s
        own_s = family_cpu_seconds() - self._own_s
        others_s = busy_seconds() - self._all_s - own_s
        return round(own_s / elapsed_s, 2), round(max(0.0, others_s / elapsed_s), 2)


def family_cpu_seconds() -> float:
    """CPU time of this process and of all that descend from it and live, proc(5)."""
    ticks, pids = 0, [os.getpid()]
    while pids:
        pid = pids.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            threads = list(Path(f"/proc/{pid}/task").iterdir())
            pids += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except OSError:
            continue  # it has just ended
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(way: str) -> Iterator[Entry]:
    """A service whose engines take their time."""
    with tempfile.TemporaryDirectory() as folder:
        costs = {name: str(cost_ms) for name, cost_ms in ENGINES_MS.items()}
        settings = {"STS_MOCK_SCRIPT": "", "STS_MAX_CONCURRENCY": "4", "STS_QUEUE_SIZE": "16", **costs}
        with entry(way, Path(folder), **settings) as running:
            yield running


async def run_once(running: Entry, count: int, *, audio_format: AudioFormat, stream: bool) -> dict[str, Any]:
    """`count` fragments, one after another."""
    sts = GuardedSts(running.connect(), CircuitBreaker())
    requests = [fragment(number, audio_format) for number in range(count + WARM_UP)]
    try:
        for asked in requests[:WARM_UP]:
            await sts.process(asked)
        busy = Busy()
        took = [await timed(sts, asked, stream=stream) for asked in requests[WARM_UP:]]
        own, others = busy.cores()
    finally:
        await sts.aclose()
    engines_ms = sum(ENGINES_MS.values())
    report: dict[str, Any] = {
        "format": audio_format.value,
        "overhead_ms": milliseconds([answer_ms - engines_ms for answer_ms, _, _ in took]),
        "client_ms": milliseconds(client_times(requests[-1], took[-1][2])),
        "cores_used": own,
        "cores_used_by_others": others,
    }
    if stream:
        before_tts_ms = engines_ms - ENGINES_MS["STS_MOCK_TTS_MS"]
        report["text_overhead_ms"] = milliseconds([text_ms - before_tts_ms for _, text_ms, _ in took])
    return report


async def timed(sts: SpeechToSpeech, asked: StsRequest, *, stream: bool) -> tuple[float, float, StsResult]:
    """Milliseconds to the answer and to the text partial (to the answer where there is none)."""
    started_s = time.perf_counter()
    texts_ms: list[float] = []

    async def note(partial: StsPartial) -> None:
        if partial.kind is PartialKind.TEXT:
            texts_ms.append((time.perf_counter() - started_s) * 1_000)

    result = await sts.process(asked, note if stream else None)
    answer_ms = (time.perf_counter() - started_s) * 1_000
    return answer_ms, texts_ms[0] if texts_ms else answer_ms, result


def client_times(asked: StsRequest, result: StsResult) -> list[float]:
    body = result.model_dump_json().encode()
    times: list[float] = []
    for _ in range(50):
        started_s = time.perf_counter()
        asked.model_copy(update={"deadline_ms": 1_000}).model_dump_json().encode()
        read_answer(asked, 200, body)
        times.append((time.perf_counter() - started_s) * 1_000)
    return times


def measure(fragments: int = 60, runs: int = 5) -> dict[str, Any]:
    """Every way; of its runs the one with the median p95, and the p95 of all."""
    rows: list[dict[str, Any]] = []
    for name, way, audio_format, stream in WAYS:
        with service(way) as running:
            reports = [
                asyncio.run(run_once(running, fragments, audio_format=audio_format, stream=stream))
                for _ in range(runs)
            ]
        reports.sort(key=lambda report: report["overhead_ms"]["p95"])
        p95s = [report["overhead_ms"]["p95"] for report in reports]
        rows.append(
            {
                "way": name,
                **reports[runs // 2],
                "p95_of_every_run_ms": p95s,
                "p50_median_of_runs_ms": statistics.median(
                    report["overhead_ms"]["p50"] for report in reports
                ),
            }
        )
    return {
        "what": "STS round trip over its engines, 4 s fragment, one at a time",
        "machine": machine(),
        "engines_ms": ENGINES_MS,
        "fragments_per_run": fragments,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fragments", type=int, default=60, help="per run (default 60)")
    parser.add_argument("--runs", type=int, default=5, help="per way (default 5)")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.fragments, options.runs), indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
