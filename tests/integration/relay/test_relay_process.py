"""The relay as a process: its addresses, its end, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import pytest

from local.ports import free_port, free_ports
from local.processes import ChildProcess, Supervisor, http_ready
from local.python_child import python_spec

from .control_plane import KEY


def environment(**settings: str) -> dict[str, str]:
    return {
        "RELAY_ID": "media-1",
        "RELAY_PORT": str(free_port()),
        "RELAY_API_URL": f"http://127.0.0.1:{free_port()}",
        "RELAY_SIGNING_KEY": KEY.hex(),
        "RELAY_SERVER_API_URL": f"http://127.0.0.1:{free_port()}",
        "RELAY_PLAY_BASE_URL": "rtmp://127.0.0.1:1935",
        "RELAY_PUBLISH_BASE_URL": "rtmp://127.0.0.1:1935",
        "RELAY_DRAIN_TIMEOUT_S": "0.2",
        **settings,
    }


async def start(supervisor: Supervisor, env: dict[str, str]) -> ChildProcess:
    url = f"http://127.0.0.1:{env['RELAY_PORT']}/health"
    return await supervisor.start(
        python_spec("relay", "media_edge.mediamtx.relay", env=env), ready=http_ready(url), ready_timeout_s=30
    )


async def ended(supervisor: Supervisor, env: dict[str, str]) -> tuple[int, str]:
    """Exit code and last lines of a relay that cannot start."""
    child = await supervisor.start(python_spec("relay", "media_edge.mediamtx.relay", env=env))
    code = await asyncio.wait_for(child.wait(), 30)
    return code, child.describe_end()


async def test_it_lives_without_server_and_control_plane_and_ends_on_sigterm(supervisor: Supervisor):
    env = environment()
    relay = await start(supervisor, env)
    ready = json.loads(await asyncio.wait_for(relay.line('"ready"'), 30))
    assert ready == {"event": "ready", "address": f"http://127.0.0.1:{env['RELAY_PORT']}"}
    assert await supervisor.stop(relay) == 0


async def test_the_second_address_serves_worker_hosts_only(supervisor: Supervisor):
    port, kick_port = free_ports(2)
    env = environment(RELAY_PORT=str(port), RELAY_KICK_HOST="127.0.0.1", RELAY_KICK_PORT=str(kick_port))
    await start(supervisor, env)
    kick = {"path": "live/demo/out", "token": "t"}
    hook = "event=ready&path=live/demo/in&source_id=1"
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        outside, inside = f"http://127.0.0.1:{kick_port}", f"http://127.0.0.1:{port}"
        assert (await client.get(f"{outside}/health")).status_code == 200
        assert (await client.post(f"{outside}/v1/kick", json=kick)).json()["code"] == "NO_PUBLISHER"
        for path in ("/auth", "/hook", "/nginx"):
            assert (await client.post(f"{outside}{path}", content=hook)).status_code == 404
        assert (await client.post(f"{inside}/hook", content=hook)).status_code == 202


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RELAY_API_URL": ""}, "RELAY_API_URL"),
        ({"RELAY_HOST": "0.0.0.0"}, "no loopback address"),  # noqa: S104
        ({"RELAY_SIGNING_KEY": "abc"}, "RELAY_SIGNING_KEY"),
    ],
)
async def test_wrong_settings_are_named_with_exit_code_2(
    supervisor: Supervisor, settings: dict[str, str], said: str
):
    code, lines = await ended(supervisor, environment(**settings))
    assert code == 2
    assert said in lines
    assert "Traceback" not in lines


async def test_a_taken_port_is_named(supervisor: Supervisor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, lines = await ended(supervisor, environment(RELAY_PORT=port))
    assert code == 2
    assert f"RELAY_PORT: the relay cannot listen on 127.0.0.1:{port}" in lines
