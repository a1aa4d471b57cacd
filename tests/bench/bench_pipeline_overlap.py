"""What overlapping stages gain on a CPU: `python tests/bench/bench_pipeline_overlap.py [--out FILE]` prints JSON.

A minute of speech, cut as the worker cuts it, goes through Whisper base, Apertium and Kokoro (the `cpu` profile) in
two ways: the engines called one after another, without a pipeline; and through the pipeline with a live stream's
fragments under way. The same engine objects with the same settings do both, in turn.

On two cores, engines with two threads each keep 1.7 cores busy even one after another, so overlapping them can gain a
fifth at most; with one thread each, the stages share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from gpu_handler.audio_io import read_audio
from gpu_handler.engines.base import Line, Sentence, Utterance
from gpu_handler.engines.registry import Engines, build_engines
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import encode_audio
from livedub.audio.fit import fit, plan_tempo
from livedub.sts.contract import Status, StsRequest
from livedub.sts.slot import slot_of
from tests.bench.bench_sts import Clip, make_clips, request_for
from tests.bench.machine_load import Bystanders, cpu_seconds, machine
from tests.bench.sts_sentences import ENGLISH

SOURCE, TARGET = "en", "es"
CLIP_S = 60.0
IN_FLIGHT = 4


def one_after_another(engines: Engines, request: StsRequest) -> None:
    """What the pipeline asks of the engines for one fragment, by hand."""
    samples = read_audio(request.audio)
    spans = engines.detector.spans(samples)
    (heard,) = engines.transcriber.transcribe([Utterance(samples, SOURCE)])
    (translated,) = engines.translator.translate([Sentence(heard.text, SOURCE, TARGET)])
    voice = engines.synthesizer.voices()[TARGET][0]
    slot = slot_of(request, spans)
    natural_ms = engines.synthesizer.natural_duration_ms(translated.text, voice=voice)
    speed = plan_tempo(natural_ms, slot).tts_speed
    (speech,) = engines.synthesizer.synthesize([Line(translated.text, voice, speed)])
    fitted = fit(speech.samples, speech.sample_rate_hz, slot, speed=speech.speed)
    encode_audio(fitted.samples, fitted.sample_rate_hz, request.audio.format)


async def overlapped(pipeline: Pipeline, requests: list[StsRequest]) -> None:
    """All of them, `IN_FLIGHT` at a time."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(request: StsRequest) -> None:
        async with slots:
            result = await pipeline.process(request)
        if result.status is not Status.SUCCESS:
            raise RuntimeError(f"{request.fragment_id}: {result.error}")

    await asyncio.gather(*(one(request) for request in requests))


def timed(work: Any) -> dict[str, float]:
    bystanders, started_s, started_cpu_s = Bystanders(), time.perf_counter(), cpu_seconds()
    work()
    wall_s = time.perf_counter() - started_s
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_seconds() - started_cpu_s, 2),
        "cores_used_by_others": bystanders.cores,
    }


def minute(clips: list[Clip]) -> list[StsRequest]:
    """Requests for a minute of speech: the clips over and over, the last as long as it happens to be."""
    requests: list[StsRequest] = []
    total_s = 0.0
    while total_s < CLIP_S:
        clip = clips[len(requests) % len(clips)]
        requests.append(request_for(clip, len(requests), SOURCE, TARGET, told=True))
        total_s += clip.duration_s
    return requests


def compare(cpu_threads: int, runs: int) -> dict[str, Any]:
    """Both ways in turn, with so many threads per engine (0: every core)."""
    settings = StsSettings(profile="cpu", cpu_threads=cpu_threads)
    engines = build_engines(settings)
    pipeline = Pipeline(engines)
    pipeline.load()
    try:
        clips = asyncio.run(make_clips(pipeline, SOURCE, ENGLISH))
        requests = minute(clips)
        rows = []
        for _ in range(runs):
            serial = timed(lambda: [one_after_another(engines, request) for request in requests])
            parallel = timed(lambda: asyncio.run(overlapped(pipeline, requests)))
            gain = round(serial["wall_s"] / parallel["wall_s"], 3)
            rows.append({"gain": gain, "one_after_another": serial, "overlapped": parallel})
    finally:
        pipeline.close()
    rows.sort(key=lambda row: row["gain"])
    return {
        "threads_per_engine": cpu_threads or len(os.sched_getaffinity(0)),
        "fragments": len(requests),
        "audio_s": round(float(np.sum([request.audio.duration_ms for request in requests])) / 1_000, 1),
        "gain_of_every_run": [row["gain"] for row in rows],
        **rows[runs // 2],
    }


def measure(runs: int = 3, threads: tuple[int, ...] = (1, 0)) -> dict[str, Any]:
    """With one thread per engine and with all."""
    return {
        "what": "a minute of speech, overlapping stages over the same engines one after another",
        "machine": machine(),
        "in_flight": IN_FLIGHT,
        "rows": [compare(count, runs) for count in threads],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="default 3")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 0], help="per engine; 0: every core")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.runs, tuple(options.threads)), indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
