"""A new certificate for a host that is serving: fetched, checked, announced, written, loaded, and seen to be served.

Consumers hear of it before the host serves it: their bundle gets what vouches for the new certificate beside what
vouches for the old. Where that changes their bundle, they read it when they start, so prepare first, have them start
again, then rotate; and drop the old when nobody serves with it any more.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from livedub.errors import LivedubError
from livedub.media_cache import bundle_publication
from livedub.media_cache.bundle_publication import BundleParameters
from livedub.media_cache.caddy_admin_client import CaddyError
from livedub.media_cache.errors import MediaCacheError
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import (
    PairMismatchError,
    TlsMaterial,
    TlsMaterialError,
    fingerprint,
    material_lock,
    previous_material,
    read_material,
    write_material,
)
from livedub.media_cache.tls_sources import (
    TlsChoice,
    TlsSource,
    checked_files,
    choose,
    from_variables,
    made_here,
    was_given,
    write_choice,
)

_SERVED_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.05
_FETCH_EVERY_S = 0.25


class RotationError(MediaCacheError):
    """The new certificate is not served; the message says why, and what is served instead."""


class CacheHost(Protocol):
    """The server whose certificate is changed."""

    def reload(self) -> None:
        """Have it read its files again."""
        ...

    def served(self) -> str:
        """sha256 of the certificate that a client gets now."""
        ...


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done.

    Attributes:
        old: sha256 of the certificate before; empty where there was none.
        new: of the one that is served now.
        published: consumers' parameters that were changed. Consumers must start again to trust what is new in them.
        warnings: what an operator should hear.
    """

    old: str
    new: str
    published: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """Whether a pair is made here instead of fetched, and with a new authority."""

    wanted: bool = False
    new_ca: bool = False


