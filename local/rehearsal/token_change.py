"""A new token for those who write to the deployed media cache, given as an operator gives it, under load."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass

from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.errors import MediaCacheRefusedError
from livedub.media_cache.key import Variant
from livedub.media_cache.tls_bundle import parse_ca_bundle
from local.aws.child import client_environment
from local.processes import Supervisor
from local.rehearsal.cache_host import CacheHost, livedub_media
from local.rehearsal.cache_load import Told, under_load
from local.rehearsal.deployed import DeployedEnvironment
from local.rehearsal.tls_rotation import told

_BOUND_S = 60.0
_NOBODYS_KEY = "0" * 64


@dataclass(frozen=True, slots=True)
class TokenChange:
    """One change, and what consumers had meanwhile.

    Attributes:
        took_s: from the first step to the last.
        new_is_used: every consumer wrote with the new token before the old one was dropped.
        old_is_over: the host refuses the old one afterwards.
        requests: of the consumers.
        failures: of those.
    """

    took_s: float
    new_is_used: bool
    old_is_over: bool
    requests: int
    failures: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether it is as it should be."""
        return self.new_is_used and self.old_is_over and not self.failures and self.requests > 0

    @property
    def words(self) -> str:
        """For the verdict."""
        faults = [] if self.new_is_used else ["consumers do not write with the new token"]
        faults += [] if self.old_is_over else ["the old token is still accepted"]
        counted = f"{len(self.failures)} of {self.requests} requests failed, {self.took_s:.0f} s"
        return "; ".join([counted, *faults, *self.failures[:3]])


async def change_token(
    supervisor: Supervisor, deployed: DeployedEnvironment, cache: CacheHost
) -> TokenChange:
    """Take the three steps of docs/media-cache.md, each followed by the host's look at its secrets.

    Raises:
        ProcessError: a command failed.
    """
    secret = f"livedub/{deployed.name}/voice/secrets"
    operator = client_environment(deployed.endpoint)

    async def step(name: str) -> None:
        await livedub_media(supervisor, f"token-{name}", operator, "token", name, secret)
        await cache.read_secrets()

    before = await asyncio.to_thread(told, deployed)
    with ExitStack() as ends:
        load = await asyncio.to_thread(ends.enter_context, under_load(cache.url, lambda: told(deployed)))
        try:
            began_s = time.monotonic()
            await step("next")
            await step("use")
            after = await asyncio.to_thread(told, deployed)
            used = await asyncio.to_thread(load.all_write_with, after.token, _BOUND_S)
            await step("drop")
            took_s = time.monotonic() - began_s
        finally:
            # Consumers are waited for: not by the loop that others run on.
            await asyncio.to_thread(ends.close)
    over = await asyncio.to_thread(_is_refused, cache.url, before)
    return TokenChange(
        took_s, used and after.token != before.token, over, load.requests, tuple(load.failures)
    )


def _is_refused(url: str, told_before: Told) -> bool:
    tls = parse_ca_bundle(told_before.bundle)
    with MediaCacheClient([url], token=told_before.token, tls=tls) as client:
        try:
            client.delete(_NOBODYS_KEY, Variant.ALAW)
        except MediaCacheRefusedError as error:
            return error.status_code == 401
    return False
