"""The end of a rotation in the stores: what was served is marked, what could not be is taken back."""

from __future__ import annotations

from typing import Any, Protocol

from livedub.media_cache.tls_rotation.rotation_store import StoredPair
from livedub.media_cache.tls_rotation.versions import Versions


class MarkedStores(Protocol):
    """The stores."""

    def pair(self) -> StoredPair:
        """What they hold."""
        ...

    def mark_served(self, versions: Versions) -> None:
        """Remember these."""
        ...

    def going_back(self, versions: Versions) -> bool:
        """Whether they are on the way there."""
        ...

    def restore(self) -> bool:
        """Put back what was marked last."""
        ...


def keep(stores: MarkedStores, versions: Versions) -> dict[str, Any]:
    """Mark what is served, unless the stores hold something newer: that has an execution of its own.

    Raises:
        LivedubError: a store cannot be read or written.
    """
    if stores.pair().versions != versions:
        return {"verdict": "superseded"}
    stores.mark_served(versions)
    return {"verdict": "kept"}


def take_back(stores: MarkedStores, versions: Versions) -> dict[str, Any]:
    """Put back what was served before, unless somebody has written something newer, which is not ours to undo.

    May be called again where it broke off in the middle: what it wrote itself is nothing newer.

    Raises:
        LivedubError: a store cannot be read or written.
    """
    if stores.pair().versions != versions and not stores.going_back(versions):
        return {"verdict": "superseded"}
    return {"verdict": "restored" if stores.restore() else "unchanged"}
