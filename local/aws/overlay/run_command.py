"""SSM Run Command: one document, carried out by the host agent; everything else is refused."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from moto.ssm.exceptions import InvalidDocument

from local.aws.host_commands import DEFAULT_DELIVERY_S, CommandStatus, HostCommand, action_of
from local.aws.overlay.patching import Patch
from local.aws.runtime import Runtime


def patches(runtime: Runtime) -> list[Patch]:
    """The patch of Run Command."""
    return [
        Patch(
            "moto.ssm.models:SimpleSystemManagerBackend.send_command",
            "5a866bc3bcd6",
            "moto reports success for every command and runs nothing",
            lambda original: _send(original, runtime),
        ),
    ]


def _send(original: Any, runtime: Runtime) -> Any:
    def send_command(self: Any, **kwargs: Any) -> Any:
        try:
            action = action_of(kwargs["document_name"], kwargs.get("parameters") or {})
        except ValueError as error:
            raise InvalidDocument(str(error)) from error
        command = original(self, **kwargs)
        command.status = command.status_details = "Pending"
        timeout_s = kwargs.get("timeout_seconds") or DEFAULT_DELIVERY_S
        expires_at_s = time.monotonic() + timeout_s
        for invocation in command.invocations:
            _note(command, invocation, CommandStatus("Pending"))
            runtime.hosts.submit(
                HostCommand(
                    command.command_id,
                    invocation["InstanceId"],
                    action,
                    expires_at_s,
                    lambda status, invocation=invocation: _note(command, invocation, status),
                )
            )
        # Hosts have no hurry: whatever the speed of schedules, this is the time that was asked for.
        runtime.background.later(timeout_s * runtime.background.speed, runtime.hosts.expire)
        return command

    return send_command


def _note(command: Any, invocation: dict[str, Any], status: CommandStatus) -> None:
    now = dt.datetime.now(tz=dt.timezone.utc).isoformat()
    invocation.update(
        Status=status.status,
        StatusDetails="Delivery Timed Out" if status.status == "TimedOut" else status.status,
        ResponseCode=status.exit_code,
        StandardOutputContent=status.output,
        StandardErrorContent=status.errors,
    )
    if status.status == "InProgress":
        invocation["ExecutionStartDateTime"] = now
    invocation["ExecutionEndDateTime"] = now if status.status in ("Success", "Failed") else ""
    states = {one["Status"] for one in command.invocations}
    command.status = command.status_details = next(
        (state for state in ("Pending", "InProgress", "Failed", "TimedOut") if state in states), "Success"
    )
