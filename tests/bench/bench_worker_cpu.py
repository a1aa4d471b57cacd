"""CPU of the stream worker against ffmpeg doing the same media work: `python tests/bench/bench_worker_cpu.py`.

Four 720p30 streams with B-frames, speech over music (silence would flatter whoever encodes it least). The worker (mock
STS; separation off, then on, then off with three languages more) and `ffmpeg -c:v copy -c:a aac`
take turns on the same live streams; each turn is measured for the same time once everything runs. Prints JSON:
CPU seconds per stream-second of each turn, medians, and the ratio, which is what to quote.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from local.media_servers.base import MediaServer, MediaServerOptions  # noqa: E402
from local.media_servers.nginx_rtmp import NginxRtmp  # noqa: E402
from local.ports import free_ports  # noqa: E402
from local.processes import ChildProcess, ProcessSpec, Supervisor, http_ready  # noqa: E402
from local.publisher import publisher_argv  # noqa: E402
from local.rtmp_url import ffmpeg_play_args, ffmpeg_publish_args  # noqa: E402

STREAMS = 4
MORE_LANGUAGES = "fr,de,it"
WARM_UP_S = 12.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(processes: list[ChildProcess], window_s: float) -> float:
    """CPU seconds per second and process, over a window after the warm-up."""
    await asyncio.sleep(WARM_UP_S)
    before = [cpu_seconds(process.pid) for process in processes]
    await asyncio.sleep(window_s)
    used = [cpu_seconds(process.pid) - start for process, start in zip(processes, before, strict=True)]
    return sum(used) / len(used) / window_s


async def demo_clip() -> Path:
    """The demo's own input, made on first use by its own program."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.demo_clip", "--seconds", "60"),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return Path(json.loads(out)["clip"])


class Bench:
    """Live streams, and the two kinds of process that take turns on them."""

    def __init__(self, supervisor: Supervisor, server: MediaServer, sts_port: int, folder: Path) -> None:
        self._supervisor = supervisor
        self._server = server
        self._sts_port = sts_port
        self._folder = folder

    async def publish(self) -> None:
        clip = await demo_clip()
        for number in range(STREAMS):
            argv = publisher_argv(clip, self._server.publish_url(f"s{number}"), loop=True)
            await self._supervisor.start(ProcessSpec(f"publisher-{number}", argv))

    async def start_sts(self) -> None:
        env = {"STS_PROFILE": "mock", "STS_MOCK_DELAY_MS": "200", "STS_API_PORT": str(self._sts_port)}
        spec = ProcessSpec("sts", [sys.executable, "-m", "gpu_handler", "serve"], env=env, cwd=REPOSITORY)
        await self._supervisor.start(spec, ready=http_ready(f"http://127.0.0.1:{self._sts_port}/health"))

    async def worker_turn(self, separation: str, window_s: float, *, more: str = "") -> float:
        specs = [self._worker(number, separation, more) for number in range(STREAMS)]
        return await self._turn(specs, window_s)

    async def ffmpeg_turn(self, window_s: float) -> float:
        return await self._turn([self._ffmpeg(number) for number in range(STREAMS)], window_s)

    async def _turn(self, specs: list[ProcessSpec], window_s: float) -> float:
        running = [await self._supervisor.start(spec) for spec in specs]
        try:
            return await measure(running, window_s)
        finally:
            for process in running:
                await self._supervisor.stop(process)

    def _worker(self, number: int, separation: str, more: str) -> ProcessSpec:
        env = {
            "WORKER_STREAM_ID": f"s{number}",
            "WORKER_INPUT_URL": self._server.play_url(f"s{number}", "in"),
            "WORKER_OUTPUT_URL": self._server.publish_url(f"s{number}", "out"),
            "STS_SERVICE_URL": f"http://127.0.0.1:{self._sts_port}",
            "WORKER_SOURCE_LANGUAGE": "es",
            "WORKER_MORE_TARGETS": more,
            "WORKER_DELAY_MS": "4000",
            "WORKER_STS_BUDGET_MS": "1000",
            "WORKER_SEPARATION": separation,
            "WORKER_STATE_DIR": str(self._folder / "state"),
        }
        argv = [sys.executable, "-m", "media_edge.worker", "run"]
        return ProcessSpec(f"worker-{number}", argv, env=env, cwd=REPOSITORY, stop_timeout_s=1)

    def _ffmpeg(self, number: int) -> ProcessSpec:
        source = ffmpeg_play_args(self._server.play_url(f"s{number}", "in"))
        target = ffmpeg_publish_args(self._server.publish_url(f"s{number}", "out"))
        argv = ["ffmpeg", "-v", "error", "-nostdin", *source]
        argv += ["-c:v", "copy", "-c:a", "aac", "-b:a", "128k", *target]
        return ProcessSpec(f"ffmpeg-{number}", argv, stop_timeout_s=5)


async def run(rounds: int, window_s: float) -> dict[str, object]:
    turns: dict[str, list[float]] = {
        "worker": [],
        "ffmpeg": [],
        "worker_separating": [],
        "worker_languages": [],
    }
    with tempfile.TemporaryDirectory(prefix="livedub-bench-") as name:
        folder = Path(name)
        rtmp_port, http_port, sts_port = free_ports(3)
        async with Supervisor(folder / "logs") as supervisor:
            server = NginxRtmp(MediaServerOptions(folder / "server", rtmp_port, http_port), supervisor)
            await server.start()
            bench = Bench(supervisor, server, sts_port, folder)
            await bench.start_sts()
            await bench.publish()
            for _ in range(rounds):
                turns["worker"].append(await bench.worker_turn("off", window_s))
                turns["ffmpeg"].append(await bench.ffmpeg_turn(window_s))
                turns["worker_separating"].append(await bench.worker_turn("dfn3", window_s))
                turns["worker_languages"].append(
                    await bench.worker_turn("off", window_s, more=MORE_LANGUAGES)
                )
            await server.stop()
    medians = {kind: statistics.median(values) for kind, values in turns.items()}
    return {
        "streams": STREAMS,
        "window_s": window_s,
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()},
        "cpu_share_of_a_core_per_stream": {
            kind: [round(v, 4) for v in values] for kind, values in turns.items()
        },
        "median": {kind: round(value, 4) for kind, value in medians.items()},
        "worker_over_ffmpeg": round(medians["worker"] / medians["ffmpeg"], 2),
        "language_adds_share_of_a_core": round(
            (medians["worker_languages"] - medians["worker"]) / len(MORE_LANGUAGES.split(",")), 4
        ),
        "separation_adds_share_of_a_core": round(medians["worker_separating"] - medians["worker"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(asyncio.run(run(arguments.rounds, arguments.window_s)), indent=2)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
