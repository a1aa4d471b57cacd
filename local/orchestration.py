"""`python -m local.orchestration`: the control plane on this machine, for media server and workers that run elsewhere.

Starts a local AWS and deploys the control plane to it, as `livedub up` does, and starts nothing else. What the others must
know is left in --run-dir: relay.env and agent.env (export lines) and relay.key. This is what the service
`stream-orchestration` of media_edge/compose.yaml runs; the others reach it on the loopback of a network namespace that
they share. Ctrl-C or SIGTERM ends it and removes what it left; nothing else is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from livedub.cli.api_access import shared_access
from livedub.errors import ConfigurationError, LivedubError
from livedub.private_file import write_private
from livedub.settings import variables
from livedub.supervision.policy import SupervisionPolicy
from local.control_plane import ControlPlane, start_control_plane
from local.processes import Supervisor

EXIT_FAILED = 2
RELAY_FILE = "relay.env"
AGENT_FILE = "agent.env"
KEY_FILE = "relay.key"


def relay_variables(control: ControlPlane, key_file: Path) -> dict[str, str]:
    """What a relay must know of the control plane."""
    return {"RELAY_API_URL": control.access.url, "RELAY_SIGNING_KEY_FILE": str(key_file)}


def agent_variables(control: ControlPlane) -> dict[str, str]:
    """What an agent must know of it, this AWS's address and keys included."""
    given = {name: value for name, value in control.environment.items() if value is not None}
    return {
        **given,
        "AGENT_WORK_QUEUE_URL": control.deployed.work_queue_url,
        "AGENT_STREAMS_TABLE": control.deployed.streams_table,
    }


def export_lines(variables: Mapping[str, str]) -> str:
    """The variables as a shell takes them over."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


@contextmanager
def left_for_others(control: ControlPlane, run_dir: Path) -> Generator[None]:
    """Let other containers find the control plane while the block runs; only this user can read what is left.

    Raises:
        ConfigurationError: `run_dir` cannot be written to.
    """
    key_file = run_dir / KEY_FILE
    contents = {
        KEY_FILE: f"{control.relay_key}\n",
        RELAY_FILE: export_lines(relay_variables(control, key_file)),
        AGENT_FILE: export_lines(agent_variables(control)),
    }
    try:
        try:
            for name, content in contents.items():
                write_private(run_dir / name, content)
        except OSError as error:
            raise _not_writable(run_dir, error) from error
        yield
    finally:
        for name in contents:
            with suppress(OSError):
                (run_dir / name).unlink(missing_ok=True)


def _not_writable(run_dir: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"--run-dir (LIVEDUB_RUN_DIR) {run_dir} cannot be written to: {error.strerror}.",
        remedy="Give a folder that this user owns.",
    )


async def orchestrate(run_dir: Path, function_env: Mapping[str, str]) -> None:
    """Run until cancelled.

    Args:
        run_dir: where others find what they need.
        function_env: laid over the variables of every deployed function.

    Raises:
        LivedubError: something could not be started or deployed, or the local AWS ended by itself.
    """
    logs = run_dir / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(run_dir, error) from error
    async with Supervisor(logs) as supervisor:
        control = await start_control_plane(supervisor, function_env=function_env)
        with left_for_others(control, run_dir), shared_access(control.access, os.environ):
            print(json.dumps({"event": "ready", "api_url": control.access.url}), flush=True)  # noqa: T201 - the contract
            await supervisor.until_one_ends()


async def _until_signal(run_dir: Path, function_env: Mapping[str, str]) -> None:
    task = asyncio.ensure_future(orchestrate(run_dir, function_env))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task


def main() -> int:
    """Exit codes: 0 ended from outside, 2 failed."""
    parser = argparse.ArgumentParser(prog="python -m local.orchestration", description=__doc__)
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path(os.environ.get("LIVEDUB_RUN_DIR", "/run/livedub")),
        help="where others find what they need (LIVEDUB_RUN_DIR, /run/livedub)",
    )
    arguments = parser.parse_args()
    # What is set of the functions' policy, such as LIVEDUB_UNKNOWN_STREAMS, is theirs.
    policy = {variable.name for variable in variables(SupervisionPolicy)}
    chosen = {name: value for name, value in os.environ.items() if name in policy and value}
    try:
        asyncio.run(_until_signal(arguments.run_dir.resolve(), chosen))
    except asyncio.CancelledError:
        return 0
    except LivedubError as error:
        print(f"orchestration: {error}", file=sys.stderr)  # noqa: T201 - a command's last word
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
