from __future__ import annotations

import json
import sys
import threading
import time
import uuid

import pytest

from livedub.errors import InvalidInputError
from local.aws.host_agent import HostAgent, parse_action
from local.aws.host_commands import (
    DOCUMENT,
    CommandStatus,
    HostCommand,
    HostCommands,
    action_of,
)
from local.aws.host_front import HostFront
from local.aws.http_event import HttpRequest

BOUND_S = 10.0
FAR_S = time.monotonic() + 3_600.0


def command(told: list[CommandStatus], instance_id: str = "i-1", expires_at_s: float = FAR_S) -> HostCommand:
    return HostCommand(str(uuid.uuid4()), instance_id, "rotate-tls", expires_at_s, told.append)


@pytest.mark.parametrize("document", [DOCUMENT, "livedub-local-host-action", "livedub-prod-host-action"])
def test_the_one_document_names_an_action(document: str):
    assert action_of(document, {"action": ["rotate-tls"]}) == "rotate-tls"


@pytest.mark.parametrize(
    ("document", "parameters"),
    [
        ("AWS-RunShellScript", {"commands": ["rm -rf /"]}),
        (DOCUMENT, {"commands": ["rm -rf /"]}),
        (DOCUMENT, {"action": ["rotate-tls"], "commands": ["rm"]}),
        (DOCUMENT, {"action": ["a", "b"]}),
        (DOCUMENT, {"action": ["a; rm -rf /"]}),
        (DOCUMENT, {"action": ["../a"]}),
        (DOCUMENT, {"action": [""]}),
        (DOCUMENT, {}),
    ],
)
def test_nothing_else_is_sent(document: str, parameters: dict[str, list[str]]):
    with pytest.raises(ValueError, match=DOCUMENT):
        action_of(document, parameters)


def test_a_host_gets_its_own_commands_and_reports():
    commands, told = HostCommands(), []
    mine = command(told)
    commands.submit(command([], "i-2"))
    commands.submit(mine)
    assert commands.take("i-1", 0) is mine
    assert commands.take("i-1", 0) is None
    assert commands.report(mine.command_id, "i-1", exit_code=0, output="ok", errors="")
    assert told == [CommandStatus("InProgress"), CommandStatus("Success", 0, "ok", "")]
    assert not commands.report(mine.command_id, "i-1", exit_code=0, output="", errors="")


def test_a_failed_action_is_a_failed_command():
    commands, told = HostCommands(), []
    mine = command(told)
    commands.submit(mine)
    commands.take("i-1", 0)
    commands.report(mine.command_id, "i-1", exit_code=3, output="", errors="x" * 100_000)
    assert told[-1].status == "Failed"
    assert len(told[-1].errors) == 24_000


def test_a_result_of_another_host_is_not_taken():
    commands, told = HostCommands(), []
    mine = command(told)
    commands.submit(mine)
    commands.take("i-1", 0)
    assert not commands.report(mine.command_id, "i-2", exit_code=0, output="", errors="")


def test_a_command_nobody_fetched_in_time_is_told_so():
    commands, told = HostCommands(), []
    commands.submit(command(told, expires_at_s=time.monotonic() - 1))
    commands.submit(command(told))
    commands.expire()
    assert told == [CommandStatus("TimedOut")]
    commands.submit(command(told, "i-2", expires_at_s=time.monotonic() - 1))
    assert commands.take("i-2", 0) is None
    assert told == [CommandStatus("TimedOut")] * 2


def test_a_waiting_host_is_woken():
    commands, told = HostCommands(), []
    got: list[HostCommand | None] = []
    waiting = threading.Thread(target=lambda: got.append(commands.take("i-1", BOUND_S)))
    waiting.start()
    mine = command(told)
    commands.submit(mine)
    waiting.join(BOUND_S)
    assert got == [mine]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"/commands/{uuid.UUID(int=0)}", b'{"exit_code": 0}', 404),
        ("POST", f"/commands/{uuid.UUID(int=0)}", b'{"exit_code": "x"}', 400),
        ("POST", f"/commands/{uuid.UUID(int=0)}", b"{", 400),
        ("POST", "/commands/../x", b"", 404),
        ("PUT", "/commands", b"", 404),
    ],
)
def test_the_front_refuses_what_no_agent_sends(method: str, path: str, body: bytes, status: int):
    answer = HostFront(HostCommands()).answer("i-1", HttpRequest(method, path, body=body))
    assert answer.status == status


def test_the_front_hands_out_and_takes_back():
    commands, told = HostCommands(), []
    commands.submit(command(told))
    front = HostFront(commands)
    handed = json.loads(front.answer("i-1", HttpRequest("GET", "/commands")).body)
    assert handed["action"] == "rotate-tls"
    path = f"/commands/{handed['command_id']}"
    assert front.answer("i-1", HttpRequest("POST", path, body=b'{"exit_code": 0}')).status == 200
    assert told[-1].status == "Success"


ACTIONS = {
    "hello": [sys.executable, "-c", "print('hello')"],
    "fail": [sys.executable, "-c", "import sys; sys.exit('why')"],
    "hang": [sys.executable, "-c", "import threading; threading.Event().wait()"],
    "missing": ["/nonexistent/program"],
}


@pytest.mark.parametrize(
    ("action", "exit_code"),
    [("hello", 0), ("fail", 1), ("hang", 124), ("missing", 126), ("other", 126), ("hello; ls", 126)],
)
def test_an_agent_runs_what_is_on_its_list_and_nothing_else(action: str, exit_code: int):
    timeout_s = 0.2 if action == "hang" else BOUND_S
    agent = HostAgent("http://localhost:1", "i-1", ACTIONS, action_timeout_s=timeout_s)
    outcome = agent.carry_out(action)
    assert outcome.exit_code == exit_code
    assert outcome.output == ("hello\n" if action == "hello" else "")


def test_actions_are_read_from_the_command_line():
    assert parse_action("reload=caddy reload --config '/etc/a b'") == (
        "reload",
        ["caddy", "reload", "--config", "/etc/a b"],
    )
    for bad in ("", "reload", "reload=", "=x"):
        with pytest.raises(InvalidInputError):
            parse_action(bad)
