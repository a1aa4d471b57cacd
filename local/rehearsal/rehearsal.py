"""Deploys every stack to a fresh local AWS and drives a stream through what was deployed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from livedub.cli.api_access import shared_access
from local.aws.child import start_local_aws
from local.broadcast import GRACE_MS, Broadcast, BroadcastFiles, broadcast, prepare_clip, verify
from local.ports import free_port
from local.processes import Supervisor
from local.rehearsal import cdk_command
from local.rehearsal.deployed import DeployedEnvironment
from local.rehearsal.deployed_stack import DeployedStack, Speech
from local.rehearsal.look import look
from local.rehearsal.speech import deploy_endpoint, start_speech_worker
from local.rehearsal.tls_rotation import Order, rotate
from local.rehearsal.token_change import change_token
from local.rehearsal.verdict import Verdict
from local.runpod.child import Emulator
from local.stack import StackOptions

ENVIRONMENT = "local"
ORDERS: tuple[Order, ...] = ("certificate first", "key first")


_DELAY_MS = 12_000
"""Longer than what a stream has by default: all of this machine works at once, and it is no test of speed."""

_OF_THE_MACHINE = frozenset({"video_delay_steady"})
"""Checks that are told and not judged: when single packets leave tells how busy the machine is, not what was deployed."""


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """What is rehearsed.

    Attributes:
        port: of the local AWS; 0 takes a free one.
        seconds: length of the stream.
        profile: engines of the speech service.
        out: results and logs; cleared first.
        drive: whether a stream is driven through what was deployed.
        rotate: whether the cache's certificate and its writers' token are changed, too.
    """

    port: int = 0
    seconds: int = 20
    profile: Literal["cpu", "mock"] = "cpu"
    out: Path = Path("out/rehearsal")
    drive: bool = True
    rotate: bool = True


class Rehearsal:
    """An async context manager: inside it everything is deployed, and a stream may be driven.

    Attributes:
        deployed: what was deployed.
        verdict: what was found so far.
    """

    def __init__(self, options: RehearsalOptions, say: Callable[[str], None]) -> None:
        self.options = options
        self.verdict = Verdict()
        self._say = say
        self._files = BroadcastFiles(options.out.resolve())
        self._exit = AsyncExitStack()
        self._deployed: DeployedEnvironment | None = None
        self._supervisor = Supervisor(self._files.out / "logs")
        self._emulator: Emulator | None = None
        self._side: asyncio.Task[tuple[Speech, Path]] | None = None

    @property
    def deployed(self) -> DeployedEnvironment:
        """What was deployed; only inside the context."""
        if self._deployed is None:
            raise RuntimeError("Rehearsal is used outside its context")
        return self._deployed

    async def __aenter__(self) -> Rehearsal:
        self._files.clear()
        async with AsyncExitStack() as starting:
            scratch = Path(
                starting.enter_context(
                    tempfile.TemporaryDirectory(prefix="livedub-", ignore_cleanup_errors=True)
                )
            )
            await starting.enter_async_context(self._supervisor)
            self._scratch = scratch
            with self.verdict.timed("deployment"):
                await self._deploy(starting)
            self._exit = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _deploy(self, starting: AsyncExitStack) -> None:
        context = await self._context(starting)
        assembly = await asyncio.to_thread(starting.enter_context, cdk_command.own_assembly())
        with self.verdict.timed("build, synthesis and bootstrap"):
            endpoint, _ = await asyncio.gather(self._start_aws(), self._synthesize(assembly, context))
        self._say("cdk deploy --all ...")
        with self.verdict.timed("cdk deploy"):
            outputs = await cdk_command.deploy_all(
                self._supervisor, endpoint, self._scratch, assembly, self._say
            )
        self.verdict.note("cdk deploy --all", f"{len(outputs)} stacks", well=True)
        for line in cdk_command.skipped(assembly):
            self._say(f"not here: {line}")
        self._deployed = DeployedEnvironment(endpoint, outputs)

    async def _context(self, starting: AsyncExitStack) -> dict[str, str]:
        """What only whoever deploys knows: the endpoint of RunPod, a free port."""
        if not self.options.drive:
            return {}
        self._say("livedub runpod deploy, to RunPod's emulator ...")
        with self.verdict.timed("runpod deploy"):
            emulator = await deploy_endpoint(
                self._supervisor, self._scratch / "runpod", environment=ENVIRONMENT
            )
        self.verdict.note("livedub runpod deploy", f"endpoint {emulator.endpoint_id}", well=True)
        self._emulator = emulator
        # What takes long and needs no AWS goes on beside.
        self._side = asyncio.ensure_future(self._beside(emulator))
        starting.push_async_callback(_cancelled, self._side)
        return {
            "media_cache_port": str(free_port()),
            "runpod_base_url": f"{emulator.origin}/v2",
            "runpod_endpoint_id": emulator.endpoint_id,
        }

    async def _beside(self, emulator: Emulator) -> tuple[Speech, Path]:
        sent = self._broadcast()
        with self.verdict.timed("clip"):
            clip = await prepare_clip(sent, self._files, self._supervisor)
        with self.verdict.timed("speech worker"):
            worker = await start_speech_worker(self._supervisor, emulator, profile=self.options.profile)
        return Speech(emulator, worker), clip

    async def _start_aws(self) -> str:
        endpoint = await start_local_aws(self._supervisor, port=self.options.port)
        self._say("cdk bootstrap ...")
        await cdk_command.bootstrap(self._supervisor, endpoint, self._scratch)
        return endpoint

    async def _synthesize(self, assembly: Path, context: Mapping[str, str]) -> None:
        self._say("building what is deployed, synthesizing every stack ...")
        await cdk_command.build(self._supervisor, self._say)
        await cdk_command.synthesize(self._supervisor, assembly, context, self._say)

    async def drive(self) -> None:
        """Publish a stream through everything that was deployed, verify it, and change the cache's certificate.

        Raises:
            LivedubError: something could not be started, or ended before its time.
        """
        if self._side is None:
            raise RuntimeError("this rehearsal drives nothing")
        speech, clip = await self._side
        sent = self._broadcast()
        with tempfile.TemporaryDirectory(prefix="livedub-") as run_dir:
            stack = DeployedStack(
                sent.stack,
                run_dir=Path(run_dir),
                log_dir=self._files.out / "logs",
                events_dir=Path(run_dir) / "events",
                on_event=self._hear,
                deployed=self.deployed,
                speech=speech,
            )
            self._say("starting the hosts with what was deployed for them ...")
            async with stack:
                with self.verdict.timed("stream"), shared_access(stack.control.access, os.environ):
                    await broadcast(stack, clip, sent, self._files, self._say)
                kept = self.options.profile == "cpu"
                await look(self.deployed, self.verdict, speech_is_kept=kept)
                report, _ = await asyncio.gather(self._verify(sent), self._rotate(stack))
        self._judge(report)

    def _broadcast(self) -> Broadcast:
        options = self.options
        endpoint = self._deployed.endpoint if self._deployed else ""
        stack = StackOptions(
            profile=options.profile,
            delay_ms=_DELAY_MS,
            grace_ms=GRACE_MS,
            on=endpoint,
            media_cache=True,
            worker_env={
                # The verifier looks for each dub in what came out.
                "WORKER_DUMP_DIR": str(self._files.fragments),
                # One stream says nothing twice.
                "TTS_MEDIA_CACHE_ADMIT_ON_SIGHT": "1",
            },
        )
        return Broadcast("rehearsal", options.seconds, None, stack)

    async def _verify(self, sent: Broadcast) -> dict[str, Any]:
        self._say("verifying what was recorded ...")
        with self.verdict.timed("verification"):
            return await verify(self._files, sent, self._supervisor)

    def _judge(self, report: Mapping[str, Any]) -> None:
        failed = [check["name"] for check in report["checks"] if check["passed"] is False]
        bad = sorted(set(failed) - _OF_THE_MACHINE)
        said = f"not as it should be: {', '.join(bad)}" if bad else "it clears its bars"
        noted = ", ".join(sorted(_OF_THE_MACHINE.intersection(failed)))
        self.verdict.note("stream verified", f"{said}; not judged: {noted}" if noted else said, well=not bad)

    async def _rotate(self, stack: DeployedStack) -> None:
        if not self.options.rotate or stack.cache is None:
            return
        for order in ORDERS:
            self._say(f"a new certificate of the media cache, {order} ...")
            with self.verdict.timed(f"rotation, {order}"):
                rotation = await rotate(self.deployed, stack.cache, order)
            self.verdict.note(f"TLS rotation, {order}", rotation.words, well=rotation.well)
        self._say("a new token for writers of the media cache ...")
        with self.verdict.timed("token change"):
            change = await change_token(self._supervisor, self.deployed, stack.cache)
        self.verdict.note("token change", change.words, well=change.well)

    def _hear(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "fragment":
            self._say(f"  {event.get('transcript') or '-'} > {event.get('translated_text') or '-'}")


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
