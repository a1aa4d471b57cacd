"""What is stored, what is served, and what therefore comes next. Reads alone; writes nothing.

Every step asks anew: nothing that an execution remembers is believed but what it was started for and what it saw before
it changed anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from livedub.media_cache import bundle_publication
from livedub.media_cache.bundle_publication import BundleParameters
from livedub.media_cache.parameter_store import ParameterStore
from livedub.media_cache.tls_material import (
    PairMismatchError,
    TlsMaterial,
    TlsMaterialError,
    check_pair,
    fingerprint,
)
from livedub.media_cache.tls_rotation.probe import ServedTls, rehearse
from livedub.media_cache.tls_rotation.rotation_settings import TlsCheckSettings
from livedub.media_cache.tls_rotation.rotation_store import CHAIN, KEY, StoredPair, TlsRotationStore
from livedub.media_cache.tls_rotation.versions import Versions
from livedub.media_cache.tls_sources import decode_variable

_SERVED_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.25


class StoredPairs(Protocol):
    """The stores."""

    def pair(self) -> StoredPair:
        """What they hold."""
        ...


class Served(Protocol):
    """The host, from where its consumers are."""

    def fingerprint(self) -> str:
        """sha256 of what is served; empty where nothing is."""
        ...

    def distrust(self, bundle: str) -> str:
        """Why a consumer with `bundle` gets no connection; empty where it does."""
        ...

    def vouching(self, certificates: Sequence[x509.Certificate]) -> list[str]:
        """sha256 of those that vouch for what is served."""
        ...


class TlsCheck:
    """One look at stores, consumers' bundles and host."""

    def __init__(
        self,
        settings: TlsCheckSettings,
        *,
        stores: StoredPairs,
        parameters: BundleParameters,
        served: Served,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._parameters = parameters
        self._served = served
        self._monotonic = monotonic
        self._sleep = sleep

    @classmethod
    def connect(cls, settings: TlsCheckSettings) -> TlsCheck:
        """On the process's own clients."""
        return cls(
            settings,
            stores=TlsRotationStore.connect(settings.namespace),
            parameters=ParameterStore.connect(),
            served=ServedTls(settings.host, settings.port),
        )

    def plan(self, versions: Versions, age_s: float) -> dict[str, Any]:
        """What to do about `versions`, `age_s` after the execution began.

        The answer's `verdict`: `superseded` (the stores hold others by now), `nothing` (they hold no pair), `wait` (for
        the other half, `wait_s`), `refused` (no consumer would take the pair), `unchanged` (served and trusted already),
        `rotate`. With the last: `old` and `new`, sha256 of what is served and of what shall be; `vouching`, what in the
        bundles vouches for the old one; `adding`, what the new one needs there besides.

        Raises:
            LivedubError: a store cannot be read.
        """
        held = self._stores.pair()
        if held.versions != versions:
            return {"verdict": "superseded"}
        if not held.chain_b64 and not held.key_b64:
            return {"verdict": "nothing"}
        try:
            material = _material(held)
        except PairMismatchError as error:
            return self._half(error, age_s)
        except TlsMaterialError as error:
            return {"verdict": "refused", "reason": str(error)}
        bundles = self._parameters.bundles(self._settings.consumer_prefix)
        for name, value in bundles.items():
            trusting = bundle_publication.trusting(value, material)
            if reason := rehearse(material, trusting, self._settings.host):
                refusal = f"a consumer with {name} would refuse the certificate: {reason}"
                return {"verdict": "refused", "reason": refusal}
        return self._change(material, bundles)

    def verify(self, versions: Versions, new: str) -> dict[str, Any]:
        """Whether `new` is served, and whether every consumer gets a connection with the bundle it is given.

        `verdict`: `served`, `superseded` or `failed`; `drop_after_s` says how long to keep what vouched for the old one.

        Raises:
            LivedubError: a store cannot be read.
        """
        reason = self._unserved(new)
        if not reason:
            return {"verdict": "served", "drop_after_s": self._settings.drop_after_s}
        if self._stores.pair().versions != versions:
            return {"verdict": "superseded"}
        return {"verdict": "failed", "reason": reason}

    def retire(self, vouching: Sequence[str]) -> dict[str, Any]:
        """What of `vouching`, which vouched for the old certificate, nobody needs any more: `drop`.

        Judged by what is served and what is stored now, whoever put it there since.

        Raises:
            LivedubError: a store cannot be read.
        """
        needed = {*self._vouching_now(), *self._needed_by_stores()}
        # A host that does not answer proves nothing.
        drop = sorted(set(vouching) - needed) if self._served.fingerprint() else []
        return {"drop": drop}

    def verify_back(self, old: str, adding: Sequence[str]) -> dict[str, Any]:
        """Whether the host serves what it should after going back: `verdict` is `back` or `failed`.

        That is the pair that the stores hold again, or without any `old`, what it served before. `drop` is what of
        `adding` may be taken out of the bundles again.

        Raises:
            LivedubError: a store cannot be read.
        """
        stored = self._stored()
        wanted = fingerprint(stored.fullchain_pem) if stored else old
        reason = self._unserved(wanted) if wanted else "nothing was served before"
        if reason:
            return {"verdict": "failed", "reason": reason, "drop": []}
        needed = {*self._vouching_now(), *self._needed_by_stores()}
        return {"verdict": "back", "drop": sorted(set(adding) - needed)}

    def _half(self, error: PairMismatchError, age_s: float) -> dict[str, Any]:
        left_s = self._settings.pair_wait_s - age_s
        if left_s <= 0:
            reason = f"no matching pair came within {self._settings.pair_wait_s} s: {error.message}"
            return {"verdict": "refused", "reason": reason}
        return {"verdict": "wait", "wait_s": max(1, min(self._settings.poll_s, int(left_s) + 1))}

    def _change(self, material: TlsMaterial, bundles: dict[str, str]) -> dict[str, Any]:
        new, old = fingerprint(material.fullchain_pem), self._served.fingerprint()
        if new == old and not any(map(self._served.distrust, bundles.values())):
            return {"verdict": "unchanged", "new": new}
        known = bundle_publication.certificates_of(bundles.values())
        held = {certificate.fingerprint(SHA256()).hex() for certificate in known}
        return {
            "verdict": "rotate",
            "old": old,
            "new": new,
            "vouching": self._served.vouching(known) if old else [],
            "adding": sorted(set(bundle_publication.vouching_for(material)) - held),
        }

    def _unserved(self, wanted: str) -> str:
        """Why not; a reload takes a moment, so for a while it may be so."""
        deadline_s = self._monotonic() + _SERVED_WITHIN_S
        while reason := self._unserved_now(wanted):
            if self._monotonic() >= deadline_s:
                return reason
            self._sleep(_LOOK_EVERY_S)
        return ""

    def _unserved_now(self, wanted: str) -> str:
        served = self._served.fingerprint()
        if served != wanted:
            return f"{self._settings.base_url} serves {served or 'nothing'}, not {wanted}"
        for name, value in self._parameters.bundles(self._settings.consumer_prefix).items():
            if reason := self._served.distrust(value):
                return f"a consumer with {name} gets no connection: {reason}"
        return ""

    def _vouching_now(self) -> list[str]:
        bundles = self._parameters.bundles(self._settings.consumer_prefix)
        return self._served.vouching(bundle_publication.certificates_of(bundles.values()))

    def _needed_by_stores(self) -> list[str]:
        stored = self._stored()
        return bundle_publication.vouching_for(stored) if stored else []

    def _stored(self) -> TlsMaterial | None:
        try:
            return _material(self._stores.pair())
        except TlsMaterialError:
            return None


def _material(held: StoredPair) -> TlsMaterial:
    if not held.chain_b64 or not held.key_b64:
        missing = KEY if held.chain_b64 else CHAIN
        raise PairMismatchError(f"{missing} is not set.", remedy="Write both.")
    return check_pair(decode_variable(CHAIN, held.chain_b64), decode_variable(KEY, held.key_b64))
