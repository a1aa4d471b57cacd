"""`python -m local demo`: a stream dubbed and verified from end to end on this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from livedub.cli.api_access import shared_access
from livedub.cli.verify import checks_table
from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.subtitles import cues_from_events, render_webvtt
from livedub.verify.json_lines import read_json_lines
from local.broadcast import GRACE_MS, Broadcast, BroadcastFiles, broadcast, prepare_clip, verify
from local.clips import to_mp4
from local.demo_view import DemoView
from local.processes import Supervisor
from local.stack import CACHE_FOLDER, Stack, StackOptions


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to dub, and where the results go."""

    seconds: int = 60
    input: Path | None = None
    out: Path = Path("out/demo")
    page: bool = True
    stack: StackOptions = field(default_factory=StackOptions)


async def run_demo(options: DemoOptions, console: Console) -> bool:
    """Run the demo; return whether everything that was measured cleared its bar.

    Raises:
        InvalidInputError: the input cannot be dubbed, or the output folder not be used.
        LivedubError: something could not be started, or ended before its time.
    """
    files = BroadcastFiles(options.out.resolve())
    if options.input is not None and options.input.resolve().is_relative_to(files.out):
        raise InvalidInputError(
            f"--input {options.input} lies in --out, which is cleared first.", remedy="Give another folder."
        )
    files.clear()
    # The verifier looks for each dub in what came out, so it needs the dubs as they were before mixing.
    worker_env = {**options.stack.worker_env, "WORKER_DUMP_DIR": str(files.fragments)}
    stack_options = replace(options.stack, grace_ms=GRACE_MS, worker_env=worker_env)
    sent = Broadcast(seconds=options.seconds, input=options.input, stack=options.stack)
    with tempfile.TemporaryDirectory(prefix="livedub-") as run_dir, DemoView(console) as view:
        async with Supervisor(files.out / "logs") as steps:
            view.step("Preparing the clip")
            clip = await prepare_clip(sent, files, steps)
            view.step("Starting control plane, media server and speech service (the models take a moment)")
            stack = Stack(
                stack_options,
                run_dir=Path(run_dir),
                log_dir=files.out / "logs",
                events_dir=Path(run_dir) / "events",
                on_event=view.hear,
                cache_dir=files.out / CACHE_FOLDER,
            )
            async with stack:
                with shared_access(stack.control.access, os.environ):
                    await broadcast(stack, clip, sent, files, view.step)
            view.step("Verifying what was recorded")
            report = await verify(files, sent, steps)
            view.step("Writing the results")
            await _write_results(files, report, options, steps)
        view.table(checks_table(report))
    for name, reason in report["reasons"].items():
        console.print(f"[dim]{name}: {reason}[/dim]", highlight=False)
    page = f", {options.out / 'report.html'}" if options.page else ""
    console.print(f"{options.out / 'out.mp4'}, {options.out / 'report.json'}{page}", highlight=False)
    return bool(report["verified"])


async def _write_results(
    files: BroadcastFiles, report: dict[str, Any], options: DemoOptions, steps: Supervisor
) -> None:
    await to_mp4(steps, files.input_flv, files.out / "in.mp4")
    await to_mp4(steps, files.output_flv, files.out / "out.mp4")
    cues = cues_from_events(
        (event for _, event in read_json_lines(files.events)),
        delay_ns=options.stack.delay_ms * NS_PER_MS,
        recording_start_ns=round(report["output_start_ms"] * NS_PER_MS),
    )
    (files.out / "out.vtt").write_text(render_webvtt(cues), encoding="utf-8")
    if options.page:
        from local.report.html import write_report  # noqa: PLC0415 - heavy, and not always wanted

        await asyncio.to_thread(write_report, files.out, report)
