"""moto's request dispatch: which service a request is for."""

from __future__ import annotations

from typing import Any

from local.aws.overlay.patching import Patch


def patches() -> list[Patch]:
    """The patch of the dispatch."""
    return [
        Patch(
            "moto.backends:list_of_moto_modules",
            "4f741a10b065",
            "moto lists its own folder on disk for every request, 5 ms under a lock that all requests share",
            _list_once,
        ),
    ]


def _list_once(original: Any) -> Any:
    modules = frozenset(original())
    return lambda: modules
