"""Commands on their way to hosts: sent by SSM, fetched and reported by the host agent.

Documents of one kind exist, one per environment, and they name an action of the host's own list: no shell text ever
travels.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local.aws.connection import client_waits

DOCUMENT = "livedub-host-action"
"""Its one parameter, `action`, names what the host shall do. An environment's own is livedub-ENVIRONMENT-host-action."""
_DOCUMENTS = re.compile(r"livedub(?:-[a-z][a-z0-9]{0,15})?-host-action")
_ACTION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DEFAULT_DELIVERY_S = 3_600
"""How long SSM tries to deliver a command unless told otherwise."""
_MAX_OUTPUT = 24_000
"""What SSM keeps of a command's output."""


@dataclass(frozen=True, slots=True)
class HostCommand:
    """One action for one host; `tell` hears status changes."""

    command_id: str
    instance_id: str
    action: str
    expires_at_s: float
    """On the monotonic clock: nobody fetched it by then."""
    tell: Callable[[CommandStatus], None]


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """How far a command is, in SSM's words."""

    status: str
    exit_code: int = -1
    output: str = ""
    errors: str = ""


def action_of(document: str, parameters: Mapping[str, Sequence[str]]) -> str:
    """The action that a SendCommand asks for.

    Raises:
        ValueError: another document, or not exactly one well-formed action name.
    """
    if not _DOCUMENTS.fullmatch(document):
        raise ValueError(f"document {document} is not run here, only {DOCUMENT} of an environment")
    actions = parameters.get("action", ())
    if set(parameters) != {"action"} or len(actions) != 1 or not _ACTION.fullmatch(actions[0]):
        raise ValueError(f"{document} takes one parameter, action: the name of one of the host's actions")
    return actions[0]


_LOOK_S = 0.5
"""How long a poll sleeps at most before it looks whether its agent is still there."""


@dataclass(frozen=True, slots=True)
class Association:
    """A document that State Manager shall keep a host to. Nothing of it runs here: whoever plays the host may ask for it."""

    instance_id: str
    document: str
    parameters: Mapping[str, Sequence[str]]


class HostCommands:
    """Queues per host; every method may be called from any thread."""

    def __init__(self) -> None:
        self._associations: list[Association] = []
        self._changed = threading.Condition()
        self._waiting: list[HostCommand] = []
        self._running: dict[tuple[str, str], HostCommand] = {}

    def submit(self, command: HostCommand) -> None:
        """Queue a command until its host fetches it."""
        with self._changed:
            self._waiting.append(command)
            self._changed.notify_all()

    def associate(self, association: Association) -> None:
        """Remember what a host shall be kept to."""
        with self._changed:
            self._associations.append(association)

    def associations(self, instance_id: str) -> list[Association]:
        """What a host shall be kept to, in the order it was asked for."""
        with self._changed:
            return [each for each in self._associations if each.instance_id == instance_id]

    def take(self, instance_id: str, wait_s: float) -> HostCommand | None:
        """The host's next command, waiting up to `wait_s` for one; what expired is told so."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while client_waits():
                self._expire()
                mine = next((one for one in self._waiting if one.instance_id == instance_id), None)
                if mine is not None:
                    self._waiting.remove(mine)
                    self._running[mine.command_id, instance_id] = mine
                    mine.tell(CommandStatus("InProgress"))
                    return mine
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, _LOOK_S))
        return None

    def report(self, command_id: str, instance_id: str, *, exit_code: int, output: str, errors: str) -> bool:
        """Note a result; False when the host was given no such command."""
        with self._changed:
            command = self._running.pop((command_id, instance_id), None)
        if command is None:
            return False
        status = "Success" if exit_code == 0 else "Failed"
        command.tell(CommandStatus(status, exit_code, output[:_MAX_OUTPUT], errors[:_MAX_OUTPUT]))
        return True

    def expire(self) -> None:
        """Tell what nobody fetched in time."""
        with self._changed:
            self._expire()

    def _expire(self) -> None:
        now_s = time.monotonic()
        late = [command for command in self._waiting if command.expires_at_s <= now_s]
        self._waiting = [command for command in self._waiting if command.expires_at_s > now_s]
        for command in late:
            command.tell(CommandStatus("TimedOut"))
