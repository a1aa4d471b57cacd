"""From a hint that something changed to the one execution that is about it."""

from __future__ import annotations

from typing import Any, Protocol

from livedub.media_cache.tls_rotation.rotation_settings import TlsStartSettings
from livedub.media_cache.tls_rotation.rotation_store import RotationStarter, TlsRotationStore
from livedub.media_cache.tls_rotation.versions import Versions

_HOUR = len("2026-11-21T23")
_LONGEST_NAME = 80


class Chains(Protocol):
    """The stores, without the key."""

    def chain(self) -> tuple[Versions, str]:
        """What they hold."""
        ...

    def is_marked(self, versions: Versions) -> bool:
        """Whether these were served last."""
        ...


class Starter(Protocol):
    """The state machine."""

    def start(self, name: str, versions: Versions) -> bool:
        """Start an execution of this name, once."""
        ...


def start_rotation(settings: TlsStartSettings, scheduled_at: str = "") -> dict[str, Any]:
    """Do `started_for` on the process's own clients."""
    stores = TlsRotationStore.connect(settings.namespace)
    return started_for(stores, RotationStarter.connect(settings.machine_arn), scheduled_at)


def started_for(stores: Chains, starter: Starter, scheduled_at: str = "") -> dict[str, Any]:
    """Start the execution for what the stores hold now: whether it was `started`, and its `execution`.

    Its name is made of the stores' versions: however many hints there are, each pair of versions has one execution. A
    schedule's has the hour in it besides, so that a host that serves something else by now is seen to again. What was
    served last needs none: it is what a rotation that failed has just put back, or what somebody marked.

    Args:
        stores: what there is.
        starter: of the executions.
        scheduled_at: the time of a schedule's event, as it is in it; empty for any other hint.

    Raises:
        StoreUnavailableError: AWS did not answer, or refuses.
    """
    versions, chain_b64 = stores.chain()
    if not chain_b64:
        # The host makes its certificate itself. Once there is a chain, Parameter Store tells.
        return {"started": False, "execution": ""}
    if not scheduled_at and stores.is_marked(versions):
        return {"started": False, "execution": ""}
    hour = "".join(character for character in scheduled_at[:_HOUR] if character.isalnum())
    name = f"{versions.name}-{hour}" if hour else versions.name
    name = name[:_LONGEST_NAME]
    return {"started": starter.start(name, versions), "execution": name}
