"""What a host and its agent talk to: GET /_local/hosts/<instance>/commands, POST .../commands/<id>, GET .../associations."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.aws.host_commands import HostCommands
from local.aws.http_event import HttpAnswer, HttpRequest

POLL_S = 20.0
_RESULT = re.compile(r"/commands/([0-9a-f-]{36})")


class CommandResult(BaseModel):
    """What the agent reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exit_code: Annotated[int, Field(ge=-255, le=255)]
    output: str = ""
    errors: str = ""


class HostFront:
    """Hands commands out and takes results."""

    def __init__(self, commands: HostCommands) -> None:
        self._commands = commands

    def answer(self, instance_id: str, request: HttpRequest) -> HttpAnswer:
        """Answer one request of an agent; a poll waits up to 20 s and answers 204 when nothing came."""
        if request.method == "GET" and request.path == "/commands":
            command = self._commands.take(instance_id, POLL_S)
            if command is None:
                return HttpAnswer(204, (), b"")
            return _json({"command_id": command.command_id, "action": command.action})
        if request.method == "GET" and request.path == "/associations":
            kept = self._commands.associations(instance_id)
            return _json(
                {
                    "associations": [
                        {"document": each.document, "parameters": each.parameters} for each in kept
                    ]
                }
            )
        found = _RESULT.fullmatch(request.path)
        if request.method != "POST" or found is None:
            return HttpAnswer.message(404, "Not Found")
        try:
            result = CommandResult.model_validate_json(request.body)
        except ValidationError as error:
            return HttpAnswer.message(400, f"bad result: {error.error_count()} fields are wrong")
        taken = self._commands.report(
            found[1], instance_id, exit_code=result.exit_code, output=result.output, errors=result.errors
        )
        return _json({"taken": True}) if taken else HttpAnswer.message(404, "no such command was handed out")


def _json(body: dict[str, object]) -> HttpAnswer:
    return HttpAnswer(200, (("Content-Type", "application/json"),), json.dumps(body).encode())
