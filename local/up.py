"""`python -m local up`: the stack without a publisher, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from livedub.cli.api_access import shared_access
from livedub.cli.library_access import shared_library
from local.control_plane import ControlPlane
from local.demo_view import state_in_words
from local.library_stack import Library
from local.media_servers.base import MediaServer
from local.rtmp_url import ffmpeg_play_args, ffmpeg_publish_args
from local.stack import CACHE_FOLDER, AgentEvent, Stack, StackOptions

LIBRARY_FOLDER = "library"
"""Where files and catalogue of a run's library stay for the next one, beside its results."""

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
        LivedubError: something could not be started, or a process that nothing works without ended.
    """
    out = options.out.resolve()
    with tempfile.TemporaryDirectory(prefix="livedub-") as run_dir:
        console.print("Starting control plane, media server and speech service (the models take a moment).")
        stack = Stack(
            options.stack,
            run_dir=Path(run_dir),
            log_dir=out / "logs",
            events_dir=out,
            on_event=lambda event: _print_event(console, event),
            cache_dir=out / CACHE_FOLDER,
        )
        async with stack:
            with ExitStack() as shared:
                shared.enter_context(shared_access(stack.control.access, os.environ))
                _print_urls(console, stack.server, stack.control, options)
                if stack.library is not None:
                    shared.enter_context(shared_library(stack.library.environment, os.environ))
                    _print_library(console, stack.library)
                if stack.media_cache is not None:
                    kept = f"{stack.media_cache.url}, speech stays in {options.out / CACHE_FOLDER}"
                    console.print(f"[bold]Media cache[/] {escape(kept)}", soft_wrap=True, highlight=False)
                await stack.supervisor.until_one_ends()


def _print_urls(console: Console, server: MediaServer, control: ControlPlane, options: UpOptions) -> None:
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
        "[bold]Steer[/]",
        "  livedub streams list    (finds this by itself; for another user or machine:)",
        *(f"  {escape(line)}" for line in control.access.export_lines()),
    ]
    if server.host != options.stack.bind:
        lines.append(f"Other machines name this machine's address instead of {server.host}.")
    # Not boxed and not wrapped: these lines are there to be copied.
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _print_library(console: Console, library: Library) -> None:
    buckets = f"{library.store.bucket_in}, {library.store.bucket_out}"
    lines = [
        f"[bold]Library[/]  {library.url}/api/, /graphql, files below /media/in/ and /media/out/",
        f"  S3      {library.store.endpoint_url} (buckets {buckets})",
        "  livedub library put FILE, scan, ls, job ...    (finds this by itself)",
    ]
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _print_event(console: Console, event: AgentEvent) -> None:
    stream_id = event.get("stream_id")
    if not stream_id:
        return
    kind = event.get("event")
    text = ""
    if kind == "state":
        text = escape(state_in_words(event))
    elif kind == "fragment":
        transcript = escape(str(event.get("transcript") or "-"))
        said = escape(str(event.get("translated_text") or f"({event.get('rung')}: {event.get('reason')})"))
        text = f"[dim]{transcript}[/] > {said}{' [dim](cached)[/]' if event.get('cache_hit') else ''}"
    elif kind == "worker_started":
        text = f"worker of generation {event.get('generation')} starts"
    elif kind == "worker_ended":
        text = f"worker ended: {escape(str(event.get('outcome')))} (exit code {event.get('exit_code')})"
    elif kind == "fenced":
        text = "[red]fenced[/]: another worker has taken over"
    if text:
        console.print(f"[cyan]{escape(str(stream_id))}[/] {text}", highlight=False, soft_wrap=True)
