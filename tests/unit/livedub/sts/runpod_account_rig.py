"""The emulator's account API in this process, for the synchronous client; what was sent is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from livedub.sts.runpod_account_client import RunpodAccount
from local.runpod.account_api import ACCOUNT_PATH
from local.runpod.endpoint import Endpoint
from local.runpod.limits import Limits
from local.runpod.server import create_app

KEY = "key-of-the-account"
IMAGE = f"registry.example/livedub-sts@sha256:{'a' * 64}"
OTHER_IMAGE = f"registry.example/livedub-sts@sha256:{'b' * 64}"


class AccountRig:
    """`account` is the client; `sent` what it asked for besides reading; `endpoints` what takes jobs.

    `break_at` is the number of the request, reads too, whose connection breaks: `after_it` was done, or before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.endpoints: dict[str, Endpoint] = {}
        self.sent: list[tuple[str, str, Any]] = []
        self.asked = 0
        self.break_at: int | None = None
        self.after_it = False
        app = create_app(self.endpoints, KEY, new_endpoint=lambda: Endpoint(Limits()))
        self._app = httpx.ASGITransport(app)
        self.account = RunpodAccount(
            KEY, f"http://emulator{ACCOUNT_PATH}", transport=httpx.MockTransport(self._answer)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        return self._loop.run_until_complete(self._pass_on(request))

    async def _pass_on(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        broken = self.asked == self.break_at
        if broken and not self.after_it:
            raise httpx.ReadError("broken before it was done", request=request)
        content = request.read()
        if request.method != "GET":
            path = request.url.path.removeprefix(ACCOUNT_PATH)
            self.sent.append((request.method, path, json.loads(content) if content else None))
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        response = await self._app.handle_async_request(asked)
        if broken:
            raise httpx.ReadError("broken after it was done", request=request)
        return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())


@contextmanager
def account_rig() -> Iterator[AccountRig]:
    """An account without templates and endpoints."""
    loop = asyncio.new_event_loop()
    rig = AccountRig(loop)
    try:
        with rig.account:
            yield rig
    finally:
        for endpoint in rig.endpoints.values():
            endpoint.close()
        loop.close()
