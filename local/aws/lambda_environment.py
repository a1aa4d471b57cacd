"""One Lambda execution environment: AWS's runtime interface emulator with AWS's Python runtime client under it.

The emulator (RIE) takes one call at a time and starts the runtime itself, in a process group of its own; so both are
told to die with their parent, and killing the emulator's group ends all of it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from livedub.errors import LivedubError
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.spawner import Command, Spawner, dying_with_parent
from local.ports import free_ports

_HOST = "127.0.0.1"
_PATH = "/2015-03-31/functions/function/invocations"
_START_ATTEMPTS = 3
_START_BOUND_S = 10.0
_CONNECT_BOUND_S = 1.0
_POLL_S = 0.005
_MARGIN_S = 5.0
"""The emulator ends a call that runs out of time itself; we step in when it does not."""
_END_BOUND_S = 5.0
_TIMED_OUT = re.compile(rb"\s*Task timed out after [0-9.]+ seconds\s*")
_RAISED = {"errorMessage", "errorType", "requestId", "stackTrace"}


class EnvironmentStartError(LivedubError):
    """The emulator did not come up."""


class LambdaEnvironment:
    """A running environment; usable from one thread at a time, `kill` from any.

    Args:
        spec: the function.
        emulator: the `aws-lambda-rie` program.
        spawner: starts the process.
        python: the interpreter of the runtime, which has awslambdaric and boto3.
        scratch: where its home folder is made; the system's temporary folder by default.

    Raises:
        EnvironmentStartError: it did not come up, three times.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        emulator: Path,
        spawner: Spawner,
        python: str = sys.executable,
        scratch: Path | None = None,
    ) -> None:
        self.spec = spec
        self._home = Path(tempfile.mkdtemp(prefix=f"{spec.name[:40]}-", dir=scratch))
        self._log_path = self._home / "environment.log"
        self._killed = False
        try:
            self._process, self._port = self._start(emulator, spawner, python)
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """The emulator's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take a call."""
        return not self._killed and self._process.poll() is None

    def invoke(self, payload: bytes) -> InvokeResult:
        """Call the function once; always returns, at the latest some seconds after the function's timeout."""
        bound_s = self.spec.timeout_s + _MARGIN_S
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=bound_s)
        try:
            connection.request("POST", _PATH, body=payload, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except TimeoutError:
            return InvokeResult.failure(
                "Sandbox.Timedout", f"Error: Task timed out after {bound_s:.2f} seconds", log=self._take_log()
            )
        except (OSError, http.client.HTTPException) as error:
            return InvokeResult.failure(
                "Runtime.ExitError",
                f"Error: Runtime exited without providing a reason ({type(error).__name__})",
                log=self._take_log(),
            )
        finally:
            connection.close()
        return self._judge(response.status, body)

    def kill(self) -> None:
        """End all its processes at once and remove its files. Idempotent; a call in progress fails."""
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_BOUND_S)
        shutil.rmtree(self._home, ignore_errors=True)

    def _judge(self, status: int, body: bytes) -> InvokeResult:
        log = self._take_log()
        if _TIMED_OUT.fullmatch(body):
            return InvokeResult.failure("Sandbox.Timedout", f"Error: {body.decode().strip()}", log=log)
        # The emulator sends no X-Amz-Function-Error: what a handler raised is known by its shape alone.
        failed = status != http.HTTPStatus.OK or _raised(body)
        return InvokeResult(body, failed=failed, log=log, reusable=status == http.HTTPStatus.OK)

    def _take_log(self) -> str:
        # The processes append, so cutting the file short is safe; a long-lived environment would fill the disk.
        try:
            with self._log_path.open("r+b") as log:
                text = log.read()
                log.truncate(0)
        except OSError:
            return ""
        return text.decode(errors="replace")

    def _start(self, emulator: Path, spawner: Spawner, python: str) -> tuple[subprocess.Popen[bytes], int]:
        for _ in range(_START_ATTEMPTS):
            # Both addresses must be told, or environments collide on the emulator's fixed ones. Somebody else may
            # take a free port before the emulator does; it then ends, and we try again.
            port, runtime_port = free_ports(2, _HOST)
            argv = (
                *(str(emulator), "--log-level", "error"),
                *("--runtime-interface-emulator-address", f"{_HOST}:{port}"),
                *("--runtime-api-address", f"{_HOST}:{runtime_port}"),
                *dying_with_parent((python, "-m", "awslambdaric", self.spec.handler)),
            )
            with self._log_path.open("ab", buffering=0) as log:
                process = spawner.spawn(
                    Command(argv, self.spec.variables(self._home), self.spec.code_folder, log)
                )
            if _wait_until(lambda port=port: _accepts(port), process):
                return process, port
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_BOUND_S)
        raise EnvironmentStartError(
            f"The environment of Lambda function {self.spec.name} did not start: {self._take_log()[-500:]!r}.",
            remedy="Check that aws-lambda-rie runs and that awslambdaric is installed (make setup).",
        )


def _raised(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.keys() >= _RAISED


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), _CONNECT_BOUND_S).close()
    except OSError:
        return False
    return True


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_BOUND_S
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return True
        time.sleep(_POLL_S)
    return False
