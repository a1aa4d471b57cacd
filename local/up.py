"""`python -m local up`: the stack without a publisher, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from local.media_servers.base import MediaServer
from local.processes import ChildProcess, ProcessError
from local.rtmp_url import ffmpeg_play_args, ffmpeg_publish_args
from local.stack import Stack, StackOptions, WorkerEvent, WorkerKeeper

DEFAULT_RTMP_PORT = 1935
DEFAULT_HTTP_PORT = 8888


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What runs. `stream_id` is only what the printed URLs name: any stream that is published gets a worker."""

    stream_id: str = "demo"
    out: Path = Path("out/up")
    stack: StackOptions = field(default_factory=StackOptions)


async def run_up(options: UpOptions, console: Console) -> None:
    """Run until cancelled.

    Raises:
        LivedubError: something could not be started, or the media server or the STS service ended.
    """
    out = options.out.resolve()
    with tempfile.TemporaryDirectory(prefix="livedub-") as run_dir:
        console.print("Starting media server and speech service (the models take a moment).")
        stack = Stack(options.stack, run_dir=Path(run_dir), log_dir=out / "logs")
        async with stack:
            _print_urls(console, stack.server, options)
            keeper = WorkerKeeper(
                stack, lambda stream_id, event: _print_event(console, stream_id, event), events_dir=out
            )
            await _run_beside(keeper, stack.supervisor.children)


async def _run_beside(keeper: WorkerKeeper, vital: tuple[ChildProcess, ...]) -> None:
    """Keep workers running until cancelled, or until a process nothing works without has ended."""
    keeping = asyncio.create_task(keeper.run(), name="worker keeper")
    ends = {asyncio.create_task(child.wait(), name=child.name): child for child in vital}
    everything: set[asyncio.Task[Any]] = {keeping, *ends}
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        for task, child in ends.items():
            if task.done():
                raise ProcessError(child.describe_end())
        keeping.result()
    finally:
        for task in everything:
            task.cancel()
        await asyncio.wait(everything)


def _print_urls(console: Console, server: MediaServer, options: UpOptions) -> None:
    stream_id = options.stream_id
    obs_server, obs_key = server.obs_settings(stream_id)
    publish = ffmpeg_publish_args(server.publish_url(stream_id))
    play = ffmpeg_play_args(server.play_url(stream_id, "out"))
    spoken = f"{options.stack.source} to {options.stack.target}, {options.stack.delay_ms / 1000:g} s later"
    lines = [
        f"[bold green]livedub is up[/]: {spoken} ({server.kind}). Ctrl-C ends it.",
        "",
        "[bold]Publish[/]",
        f"  OBS     Settings > Stream > Custom: Server {obs_server}  Stream Key {obs_key}",
        f"  ffmpeg  {escape(shlex.join(['ffmpeg', '-re', '-i', 'INPUT.mp4', '-c', 'copy', *publish]))}",
        "[bold]Watch[/]",
        f"  browser {server.watch_url(stream_id)}",
        f"  HLS     {server.hls_url(stream_id)}",
        f"  ffplay  {escape(shlex.join(['ffplay', *play]))}",
    ]
    if server.host != options.stack.bind:
        lines.append(f"Other machines name this machine's address instead of {server.host}.")
    # Not boxed and not wrapped: these lines are there to be copied.
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _print_event(console: Console, stream_id: str, event: WorkerEvent) -> None:
    kind = event.get("event")
    if kind == "state":
        console.print(f"[cyan]{stream_id}[/] {event.get('state')}")
    elif kind == "fragment":
        _print_fragment(console, stream_id, event)
    elif kind == "worker_ended":
        console.print(f"[cyan]{stream_id}[/] worker ended with exit code {event.get('exit_code')}")
    elif kind == "worker_failed":
        console.print(f"[red]{stream_id}[/] {escape(str(event.get('detail')))}")


def _print_fragment(console: Console, stream_id: str, event: dict[str, Any]) -> None:
    transcript = escape(str(event.get("transcript") or "-"))
    translated = escape(str(event.get("translated_text") or f"({event.get('rung')}: {event.get('reason')})"))
    console.print(
        f"[cyan]{stream_id}[/] [dim]{transcript}[/] > {translated}", highlight=False, soft_wrap=True
    )