class Rotation:
    """The steps, for one host."""

    def __init__(
        self,
        load: Callable[[], MediaTlsSettings],
        host: CacheHost,
        parameters: Callable[[], BundleParameters],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what it works on.

        Args:
            load: reads the settings anew; called again while a new pair is awaited.
            host: the server.
            parameters: connects to where consumers read their bundle; called only where MEDIA_CONSUMER_PREFIX is set.
            monotonic: a clock, in seconds.
            sleep: waits so many seconds.
        """
        self._load = load
        self._host = host
        self._parameters = parameters
        self._monotonic = monotonic
        self._sleep = sleep

    def given(self) -> bool:
        """Whether the variables hold a pair, whatever it is worth: then none is to be made here.

        Raises:
            LivedubError: they cannot be read.
        """
        settings = self._load()
        return bool(settings.tls_fullchain_b64 and settings.tls_privkey_b64.get_secret_value())

    def prepare(self, renewal: Renewal | None = None) -> Rotated:
        """Make or fetch the new pair and announce it, without serving it.

        Raises:
            LivedubError: as `rotate`.
        """
        settings = self._load()
        with material_lock(settings.tls_folder):
            old = _present(settings)
            choice = self._choice(settings, renewal or Renewal(), keep=True)
            return self._announced(settings, old, choice)

    def rotate(self, renewal: Renewal | None = None, *, wait_s: float = 0) -> Rotated:
        """Serve the new pair; the old one again where that fails.

        Args:
            renewal: make the pair here. Without it: fetch it by the three sources.
            wait_s: how long to wait until the variables hold a pair other than the one in the files, for whoever writes
                one after the other.

        Raises:
            RotationError: the new certificate is not served.
            LivedubError: there is no new pair that can be used, consumers cannot be told, or files cannot be
                written; nothing was changed.
        """
        settings = self._load()
        if wait_s and not (renewal and (renewal.wanted or renewal.new_ca)):
            # Without the lock: the host must be able to start meanwhile.
            settings = self._awaited(settings, wait_s)
        with material_lock(settings.tls_folder):
            old = _present(settings)
            choice = self._choice(settings, renewal or Renewal(), keep=False)
            rotated = self._announced(settings, old, choice)
            if choice.source is not TlsSource.FILES and not _same(choice.material, old):
                write_choice(settings, choice)
            self._switch(settings, old, choice.material)
            self._settle(settings)
            return rotated

    def back(self) -> Rotated:
        """Undo a change that was given: serve what the variables hold now, or without any the pair before theirs.

        A pair that was never in the variables stays: nobody gave it, so nobody takes it back. May be called again.

        Raises:
            LivedubError: as `rotate`.
        """
        settings = self._load()
        if from_variables(settings, []) is not None or not was_given(settings):
            return self.rotate()
        with material_lock(settings.tls_folder):
            old, before = _present(settings), previous_material(settings.tls_folder)
            if old is None or before is None:
                raise RotationError(
                    "there is no pair from before to go back to.",
                    remedy="Give a pair in the variables, or livedub media rotate --renew.",
                )
            choice = TlsChoice(TlsSource.FILES, checked_files(before))
            rotated = self._announced(settings, old, choice)
            write_material(settings.tls_folder, choice.material)
            self._switch(settings, old, choice.material)
            return rotated

    def drop_old(self) -> tuple[str, ...]:
        """Take what vouched for the pair before out of the consumers' bundles; the parameters that were changed.

        Raises:
            LivedubError: there is no pair, or the parameters cannot be read or written.
        """
        settings = self._load()
        with material_lock(settings.tls_folder):
            current = read_material(settings.tls_folder)
            if current is None:
                raise RotationError("there is no certificate yet.", remedy="livedub media tls-init")
            if not settings.consumer_prefix:
                raise RotationError(
                    "MEDIA_CONSUMER_PREFIX is not set.", remedy="Set it, such as /voiceai/prod."
                )
            served = self._host.served()
            if served != fingerprint(current.fullchain_pem):
                raise RotationError(f"{served} is still served.", remedy="livedub media rotate")
            changed = bundle_publication.trust(
                self._parameters(),
                settings.consumer_prefix,
                add=[checked_files(current)],
                drop=previous_material(settings.tls_folder),
            )
            return tuple(changed)

    def _awaited(self, settings: MediaTlsSettings, wait_s: float) -> MediaTlsSettings:
        """The settings once their variables hold a pair that is not in the files."""
        deadline_s = self._monotonic() + wait_s
        while True:
            over = self._monotonic() >= deadline_s
            try:
                material = from_variables(settings, [])
                if material is not None and not _same(material, _present(settings)):
                    return settings
            except PairMismatchError:
                if over:
                    raise
            if over:
                raise RotationError(
                    f"no new certificate came within {wait_s:g} s.",
                    remedy="Write both variables, then rotate.",
                )
            self._sleep(_FETCH_EVERY_S)
            settings = self._load()

    def _choice(self, settings: MediaTlsSettings, renewal: Renewal, *, keep: bool) -> TlsChoice:
        """What to serve next: what was prepared, what is made now, or what the sources have."""
        if not (renewal.wanted or renewal.new_ca):
            return choose(settings)
        prepared = read_material(settings.next_folder)
        if prepared is not None:
            return TlsChoice(TlsSource.PRIVATE_CA, checked_files(prepared))
        if renewal.new_ca:
            authority = PrivateCa.create()
            material = authority.issue_leaf(settings.ips, settings.dns)
            authority.save(settings.next_folder / "ca")
            choice = TlsChoice(TlsSource.PRIVATE_CA, material)
        else:
            choice = made_here(settings)
        if keep or renewal.new_ca:
            write_material(settings.next_folder, choice.material)
        return choice

    def _announced(self, settings: MediaTlsSettings, old: TlsMaterial | None, choice: TlsChoice) -> Rotated:
        published: list[str] = []
        if settings.consumer_prefix:
            both = [choice.material, *([old] if old is not None else [])]
            published = bundle_publication.trust(self._parameters(), settings.consumer_prefix, add=both)
        return Rotated(
            fingerprint(old.fullchain_pem) if old is not None else "",
            fingerprint(choice.material.fullchain_pem),
            tuple(published),
            choice.warnings,
        )

    def _switch(self, settings: MediaTlsSettings, old: TlsMaterial | None, new: TlsMaterial) -> None:
        try:
            self._reload(new)
        except CaddyError as error:
            raise RotationError(
                f"the new certificate is not served: {error.message} {self._back(settings, old, new)}",
                remedy=error.remedy,
            ) from error

    def _back(self, settings: MediaTlsSettings, old: TlsMaterial | None, new: TlsMaterial) -> str:
        """Serve the old pair again; what came of it."""
        if old is None or _same(new, old):
            return "There is no pair from before to go back to."
        try:
            write_material(settings.tls_folder, old)
            self._reload(old)
        except LivedubError as error:
            return f"The old pair is back in its files, but not seen to be served: {error.message}"
        return "The old one is served again."

    def _reload(self, material: TlsMaterial) -> None:
        self._host.reload()
        wanted = fingerprint(material.fullchain_pem)
        deadline_s = self._monotonic() + _SERVED_WITHIN_S
        while (served := self._looked(over=self._monotonic() >= deadline_s)) != wanted:
            if served and self._monotonic() >= deadline_s:
                raise CaddyError(
                    f"Caddy took its configuration and serves {served}, not {wanted}.",
                    remedy="See that Caddy reads MEDIA_TLS_CERT_HOST_PATH, and that MEDIA_HTTPS_ADDRESS is this Caddy.",
                )
            self._sleep(_LOOK_EVERY_S)

    def _looked(self, *, over: bool) -> str:
        """What is served; nothing where a connection went down with the old configuration, until time is over."""
        try:
            return self._host.served()
        except CaddyError:
            if over:
                raise
            return ""

    def _settle(self, settings: MediaTlsSettings) -> None:
        """What was prepared is what is there now."""
        authority = PrivateCa.load(settings.next_folder / "ca")
        if authority is not None:
            authority.save(settings.ca_folder)
        shutil.rmtree(settings.next_folder, ignore_errors=True)


def _present(settings: MediaTlsSettings) -> TlsMaterial | None:
    """The pair to go back to; None where there is none, or none that can be read."""
    found = read_material(settings.tls_folder)
    try:
        return found if found is not None and found.leaf else None
    except TlsMaterialError:
        return None


def _same(material: TlsMaterial, other: TlsMaterial | None) -> bool:
    return other is not None and material.fullchain_pem == other.fullchain_pem
