"""Measures speech to speech on this machine: `python tests/bench/bench_sts.py [--sweep] [--out FILE]` prints JSON.

Spoken by packaged voices over generated music, 6 dB under the speech, in fragments as the worker cuts them. Speech
that a machine made is easier than people: the word error rates are for comparing one version with the next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpu_handler.engines.base import Samples, Utterance
from gpu_handler.engines.calibration import audible_range
from gpu_handler.engines.whisper import WhisperTranscriber
from gpu_handler.guards import words_of
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.resample import resample
from livedub.sts.contract import (
    AudioFormat,
    SpeechSpan,
    Status,
    StsConfig,
    StsRequest,
    StsResult,
    Target,
)
from tests.bench.machine_load import Bystanders, cpu_seconds, machine
from tests.bench.sts_sentences import ENGLISH, SPANISH
from tests.unit.gpu_handler.sounds import music

RATE_HZ = 16_000
LEAD_MS = 240
TAIL_MS = 160
MUSIC_UNDER_SPEECH_DB = 6.0
VOICES = {"es": ("es/em_alex", "es/ef_dora"), "en": ("en/af_heart", "en/am_michael")}
IN_FLIGHT = 2


@dataclass(frozen=True)
class Clip:
    """A sentence as a fragment over music, and what is known about it."""

    spoken: str
    expected: str
    fragment: Samples
    speech_start_ms: float
    speech_end_ms: float

    @property
    def duration_s(self) -> float:
        return len(self.fragment) / RATE_HZ


@dataclass
class Row:
    """What came of one clip."""

    told: bool
    wall_s: float
    cpu_s: float
    audio_s: float
    timings: dict[str, float]
    onset_error_ms: float | None
    tempo: float
    errors: dict[str, tuple[int, int]] = field(default_factory=dict)
    recall: tuple[int, int] = (0, 0)
    heard_recall: tuple[int, int] = (0, 0)
    texts: dict[str, str] = field(default_factory=dict)


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """Edits (substitutions, insertions, deletions) and the number of reference words."""
    wanted, got = words_of(reference), words_of(heard)
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1], len(wanted)


def content_recall(expected: str, text: str) -> tuple[int, int]:
    """Content words found in `text`, and how many were looked for."""
    words = set(words_of(text))
    wanted = [set(choice.split("|")) for choice in expected.split()]
    return sum(1 for choices in wanted if choices & words), len(wanted)


def over_music(speech: Samples, seed: int) -> Samples:
    bed = music(len(speech) / RATE_HZ + 1, RATE_HZ, seed)[: len(speech)]
    loud = speech[np.abs(speech) > 0.02]
    gain = np.sqrt(np.mean(loud**2) / np.mean(bed**2)) * 10 ** (-MUSIC_UNDER_SPEECH_DB / 20)
    mixed = speech + gain * bed
    return (mixed / max(1.0, float(np.abs(mixed).max()) / 0.97)).astype(np.float32)


async def make_clips(pipeline: Pipeline, language: str, sentences: tuple[tuple[str, str], ...]) -> list[Clip]:
    clips = []
    for index, (spoken, expected) in enumerate(sentences):
        voice = VOICES[language][index % len(VOICES[language])]
        speech = await pipeline.speak(spoken, voice)
        dry = resample(speech.samples, speech.sample_rate_hz, RATE_HZ)
        start, end = audible_range(dry)
        dry = dry[start:end]
        dry *= 0.4 / float(np.abs(dry).max())
        lead, tail = RATE_HZ * LEAD_MS // 1000, RATE_HZ * TAIL_MS // 1000
        padded = np.concatenate([np.zeros(lead), dry, np.zeros(tail)]).astype(np.float32)
        end_ms = LEAD_MS + len(dry) * 1000 / RATE_HZ
        clips.append(Clip(spoken, expected, over_music(padded, index), LEAD_MS, end_ms))
    return clips


def request_for(clip: Clip, number: int, source: str, target: str, *, told: bool) -> StsRequest:
    """`told`: the caller says where speech lies, as the worker does; else the service finds it."""
    speech = (SpeechSpan(start_ms=round(clip.speech_start_ms), end_ms=round(clip.speech_end_ms)),)
    return StsRequest(
        fragment_id=f"bench/1/{number}",
        stream_id="bench",
        generation=1,
        sequence_number=number,
        deadline_ms=60_000,
        audio=encode_audio(clip.fragment, RATE_HZ, AudioFormat.FLAC),
        speech=speech if told else (),
        config=StsConfig(source_language=source, targets=(Target(language=target),), max_overflow_ms=300),
    )


async def measure_clip(
    pipeline: Pipeline, clip: Clip, number: int, source: str, target: str, *, told: bool
) -> Row:
    request = request_for(clip, number, source, target, told=told)
    started_s, started_cpu_s = time.perf_counter(), cpu_seconds()
    result = await pipeline.process(request)
    wall_s, cpu_s = time.perf_counter() - started_s, cpu_seconds() - started_cpu_s
    if result.status is not Status.SUCCESS or result.transcript is None:
        raise RuntimeError(f"{clip.spoken!r}: {result.error}")
    timings = result.stage_timings.model_dump()
    row = Row(
        told,
        wall_s,
        cpu_s,
        clip.duration_s,
        timings,
        None,
        1.0,
        {"asr": word_errors(clip.spoken, result.transcript.text)},
    )
    await judge_dub(pipeline, clip, result, target, row)
    return row


async def judge_dub(pipeline: Pipeline, clip: Clip, result: StsResult, target: str, row: Row) -> None:
    dub = result.dubs[0]
    heard = ""
    if dub.audio is not None:
        samples = decode_audio(dub.audio)
        onset_ms = audible_range(samples)[0] * 1000 / dub.audio.sample_rate_hz
        row.onset_error_ms = onset_ms - clip.speech_start_ms
        row.tempo = dub.tempo
        heard = (await pipeline.transcribe(samples, dub.audio.sample_rate_hz, target)).text
        row.errors["dub"] = word_errors(dub.translated_text, heard)
    row.recall = content_recall(clip.expected, dub.translated_text)
    row.heard_recall = content_recall(clip.expected, heard)
    transcript = result.transcript.text if result.transcript else ""
    row.texts = {"heard": transcript, "said": dub.translated_text, "back": heard}


async def throughput(pipeline: Pipeline, clips: list[Clip], source: str, target: str) -> float:
    """Wall time over audio time with two fragments in flight, as a live stream has."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int, clip: Clip) -> None:
        async with slots:
            await pipeline.process(request_for(clip, 1_000 + number, source, target, told=True))

    started_s = time.perf_counter()
    await asyncio.gather(*(one(number, clip) for number, clip in enumerate(clips)))
    return (time.perf_counter() - started_s) / sum(clip.duration_s for clip in clips)


