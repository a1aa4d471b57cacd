"""`python -m local.aws.deploy_local [--keep] [-- COMMAND...]`: the rehearsal of a deployment.

What one does with an account, with the same commands; only the endpoint differs: `livedub runpod deploy`, `cdk bootstrap`,
`cdk deploy --all` to a fresh local AWS, then a stream through what was deployed, and a new certificate for its media cache.
Prints the outputs of every stack and a verdict. With --keep the local AWS stays until Ctrl-C, with COMMAND nothing is
driven: it runs on what was deployed, and its exit code is ours. `make deploy-local` is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from livedub.errors import LivedubError, MissingPrerequisiteError
from local.aws import deployment
from local.aws.child import api_environment, client_environment, forget_profiles
from local.rehearsal.rehearsal import Rehearsal, RehearsalOptions

EXIT_NOT_VERIFIED = 1
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130

_STOP_S = 10.0


def say(text: str) -> None:
    """Print a line for whoever watches; stdout belongs to outputs and to COMMAND."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's words


async def deploy_local(options: RehearsalOptions, *, keep: bool, command: Sequence[str]) -> int:
    """Deploy, drive or run `command`, and wait for the end with `keep`; returns the exit code.

    Raises:
        LivedubError: something could not be started or deployed.
    """
    async with Rehearsal(options, say) as rehearsal:
        deployed = rehearsal.deployed
        print(json.dumps(deployed.outputs, indent=2), flush=True)  # noqa: T201 - what the command is for
        found = deployment.Deployed.from_outputs(
            {**deployed.outputs[deployment.STATE_STACK], **deployed.outputs[deployment.STACK]}
        )
        access = await asyncio.to_thread(api_environment, deployed.endpoint, found)
        environment = {**client_environment(deployed.endpoint), **access}
        if command:
            return await _foreground(command, environment)
        if options.drive:
            await rehearsal.drive()
            for line in rehearsal.verdict.lines():
                say(line)
        if keep:
            await _kept(deployed.endpoint, environment)
        return 0 if rehearsal.verdict.well else EXIT_NOT_VERIFIED


async def _kept(endpoint: str, environment: Mapping[str, str]) -> None:
    say(f"\nDeployed on {endpoint}. In another terminal:\n")
    say(f"  .venv/bin/livedub demo --on {endpoint}")
    say("  unset AWS_PROFILE AWS_DEFAULT_PROFILE")
    for name, value in environment.items():
        say(f"  export {name}={shlex.quote(value)}")
    say("\nCtrl-C ends it; nothing is kept.")
    await asyncio.get_running_loop().create_future()


async def _foreground(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` with our terminal; it gets SIGTERM when we are to end."""
    program = shutil.which(command[0])
    if program is None:
        raise MissingPrerequisiteError(f"{command[0]} is not installed.", remedy="Give its path.")
    setpriv = shutil.which("setpriv") or "setpriv"
    process = await asyncio.create_subprocess_exec(
        *(setpriv, "--pdeathsig", "KILL", "--", program, *command[1:]), env={**os.environ, **environment}
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_signal(options: RehearsalOptions, *, keep: bool, command: Sequence[str]) -> int:
    task = asyncio.ensure_future(deploy_local(options, keep=keep, command=command))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    """Exit codes: 0 verified, 1 not verified, that of COMMAND, 2 failed, 130 ended from outside."""
    default = RehearsalOptions()
    parser = argparse.ArgumentParser(prog="python -m local.aws.deploy_local", description=__doc__)
    parser.add_argument("--port", type=int, default=default.port, help="of the local AWS; 0 takes a free one")
    parser.add_argument("--seconds", type=int, default=default.seconds, help="length of the stream")
    parser.add_argument("--profile", choices=("cpu", "mock"), default=default.profile, help="speech engines")
    parser.add_argument("--out", type=Path, default=default.out, help="results and logs; cleared first")
    parser.add_argument("--no-drive", dest="drive", action="store_false", help="deploy and nothing else")
    parser.add_argument("--no-rotation", dest="rotate", action="store_false", help="leave the certificate")
    parser.add_argument("--keep", action="store_true", help="keep the local AWS until Ctrl-C")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: run on what was deployed")
    arguments = parser.parse_args()
    options = RehearsalOptions(
        port=arguments.port,
        seconds=arguments.seconds,
        profile=arguments.profile,
        out=arguments.out,
        drive=arguments.drive and not arguments.command,
        rotate=arguments.rotate,
    )
    forget_profiles()
    try:
        return asyncio.run(_until_signal(options, keep=arguments.keep, command=arguments.command))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except LivedubError as error:
        say(f"deploy-local: {error}")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
