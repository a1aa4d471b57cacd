"""A clip broadcast as a live stream through a running stack, recorded on both sides, and verified."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livedub.errors import InvalidInputError
from livedub.supervision.stream_api_client import StreamApi
from local.clips import prepare_input
from local.processes import ChildProcess, ProcessError, ProcessSpec, Supervisor
from local.publisher import publisher_argv
from local.python_child import python_spec
from local.recorder import arrivals_path
from local.stack import Stack, StackOptions
from local.steps import run_step

GRACE_MS = 1_500
"""The clip does not come back: a worker that waits longer only makes everybody wait."""

_MARKER = ".livedub-demo"

_CLIP_TIMEOUT_S = 1_500.0
_PUBLISH_MARGIN_S = 30.0
_DRAIN_MARGIN_S = 30.0
_RECORDING_END_S = 5.0
_POLL_S = 0.5
_VERIFY_TIMEOUT_S = 1_800.0
_VERIFIED, _NOT_VERIFIED = 0, 1
"""Exit codes of `livedub verify`."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What is broadcast, and how it is dubbed."""

    stream_id: str = "demo"
    seconds: int = 60
    input: Path | None = None
    stack: StackOptions = field(default_factory=StackOptions)


@dataclass(frozen=True, slots=True)
class BroadcastFiles:
    """Where everything of one broadcast lies."""

    out: Path

    @property
    def recordings(self) -> Path:
        """The recordings as they were on the wire, and their arrivals."""
        return self.out / "recordings"

    @property
    def input_flv(self) -> Path:
        """What the publisher sent."""
        return self.recordings / "in.flv"

    @property
    def output_flv(self) -> Path:
        """What viewers got."""
        return self.recordings / "out.flv"

    @property
    def events(self) -> Path:
        """The session's event log."""
        return self.out / "events.jsonl"

    @property
    def fragments(self) -> Path:
        """Each fragment's source and dub."""
        return self.out / "fragments"

    @property
    def clip_dir(self) -> Path:
        """The clip that is published, and what the verifier knows of it."""
        return self.out / "clip"

    def clear(self) -> None:
        """Make the folder ready, and remove what an earlier demo left there: nothing of it may pass for this one's.

        Raises:
            InvalidInputError: the folder holds something else, which is not ours to remove.
        """
        marker = self.out / _MARKER
        if self.out.exists() and any(self.out.iterdir()) and not marker.exists():
            raise InvalidInputError(
                f"--out {self.out} holds something else than an earlier demo.", remedy="Give a new folder."
            )
        for folder in (self.recordings, self.clip_dir, self.fragments, self.out / "logs"):
            shutil.rmtree(folder, ignore_errors=True)
        names = ("in.mp4", "out.mp4", "out.vtt", "events.jsonl", "report.json", "report.html")
        for name in names:
            (self.out / name).unlink(missing_ok=True)
        for folder in (self.recordings, self.clip_dir):
            folder.mkdir(parents=True)
        marker.write_text("livedub demo writes here, and removes what it wrote before it writes again.\n")


async def prepare_clip(options: Broadcast, files: BroadcastFiles, steps: Supervisor) -> Path:
    """The clip to publish: the beginning of the input, or one that is made from a script.

    Raises:
        InvalidInputError: the input cannot be dubbed.
        ProcessError: it could not be made.
    """
    clip = files.clip_dir / "clip.mp4"
    if options.input is not None:
        await prepare_input(steps, options.input, clip, seconds=options.seconds)
        return clip
    arguments = ("--seconds", str(options.seconds), "--out", str(files.clip_dir))
    await run_step(steps, python_spec("clip", "local.demo_clip", *arguments), _CLIP_TIMEOUT_S)
    return clip


