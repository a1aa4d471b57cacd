"""A new certificate and key of the deployed media cache, given as an operator gives them, under load."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import TlsMaterial, fingerprint, self_signed
from local.rehearsal.cache_host import CacheHost
from local.rehearsal.cache_load import Told, under_load
from local.rehearsal.deployed import DeployedEnvironment

Order = Literal["certificate first", "key first"]

_CONSUMERS = ("voice", "api")
_BOUND_S = 120.0
_POLL_S = 0.5
_BETWEEN_S = 1.0
"""Between the writes to the two stores: nobody writes both at once."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation, and what consumers had meanwhile.

    Attributes:
        order: which of the two stores was written first.
        took_s: from the first write until nothing was left to do.
        served: the host serves the new certificate.
        bundle_updated: every consumer's bundle holds the new certificate's root alone.
        executions: how the executions that it brought ended, by name.
        requests: of the consumers.
        failures: of those.
    """

    order: Order
    took_s: float
    served: bool
    bundle_updated: bool
    executions: dict[str, str]
    requests: int
    failures: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether it is as it should be."""
        ended = set(self.executions.values()) == {"SUCCEEDED"}
        return self.served and self.bundle_updated and ended and not self.failures and self.requests > 0

    @property
    def words(self) -> str:
        """For the verdict."""
        faults = [] if self.served else ["the new certificate is not served"]
        faults += [] if self.bundle_updated else ["consumers' bundles are not the new one's"]
        faults += [f"{name} {status}" for name, status in self.executions.items() if status != "SUCCEEDED"]
        told = f"{len(self.failures)} of {self.requests} requests failed, {self.took_s:.0f} s"
        return "; ".join([told, *faults, *self.failures[:3]])


async def rotate(deployed: DeployedEnvironment, cache: CacheHost, order: Order) -> Rotation:
    """Write a new pair to the two stores and wait until rotate_tls is through with it, or a bound."""
    material = self_signed([cache.address.rpartition(":")[0]])
    return await asyncio.to_thread(_rotate, deployed, cache, order, material)


def told(deployed: DeployedEnvironment) -> Told:
    """What worker hosts are told of the media cache now."""
    namespace = f"livedub/{deployed.name}"
    return Told(
        deployed.secret(f"{namespace}/voice/secrets")["TTS_MEDIA_CACHE_UPLOAD_TOKEN"],
        deployed.parameter(f"/{namespace}/voice/TTS_MEDIA_CACHE_CA_BUNDLE"),
    )


def _rotate(deployed: DeployedEnvironment, cache: CacheHost, order: Order, material: TlsMaterial) -> Rotation:
    namespace = f"livedub/{deployed.name}"
    machine = f"{_machines(deployed)}livedub-{deployed.name}-rotate-tls"
    secret = f"{namespace}/media/secrets"

    def write_certificate() -> None:
        deployed.put_parameter(f"/{namespace}/media/MEDIA_TLS_FULLCHAIN_B64", _b64(material.fullchain_pem))

    def write_key() -> None:
        deployed.put_in_secret(secret, MEDIA_TLS_PRIVKEY_B64=_b64(material.privkey_pem))

    def bundle(consumer: str) -> str:
        return deployed.parameter(f"/{namespace}/{consumer}/TTS_MEDIA_CACHE_CA_BUNDLE")

    wanted = {fingerprint(material.ca_pem)}

    def bundle_updated() -> bool:
        return all(set(parse_ca_bundle(bundle(each)).fingerprints) == wanted for each in _CONSUMERS)

    def served() -> bool:
        return cache.served() == fingerprint(material.fullchain_pem)

    before = set(deployed.executions(machine))

    def ours() -> dict[str, str]:
        found = deployed.executions(machine)
        return {name: status for name, status in found.items() if name not in before}

    def through() -> bool:
        executions = ours()
        return bool(executions) and "RUNNING" not in executions.values() and served() and bundle_updated()

    steps = [write_certificate, write_key] if order == "certificate first" else [write_key, write_certificate]
    with under_load(cache.url, lambda: told(deployed)) as load:
        time.sleep(_BETWEEN_S)
        began_s = time.monotonic()
        steps[0]()
        time.sleep(_BETWEEN_S)
        steps[1]()
        _wait(through)
        took_s = time.monotonic() - began_s
        time.sleep(_BETWEEN_S)
    return Rotation(order, took_s, served(), bundle_updated(), ours(), load.requests, tuple(load.failures))


def _machines(deployed: DeployedEnvironment) -> str:
    """The beginning of every state machine's ARN."""
    return deployed.output("control-plane", "StateMachineArn").rpartition(":")[0] + ":"


def _wait(reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _BOUND_S
    while time.monotonic() < deadline_s and not reached():
        time.sleep(_POLL_S)


def _b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode("ascii")
