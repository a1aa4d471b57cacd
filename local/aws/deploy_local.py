"""`python -m local.aws.deploy_local [-- COMMAND...]`: `cdk bootstrap` and `cdk deploy` to a fresh local AWS.

What one does with an account, with the same commands; only the endpoint differs. Prints the stack's outputs, then keeps
the local AWS until Ctrl-C, or runs COMMAND on it and ends with its exit code. `make deploy-local` is the same.
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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from livedub.errors import LivedubError, MissingPrerequisiteError
from local.aws import deployment
from local.aws.assembly import ROOT
from local.aws.child import api_environment, client_environment, forget_profiles, start_local_aws
from local.processes import ProcessError, ProcessSpec, Supervisor

ACCOUNT = "123456789012"
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130

_CDK = ROOT / "infra" / "node_modules" / ".bin" / "cdk"
_CDK_TIMEOUT_S = 300.0
_STOP_S = 10.0


def say(text: str) -> None:
    """Print a line for whoever watches; stdout belongs to outputs and to COMMAND."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's words


async def cdk_deploy(supervisor: Supervisor, endpoint: str, scratch: Path) -> dict[str, str]:
    """Bootstrap and deploy with the cdk command; returns the outputs as it reports them.

    Raises:
        MissingPrerequisiteError: the command is not installed.
        AssemblyError: the app could not be synthesized.
        ProcessError: bootstrap or deployment failed; carries its last lines.
    """
    if not _CDK.is_file():
        raise MissingPrerequisiteError(f"{_CDK} is missing.", remedy="Run make setup.")
    assembly = await asyncio.to_thread(deployment.ensure_assembly)
    environment = {**client_environment(endpoint), **_cdk_environment(scratch)}
    outputs = scratch / "outputs.json"
    common = ["--app", str(assembly), "--no-notices", "--ci"]
    say("cdk bootstrap ...")
    place = f"aws://{ACCOUNT}/{deployment.REGION}"
    await _run(supervisor, "cdk-bootstrap", [str(_CDK), "bootstrap", place, *common], environment)
    say("cdk deploy ...")
    arguments = ["deploy", deployment.STACK, "--require-approval", "never", "--progress", "events"]
    arguments += ["--outputs-file", str(outputs)]
    await _run(supervisor, "cdk-deploy", [str(_CDK), *arguments, *common], environment)
    return json.loads(outputs.read_text(encoding="utf-8"))[deployment.STACK]


async def deploy_local(port: int, command: Sequence[str]) -> int:
    """Start, deploy, then run `command` or wait for the end; returns the exit code.

    Raises:
        LivedubError: something could not be started or deployed.
    """
    with tempfile.TemporaryDirectory(prefix="livedub-deploy-") as scratch:
        async with Supervisor(Path(scratch) / "logs") as supervisor:
            endpoint = await start_local_aws(supervisor, port=port)
            outputs = await cdk_deploy(supervisor, endpoint, Path(scratch))
            deployed = deployment.Deployed.from_outputs(outputs)
            access = await asyncio.to_thread(api_environment, endpoint, deployed)
            print(json.dumps(outputs, indent=2), flush=True)  # noqa: T201 - what the command is for
            if command:
                return await _foreground(command, {**client_environment(endpoint), **access})
            say(f"\nDeployed on {endpoint}. In another terminal:\n")
            say(f"  .venv/bin/livedub demo --on {endpoint}")
            say("  unset AWS_PROFILE AWS_DEFAULT_PROFILE")
            for name, value in {**client_environment(endpoint), **access}.items():
                say(f"  export {name}={shlex.quote(value)}")
            say("\nCtrl-C ends it; nothing is kept.")
            await asyncio.get_running_loop().create_future()
    return 0


def _cdk_environment(scratch: Path) -> dict[str, str]:
    return {
        "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",  # the node that make setup installed
        "CDK_HOME": str(scratch / "cdk"),  # what it remembers of accounts must not outlive this one
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
    }


async def _run(
    supervisor: Supervisor, name: str, argv: Sequence[str], environment: Mapping[str, str]
) -> None:
    child = await supervisor.start(
        ProcessSpec(name, argv, env=environment, cwd=ROOT, stop_timeout_s=_STOP_S), on_stderr=say
    )
    try:
        async with asyncio.timeout(_CDK_TIMEOUT_S):
            code = await child.wait()
    except TimeoutError as error:
        raise ProcessError(f"{name} took more than {_CDK_TIMEOUT_S:.0f} s: {child.describe_end()}") from error
    finally:
        end = child.describe_end()
        await supervisor.stop(child)
    if code:
        raise ProcessError(f"{name} failed: {end}")


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


async def _until_signal(port: int, command: Sequence[str]) -> int:
    task = asyncio.ensure_future(deploy_local(port, command))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    """Exit codes: that of COMMAND, 2 failed, 130 ended from outside."""
    parser = argparse.ArgumentParser(prog="python -m local.aws.deploy_local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the local AWS; 0 takes a free one")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: run on what was deployed")
    arguments = parser.parse_args()
    forget_profiles()
    try:
        return asyncio.run(_until_signal(arguments.port, arguments.command))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except LivedubError as error:
        say(f"deploy-local: {error}")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