async def broadcast(
    stack: Stack, clip: Path, options: Broadcast, files: BroadcastFiles, step: Callable[[str], None]
) -> None:
    """Publish the clip as a stream, with recorders on both sides, until everything has played out."""
    with StreamApi(stack.control.access.url, stack.control.access.token) as api:
        before = await asyncio.to_thread(_register, api, options)
        recorder = await _start_recorder(stack, options.stream_id, files)
        step(
            f"Publishing {options.seconds} s at real-time pace; out comes {options.stack.delay_ms / 1000:g} s later"
        )
        url = stack.server.publish_url(options.stream_id)
        publisher = await stack.supervisor.start(
            ProcessSpec("publisher", publisher_argv(clip, url, seconds=options.seconds))
        )
        await _expect_end(publisher, options.seconds + _PUBLISH_MARGIN_S, beside=_vital(stack, recorder))
        code = await publisher.wait()
        if code:
            raise ProcessError(publisher.describe_end())
        drain_s = (options.stack.delay_ms + GRACE_MS) / 1000 + _DRAIN_MARGIN_S
        await _expect(
            _run_over(api, options.stream_id, before),
            drain_s,
            beside=_vital(stack),
            late=lambda: f"the run of {options.stream_id} is not over",
        )
    # The recorder ends by itself when neither stream comes back; its bound is a second, so this is quick.
    await asyncio.wait({asyncio.ensure_future(recorder.wait())}, timeout=_RECORDING_END_S)
    if await stack.supervisor.stop(recorder):
        raise ProcessError(recorder.describe_end())
    if not arrivals_path(files.output_flv).stat().st_size:
        raise ProcessError(f"Nothing came out. {stack.agents[0].describe_end()}")
    shutil.copyfile(stack.events_path(options.stream_id), files.events)


def _register(api: StreamApi, options: Broadcast) -> int:
    """Create the stream with the demo's settings; return the generation before its run."""
    stack = options.stack
    settings = {
        "source_language": stack.source,
        "target_language": stack.target,
        "delay_ms": stack.delay_ms,
        "grace_ms": GRACE_MS,
        **({"voice": stack.voice} if stack.voice else {}),
    }
    return api.create(options.stream_id, settings, open_to_all=True).stream.generation


async def _run_over(api: StreamApi, stream_id: str, before: int) -> None:
    """Return when a run has been and nobody owns the stream any more."""
    while True:
        stream = (await asyncio.to_thread(api.stream, stream_id)).stream
        if stream.generation > before and stream.state == "idle":
            return
        await asyncio.sleep(_POLL_S)


async def _start_recorder(stack: Stack, stream_id: str, files: BroadcastFiles) -> ChildProcess:
    targets = (
        *(stack.server.play_url(stream_id, "in"), str(files.input_flv)),
        *(stack.server.play_url(stream_id, "out"), str(files.output_flv)),
    )
    return await stack.supervisor.start(
        python_spec("recorder", "local.recorder", *targets, "--return-s", "2", "--wait-s", "120")
    )


def _vital(stack: Stack, *children: ChildProcess) -> list[ChildProcess]:
    emulator = stack.emulator.process if stack.emulator else None
    ours = (stack.sts, emulator, stack.relay, *stack.agents)
    return [*children, *(child for child in ours if child is not None)]


async def _expect_end(child: ChildProcess, timeout_s: float, *, beside: list[ChildProcess]) -> None:
    await _expect(child.wait(), timeout_s, beside=beside, late=child.describe_end)


async def _expect(
    work: Awaitable[Any], timeout_s: float, *, beside: list[ChildProcess], late: Callable[[], str]
) -> None:
    """Wait for something while processes have to stay.

    Raises:
        ProcessError: it took too long, or one of the processes ended first.
    """
    wanted = asyncio.ensure_future(work)
    others = {asyncio.ensure_future(other.wait()): other for other in beside}
    try:
        done, _ = await asyncio.wait(
            {wanted, *others}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if wanted in done:
            wanted.result()
            return
        for ended in done:
            raise ProcessError(f"Ended too early: {others[ended].describe_end()}")
        raise ProcessError(f"This took longer than {timeout_s:.0f} s: {late()}.")
    finally:
        for task in (wanted, *others):
            task.cancel()


async def verify(files: BroadcastFiles, options: Broadcast, steps: Supervisor) -> dict[str, Any]:
    """What `livedub verify` says of the recordings; with engines that only pretend there is nothing to listen to."""
    arguments = [str(files.input_flv), str(files.output_flv), "--events", str(files.events), "--json-only"]
    reference = files.clip_dir / "clip.reference.json"
    if reference.exists():
        arguments += ["--reference", str(reference)]
    if options.stack.profile == "mock":
        arguments.append("--no-listen")
    spec = python_spec("verify", "livedub.cli.main", "verify", *arguments)
    lines = await run_step(steps, spec, _VERIFY_TIMEOUT_S, allowed=(_VERIFIED, _NOT_VERIFIED))
    report = json.loads("\n".join(lines))
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (files.out / "report.json").write_text(text, encoding="utf-8")
    return report
