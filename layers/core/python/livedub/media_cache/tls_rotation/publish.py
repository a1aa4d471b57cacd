"""The consumers' bundles while a certificate changes: what the new one needs goes in before, what the old one needed after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol

from livedub.media_cache import bundle_publication
from livedub.media_cache.bundle_publication import BundleParameters
from livedub.media_cache.parameter_store import ParameterStore
from livedub.media_cache.tls_material import TlsMaterial, parse_chain, roots_of
from livedub.media_cache.tls_rotation.rotation_settings import TlsPublishSettings
from livedub.media_cache.tls_rotation.rotation_store import CHAIN, TlsRotationStore
from livedub.media_cache.tls_rotation.versions import Versions
from livedub.media_cache.tls_sources import decode_variable


class StoredChains(Protocol):
    """The certificate in its store."""

    def chain(self) -> tuple[Versions, str]:
        """It, and which it is."""
        ...


class DatedBundles(BundleParameters, Protocol):
    """Consumers' parameters, and when they were changed."""

    def bundles_changed_at(self, prefix: str) -> datetime | None:
        """The latest change of one of them; None where there is none."""
        ...


class TlsPublication:
    """Changes the bundles."""

    def __init__(
        self,
        settings: TlsPublishSettings,
        *,
        stores: StoredChains,
        parameters: DatedBundles,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._parameters = parameters
        self._now = now

    @classmethod
    def connect(cls, settings: TlsPublishSettings) -> TlsPublication:
        """On the process's own clients."""
        stores = TlsRotationStore.connect(settings.namespace)
        return cls(settings, stores=stores, parameters=ParameterStore.connect())

    def announce(self, versions: Versions) -> dict[str, Any]:
        """Have every bundle hold what vouches for the stored certificate, beside what it holds.

        `verdict` is `superseded`, `wait` (consumers have not all read it yet: `wait_s`) or `announced`. Called again after
        the wait it sees to it that nobody has taken it out meanwhile.

        Raises:
            LivedubError: a store cannot be read or written, or the certificate is damaged.
        """
        found, chain_b64 = self._stores.chain()
        if found != versions:
            return {"verdict": "superseded", "changed": []}
        chain = decode_variable(CHAIN, chain_b64)
        material = TlsMaterial(chain, b"", roots_of(parse_chain(chain)))
        prefix = self._settings.consumer_prefix
        changed = bundle_publication.trust(self._parameters, prefix, add=[material])
        wait_s = self._unread_s()
        return {"verdict": "wait" if wait_s else "announced", "wait_s": wait_s, "changed": changed}

    def drop(self, fingerprints: Sequence[str]) -> dict[str, Any]:
        """Take the certificates with these sha256 out of every bundle: `changed` are the parameters.

        Raises:
            LivedubError: a parameter cannot be read or written.
        """
        prefix = self._settings.consumer_prefix
        return {"changed": bundle_publication.distrust(self._parameters, prefix, fingerprints)}

    def _unread_s(self) -> int:
        """How long, in whole seconds, until consumers have looked since the last change; by AWS's own clock of it."""
        changed_at = self._parameters.bundles_changed_at(self._settings.consumer_prefix)
        if changed_at is None:
            return 0
        left_s = self._settings.settle_s - (self._now() - changed_at).total_seconds()
        # A clock that is off must not make it longer than it is meant to be.
        return max(0, min(self._settings.settle_s, math.ceil(left_s)))
