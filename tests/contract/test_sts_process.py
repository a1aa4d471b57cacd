"""The STS service as a process: what it prints, how it ends, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from livedub.audio.clip import write_wav
from livedub.sts.http_client import HttpSts
from tests.unit.livedub.sts.exchanges import request

BOUND_S = 60.0
READY = re.compile(rb"STS ready on (http://127\.0\.0\.1:\d+): .*mock")
SERVE = ["-m", "gpu_handler", "serve", "--profile", "mock", "--port", "0"]
STUCK = """
from gpu_handler.server import DrainLimits, StsServer
from gpu_handler.settings import StsSettings
settings = StsSettings(profile="mock", api_port=0, mock_delay_ms=60_000)
raise SystemExit(StsServer(settings, drain=DrainLimits(fragments_s=1, engines_s=0.5)).run())
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, *sys.argv[1:]], stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(60)
"""


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STS_")}
    return {**kept, **extra}


@contextlib.asynccontextmanager
async def started(*arguments: str, **env: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=PIPE, stderr=PIPE, env=environment(**env)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_url(process: Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), BOUND_S)
    match = READY.match(line)
    assert match is not None, line
    return match[1].decode()


async def ended(process: Process) -> tuple[int, str]:
    """Exit code and what it said on stderr."""
    _, errors = await asyncio.wait_for(process.communicate(), BOUND_S)
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def under_way(url: str) -> None:
    """Return when a fragment is being worked on."""
    until_s = time.monotonic() + BOUND_S
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        while "livedub_sts_running 1.0" not in (await http.get("/metrics")).text:
            assert time.monotonic() < until_s


async def run(*arguments: str, **env: str) -> tuple[int, str, str]:
    async with started("-m", "gpu_handler", *arguments, **env) as process:
        out, errors = await asyncio.wait_for(process.communicate(), BOUND_S)
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()


class TestServe:
    async def test_says_once_when_it_is_ready_and_ends_with_0(self):
        async with started(*SERVE) as process:
            sts = HttpSts(await ready_url(process))
            assert (await sts.health()).ready
            await sts.process(request(deadline_ms=10_000))
            await sts.aclose()
            process.terminate()
            out, errors = await asyncio.wait_for(process.communicate(), BOUND_S)
        assert process.returncode == 0
        assert out == b""
        lines = [json.loads(line) for line in errors.decode().splitlines()]
        assert {"ts", "level", "logger", "message"} <= lines[0].keys()
        dubbed = next(line for line in lines if line["message"].startswith("fragment dubbed"))
        assert (dubbed["stream_id"], dubbed["generation"], dubbed["fragment_id"]) == (
            "stadium",
            3,
            "stadium/3/7",
        )

    async def test_small_answers_do_not_wait_for_acknowledgements(self):
        took_s: list[float] = []
        async with started(*SERVE) as process:
            url = await ready_url(process)
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                for _ in range(20):
                    began_s = time.perf_counter()
                    assert (await http.post("/api/v1/sts/process", content=b"{}")).status_code == 400
                    took_s.append(time.perf_counter() - began_s)
        assert min(took_s[5:]) < 0.03  # Nagle's algorithm would make each of them 40 ms

    async def test_sigterm_lets_fragments_under_way_finish(self):
        async with started(*SERVE, STS_MOCK_DELAY_MS="700") as process:
            url = await ready_url(process)
            sts = HttpSts(url)
            call = asyncio.create_task(sts.process(request(deadline_ms=20_000)))
            await under_way(url)
            process.terminate()
            assert (await asyncio.wait_for(call, BOUND_S)).dubs
            code, _ = await ended(process)
            await sts.aclose()
        assert code == 0

    async def test_an_engine_that_does_not_stop_is_left_behind(self):
        started_s = time.monotonic()
        async with started("-c", STUCK) as process:
            url = await ready_url(process)
            sts = HttpSts(url)
            call = asyncio.create_task(sts.process(request(deadline_ms=60_000)))
            await under_way(url)
            process.terminate()
            code, errors = await ended(process)
            await asyncio.wait_for(asyncio.gather(call, return_exceptions=True), BOUND_S)
            await sts.aclose()
        assert code == 0
        assert "did not stop within 0.5 s" in errors
        assert time.monotonic() - started_s < 20

    async def test_dies_with_its_parent(self):
        async with started("-c", PARENT, *SERVE, "--die-with-parent") as parent:
            assert parent.stdout is not None
            pid = int(await asyncio.wait_for(parent.stdout.readline(), BOUND_S))
            try:
                await ready_url(parent)
                parent.send_signal(signal.SIGKILL)
                # The end of the pipe: nobody holds its other side any more, neither parent nor service.
                assert await asyncio.wait_for(parent.stdout.read(), BOUND_S) == b""
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def test_a_taken_port_is_one_line_and_code_4(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, out, errors = await run("serve", "--profile", "mock", "--port", port)
        assert (code, out) == (4, "")
        assert errors.startswith(f"error: cannot listen on 127.0.0.1:{port} (STS_API_HOST, STS_API_PORT): ")
        assert len(errors.splitlines()) == 1

    async def test_missing_models_end_it_with_3_and_the_remedy(self, tmp_path: Path):
        code, out, errors = await run("serve", "--port", "0", STS_MODEL_DIR=str(tmp_path))
        assert (code, out) == (3, "")
        problem = next(line for line in map(json.loads, errors.splitlines()) if line["level"] == "error")
        assert "make setup" in problem["message"]

    @pytest.mark.parametrize(
        ("env", "says"),
        [
            ({"STS_API_PORT": "99999"}, "STS_API_PORT"),
            ({"STS_PROFILE": "tpu"}, "STS_PROFILE"),
            ({"STS_MOCK_SCRIPT": "nonsense", "STS_PROFILE": "mock"}, "STS_MOCK_SCRIPT"),
        ],
    )
    async def test_a_wrong_setting_is_named_with_code_2(self, env: dict[str, str], says: str):
        code, out, errors = await run("serve", **env)
        assert (code, out) == (2, "")
        assert errors.startswith("error: ")
        assert says in errors
        assert len(errors.splitlines()) == 1

    async def test_the_key_never_reaches_the_log(self):
        key = "correct-horse-battery"
        async with started(*SERVE, STS_API_KEY=key) as process:
            sts = HttpSts(await ready_url(process), api_key=key)
            await sts.process(request(deadline_ms=10_000))
            await sts.aclose()
            process.terminate()
            _, errors = await ended(process)
        assert "fragment dubbed" in errors
        assert key not in errors


class TestCommands:
    async def test_speak_then_transcribe(self, tmp_path: Path):
        path = tmp_path / "said.wav"
        arguments = ("--profile", "mock", "--text", "hola", "--voice", "es/mock", "--out", str(path))
        code, out, errors = await run("speak", *arguments)
        assert (code, errors) == (0, "")
        assert out == f"{path}: 0.50 s at speed 1.00, 16000 Hz\n"
        code, out, _ = await run("transcribe", "--profile", "mock", str(path), "--language", "es", "--json")
        assert code == 0
        heard = json.loads(out)
        assert (heard["language"], heard["segments"][0]["end_ms"]) == ("es", 500)
        assert heard["text"].startswith("mock fragment")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("speak", "--text", "a", "--voice", "xx/nobody", "--out", "x.wav"), "no voice 'xx/nobody'"),
            (("speak", "--text", " ", "--voice", "es/mock", "--out", "x.wav"), "--text is empty"),
            (
                ("speak", "--text", "a", "--voice", "es/mock", "--speed", "0", "--out", "x.wav"),
                "--speed is 0",
            ),
            (("speak", "--text", "a", "--voice", "es/mock", "--out", "/nowhere/x.wav"), "/nowhere/x.wav"),
            (("transcribe", "/nowhere/clip.wav"), "/nowhere/clip.wav cannot be read"),
            (("models", "list", "nonesuch"), "model 'nonesuch' is not in the registry"),
        ],
    )
    async def test_a_mistake_is_one_line_and_code_2(self, arguments: tuple[str, ...], says: str):
        code, out, errors = await run(*arguments, STS_PROFILE="mock")
        assert (code, out) == (2, "")
        assert errors.startswith("error: ")
        assert says in errors
        assert len(errors.splitlines()) == 1

    async def test_too_long_a_clip_is_refused(self, tmp_path: Path):

        path = tmp_path / "long.wav"
        write_wav(path, np.zeros(31 * 8_000, dtype=np.float32), 8_000)
        code, _, errors = await run("transcribe", "--profile", "mock", str(path))
        assert code == 2
        assert "longer than 30 s" in errors

    async def test_models_absent_are_listed_and_fail_verification(self, tmp_path: Path):
        code, out, _ = await run("models", "list", STS_MODEL_DIR=str(tmp_path))
        assert code == 0
        assert "whisper-base" in out
        assert set(re.findall(r"\b(present|absent)\b", out)) == {"absent"}
        code, _, errors = await run("models", "verify", "whisper-base", STS_MODEL_DIR=str(tmp_path))
        assert code == 3
        assert errors.startswith("error: model whisper-base: ")

    async def test_help_names_commands_and_exit_codes(self):
        code, out, _ = await run("--help")
        assert code == 0
        for word in ("serve", "transcribe", "speak", "models", "exit codes"):
            assert word in out
