"""`python -m local demo|up`: the local stack as a program; `livedub demo` and `livedub up` start it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from livedub.errors import LivedubError
from local.demo import DemoOptions, run_demo
from local.library_stack import LibraryOptions
from local.media_front import DEFAULT_PORT as DEFAULT_LIBRARY_PORT
from local.media_servers.select import SERVERS
from local.object_store import DEFAULT_PORT as DEFAULT_OBJECTS_PORT
from local.stack import StackOptions
from local.up import DEFAULT_HTTP_PORT, DEFAULT_RTMP_PORT, LIBRARY_FOLDER, UpOptions, run_up

EXIT_VERIFIED = 0
EXIT_NOT_VERIFIED = 1
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line; `livedub demo --help` and `livedub up --help` say more."""
    top = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    default = StackOptions()
    common.add_argument("--source", default=default.source)
    common.add_argument("--target", default=default.target)
    common.add_argument("--voice", default=default.voice)
    common.add_argument("--delay-ms", type=int, default=default.delay_ms)
    common.add_argument("--profile", choices=("cpu", "mock"), default=default.profile)
    common.add_argument("--sts", choices=("http", "runpod"), default=default.sts)
    common.add_argument("--sts-url", default=os.environ.get("STS_SERVICE_URL", ""))
    common.add_argument("--media-cache", action="store_true")
    common.add_argument("--server", choices=("auto", *sorted(SERVERS)), default=default.server)
    common.add_argument("--on", metavar="URL", default=default.on)
    demo = commands.add_parser("demo", parents=[common], help="dub a clip, record, verify")
    demo.add_argument("--seconds", type=int, default=60)
    demo.add_argument("--input", type=Path)
    demo.add_argument("--out", type=Path, default=Path("out/demo"))
    demo.add_argument("--no-page", dest="page", action="store_false")
    up = commands.add_parser("up", parents=[common], help="everything but a publisher, until Ctrl-C")
    up.add_argument("--stream-id", default="demo")
    up.add_argument("--bind", default=default.bind)
    up.add_argument("--rtmp-port", type=int, default=DEFAULT_RTMP_PORT)
    up.add_argument("--http-port", type=int, default=DEFAULT_HTTP_PORT)
    up.add_argument("--out", type=Path, default=Path("out/up"))
    up.add_argument("--library", action=argparse.BooleanOptionalAction, default=True)
    up.add_argument("--library-port", type=int, default=DEFAULT_LIBRARY_PORT)
    up.add_argument("--objects-port", type=int, default=DEFAULT_OBJECTS_PORT)
    up.add_argument("--s3-url", default="")
    return top


def _stack_options(arguments: argparse.Namespace) -> StackOptions:
    given = vars(arguments)
    names = (StackOptions.__dataclass_fields__.keys() & given.keys()) - {"library"}
    return StackOptions(**{name: given[name] for name in names})


async def _demo(arguments: argparse.Namespace, console: Console) -> int:
    options = DemoOptions(
        seconds=arguments.seconds,
        input=arguments.input,
        out=arguments.out,
        page=arguments.page,
        stack=_stack_options(arguments),
    )
    return EXIT_VERIFIED if await run_demo(options, console) else EXIT_NOT_VERIFIED


async def _up(arguments: argparse.Namespace, console: Console) -> int:
    library = None
    if arguments.library:
        folder = arguments.out.resolve() / LIBRARY_FOLDER
        library = LibraryOptions(
            folder, arguments.library_port, arguments.objects_port, s3_url=arguments.s3_url
        )
    stack = replace(_stack_options(arguments), library=library)
    options = UpOptions(stream_id=arguments.stream_id, out=arguments.out, stack=stack)
    await run_up(options, console)
    return 0


async def _until_sigterm(work: Coroutine[Any, Any, int]) -> int:
    """SIGTERM ends the work as Ctrl-C does: by cancelling it, so that everything it started is stopped."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> int:
    """Run one command. Exit codes: 0 done and verified, 1 not verified, 2 failed, 130 interrupted."""
    arguments = parser().parse_args()
    console = Console(stderr=False)
    command = {"demo": _demo, "up": _up}[arguments.command]
    try:
        return asyncio.run(_until_sigterm(command(arguments, console)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped.")
        return EXIT_INTERRUPTED
    except LivedubError as error:
        Console(stderr=True).print(f"[red]{escape(error.message)}[/red]\n{escape(error.remedy)}".strip())
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
