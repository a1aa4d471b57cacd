"""`python -m local.aws.host_agent --instance-id i-... --action NAME=COMMAND`: SSM's agent on this machine.

It fetches commands that SSM sent to its instance and runs those whose name is on its own list: what runs is written
here, never in a command. The real thing is an SSM document with fixed steps and the SSM agent on the host.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from urllib.parse import quote, urlsplit

from livedub.errors import InvalidInputError

_LOG = logging.getLogger(__name__)
_POLL_BOUND_S = 30.0
"""The server answers a poll after 20 s."""
_PAUSE_S = 1.0
_REFUSED = 126
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action came to."""

    exit_code: int
    output: str = ""
    errors: str = ""


class HostAgent:
    """One host's agent.

    Args:
        endpoint: the local AWS.
        instance_id: the host's name in SSM.
        actions: argv per action name; nothing else is ever run.
        action_timeout_s: an action is killed after this long.
    """

    def __init__(
        self,
        endpoint: str,
        instance_id: str,
        actions: Mapping[str, Sequence[str]],
        *,
        action_timeout_s: float = 60.0,
    ) -> None:
        where = urlsplit(endpoint)
        self._address = (where.hostname or "localhost", where.port or 80)
        self._commands = f"/_local/hosts/{quote(instance_id, safe='')}/commands"
        self._actions = actions
        self._action_timeout_s = action_timeout_s
        self._ending = threading.Event()

    def end(self) -> None:
        """Let `run` return after what it is doing; a waiting poll may take 20 s."""
        self._ending.set()

    def run(self) -> None:
        """Fetch, run and report until `end`."""
        _LOG.info("waits for commands: %s", ", ".join(sorted(self._actions)) or "it has no action")
        while not self._ending.is_set():
            try:
                self.step()
            except (OSError, http.client.HTTPException, ValueError) as error:  # noqa: PERF203 - one poll each
                _LOG.warning("the local AWS does not answer: %s", error)
                self._ending.wait(_PAUSE_S)

    def step(self) -> bool:
        """Wait for one command and carry it out; False when none came.

        Raises:
            OSError: the server cannot be reached.
            http.client.HTTPException: it broke off.
            ValueError: it answered nonsense.
        """
        status, body = self._request("GET", self._commands)
        if status != http.HTTPStatus.OK:
            return False
        command = json.loads(body)
        outcome = self.carry_out(str(command["action"]))
        result = {"exit_code": outcome.exit_code, "output": outcome.output, "errors": outcome.errors}
        self._request("POST", f"{self._commands}/{command['command_id']}", json.dumps(result).encode())
        return True

    def carry_out(self, action: str) -> Outcome:
        """Run the action of that name, if it is on the list."""
        argv = self._actions.get(action)
        if argv is None:
            _LOG.warning("refused the unknown action %r", action)
            return Outcome(_REFUSED, errors=f"this host has no action {action!r}")
        _LOG.info("action %s", action)
        try:
            done = subprocess.run(
                list(argv), capture_output=True, timeout=self._action_timeout_s, check=False, text=True
            )
        except subprocess.TimeoutExpired:
            return Outcome(_TIMED_OUT, errors=f"{action} took longer than {self._action_timeout_s:.0f} s")
        except OSError as error:
            return Outcome(_REFUSED, errors=f"{action} cannot be started: {error}")
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=_POLL_BOUND_S)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def parse_action(text: str) -> tuple[str, list[str]]:
    """`name=command line` as the action's name and argv.

    Raises:
        InvalidInputError: no name, or no command.
    """
    name, _, line = text.partition("=")
    argv = shlex.split(line)
    if not name or not argv:
        raise InvalidInputError(f"--action {text!r} is not NAME=COMMAND.", remedy="For instance reload=true.")
    return name, argv


def main() -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.aws.host_agent")
    parser.add_argument("--endpoint", default="http://localhost:5601")
    parser.add_argument("--instance-id", required=True)
    parser.add_argument(
        "--action", action="append", default=[], help="NAME=COMMAND; may be given several times"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        actions = dict(parse_action(text) for text in arguments.action)
    except InvalidInputError as error:
        parser.error(str(error))
    agent = HostAgent(arguments.endpoint, arguments.instance_id, actions)

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # a poll in progress must not hold the process up

    signal.signal(signal.SIGTERM, end)
    with suppress(KeyboardInterrupt):
        agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
