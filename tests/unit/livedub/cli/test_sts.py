from __future__ import annotations

import asyncio
import json
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from livedub.audio.clip import write_wav
from livedub.cli.sts import sts
from tests.contract.sts_rig import BOUND_S, ScriptedPipeline, service

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service in a thread of its own: the command runs an event loop itself."""
    ready, urls, loops = threading.Event(), [], []

    async def serve() -> None:
        over = asyncio.Event()
        loops.append((asyncio.get_running_loop(), over))
        async with service(ScriptedPipeline(), api_keys=[KEY]) as running:
            urls.append(running.url)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(BOUND_S)
        yield urls[0]
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join(BOUND_S)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    t = np.arange(22_050) / 22_050
    write_wav(path, (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 22_050)
    return path


def invoke(*arguments: object, **env: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(sts)
    nowhere = "http://127.0.0.1:9/v2"
    result = CliRunner(
        env={"COLUMNS": "200", "STS_API_KEY": KEY, "STS_RUNPOD_BASE_URL": nowhere, **env}
    ).invoke(app, [str(part) for part in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_shows_texts_stages_and_total(url: str, clip: Path, tmp_path: Path):
    out = tmp_path / "dub.wav"
    code, said, errors = invoke(clip, "--source", "es", "--target", "en", "--url", url, "--out", out)
    assert (code, errors) == (0, "")
    for word in (
        "Buenas noches.",
        "Good evening.",
        "tempo 1.00",
        "1.00 s of audio",
        "asr",
        "tts",
        "fit",
        "total",
    ):
        assert word in said
    assert f"written: {out}" in said
    with wave.open(str(out)) as written:
        assert (written.getframerate(), written.getnchannels(), written.getnframes()) == (24_000, 1, 24_000)


def test_json_is_the_answer_without_its_audio(url: str, clip: Path):
    code, said, _ = invoke(clip, "--url", url, "--json")
    assert code == 0
    answer = json.loads(said)
    assert answer["status"] == "success"
    assert "data_base64" not in answer["dubs"][0]["audio"]
    assert answer["round_trip_ms"] > 0
    assert answer["rtf"] == pytest.approx(answer["round_trip_ms"] / 1_000, abs=0.001)


def test_several_languages_as_they_are_ready(url: str, clip: Path):
    code, said, errors = invoke(
        clip, "--url", url, "--target", "en", "--target", "fr", "--voice", "fr/x", "--stream"
    )
    assert (code, errors) == (0, "")
    for word in ("text en, fr after", "audio en after", "audio fr after"):
        assert word in said


def test_without_a_url_a_service_is_started_for_the_clip(clip: Path):
    code, said, errors = invoke(clip, "--json", STS_PROFILE="mock", STS_SERVICE_URL="")
    assert (code, errors) == (0, "")
    answer = json.loads(said)
    assert answer["transcript"]["text"].startswith("mock fragment")
    assert answer["dubs"][0]["audio"]["duration_ms"] == 1_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target", "de"), "no dubbing from 'es' into 'de'"),
        (("--source", "Spanish"), "is no language"),
        (("--voice", "es/ef_dora"), "does not speak 'en'"),
        (("--api-key", "wrong"), "STS_API_KEY"),
        (("--url", "http://127.0.0.1:9"), "cannot be reached"),
        (("--url", "runpod://abc"), "cannot be reached"),
        (("--url", "runpod://abc/run"), "names no RunPod endpoint"),
        (("--url", "ftp://abc"), "runpod://ENDPOINT_ID"),
        (("--target", "en", "--target", "en"), "name a language twice"),
        (("--out", "/nowhere/x.wav"), "/nowhere/x.wav cannot be written"),
    ],
)
def test_a_mistake_is_one_line(url: str, clip: Path, arguments: tuple[str, ...], says: str):
    code, said, errors = invoke(clip, "--url", url, *arguments)
    assert (code, said) == (1, "")
    assert errors.startswith("livedub sts: ")
    assert says in errors
    assert len(errors.splitlines()) == 1


def test_a_long_clip_is_refused_before_anything_is_started(tmp_path: Path):
    path = tmp_path / "long.wav"
    write_wav(path, np.zeros(31 * 8_000, dtype=np.float32), 8_000)
    code, _, errors = invoke(path)
    assert code == 1
    assert "longer than 30 s" in errors
    assert "ffmpeg" in errors