def summary(rows: list[Row]) -> dict[str, object]:
    def rate(key: str) -> float:
        edits, words = (sum(row.errors.get(key, (0, 0))[i] for row in rows) for i in (0, 1))
        return round(edits / max(1, words), 3)

    def recalled(name: str) -> float:
        found, wanted = (sum(getattr(row, name)[i] for row in rows) for i in (0, 1))
        return round(found / wanted, 3)

    dubbed = [row for row in rows if row.onset_error_ms is not None]
    return {
        "fragments": len(rows),
        "dubbed": len(dubbed),
        "audio_s": round(sum(row.audio_s for row in rows), 2),
        "rtf": round(sum(row.wall_s for row in rows) / sum(row.audio_s for row in rows), 3),
        "cpu_s_per_audio_s": round(sum(row.cpu_s for row in rows) / sum(row.audio_s for row in rows), 3),
        "wall_s_median": round(statistics.median(row.wall_s for row in rows), 3),
        "wall_s_max": round(max(row.wall_s for row in rows), 3),
        "stage_ms_median": {
            name: round(statistics.median(row.timings[name] for row in rows), 1) for name in rows[0].timings
        },
        "asr_wer": rate("asr"),
        "dub_wer": rate("dub"),
        "translation_recall": recalled("recall"),
        "heard_recall": recalled("heard_recall"),
        "onset_error_ms": {
            "all": percentiles(dubbed),
            "speech_told_by_caller": percentiles([row for row in dubbed if row.told]),
            "speech_found_by_service": percentiles([row for row in dubbed if not row.told]),
        },
        "tempo": {
            "min": min(row.tempo for row in rows),
            "median": round(statistics.median(row.tempo for row in rows), 3),
            "max": max(row.tempo for row in rows),
        },
    }


def percentiles(rows: list[Row]) -> dict[str, float]:
    errors = [abs(row.onset_error_ms or 0.0) for row in rows]
    return {f"p{q}": round(float(np.percentile(errors, q)), 1) for q in (50, 95)}


async def measure() -> dict[str, object]:
    """Both directions through the real engines."""
    pipeline = Pipeline.from_settings(StsSettings(profile="cpu"))
    started_s = time.perf_counter()
    pipeline.load()
    report: dict[str, object] = {"load_s": round(time.perf_counter() - started_s, 2)}
    try:
        for source, target, sentences in (("es", "en", SPANISH), ("en", "es", ENGLISH)):
            clips = await make_clips(pipeline, source, sentences)
            bystanders = Bystanders()
            rows = [
                await measure_clip(pipeline, clip, number, source, target, told=number % 2 == 0)
                for number, clip in enumerate(clips)
            ]
            direction = summary(rows)
            direction["cores_used_by_others"] = bystanders.cores
            bystanders = Bystanders()
            direction["rtf_two_in_flight"] = round(await throughput(pipeline, clips, source, target), 3)
            direction["cores_used_by_others_two_in_flight"] = bystanders.cores
            direction["texts"] = [row.texts for row in rows]
            report[f"{source}->{target}"] = direction
    finally:
        pipeline.close()
    return report


async def sweep_whisper() -> list[dict[str, float]]:
    """Whisper's word error rate, translation and time by encoder context and beam size, on the Spanish clips."""
    pipeline = Pipeline.from_settings(StsSettings(profile="cpu"))
    pipeline.load()
    try:
        clips = await make_clips(pipeline, "es", SPANISH)
    finally:
        pipeline.close()
    contexts = [StsSettings(whisper_context_ms=ms) for ms in (6_000, 8_000, 10_000, 12_000, 15_000, 30_000)]
    beams = [StsSettings(whisper_beam_size=size) for size in (1, 3, 5)]
    return [try_whisper(settings, clips) for settings in (*contexts, *beams)]


def try_whisper(settings: StsSettings, clips: list[Clip]) -> dict[str, float]:
    """One recogniser over all clips: how well, how fast."""
    whisper = WhisperTranscriber(settings)
    whisper.load()
    edits = words = good = wanted = 0
    started_s, started_cpu_s = time.perf_counter(), cpu_seconds()
    for clip in clips:
        (answer,) = whisper.transcribe([Utterance(clip.fragment, "es", frozenset({"en"}))])
        wrong, spoken = word_errors(clip.spoken, answer.text)
        hits, sought = content_recall(clip.expected, answer.translations["en"])
        edits, words, good, wanted = edits + wrong, words + spoken, good + hits, wanted + sought
    spent_s, spent_cpu_s = time.perf_counter() - started_s, cpu_seconds() - started_cpu_s
    whisper.close()
    return {
        "context_ms": settings.whisper_context_ms,
        "beam_size": settings.whisper_beam_size,
        "asr_wer": round(edits / words, 3),
        "translation_recall": round(good / wanted, 3),
        "ms_per_fragment": round(spent_s * 1000 / len(clips), 1),
        "cpu_ms_per_fragment": round(spent_cpu_s * 1000 / len(clips), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sweep", action="store_true", help="measure Whisper by encoder context and beam size instead"
    )
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    before = machine()
    result: object = asyncio.run(sweep_whisper()) if arguments.sweep else asyncio.run(measure())
    text = json.dumps({"machine": before, "result": result}, indent=2, ensure_ascii=False)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    print(text)  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
