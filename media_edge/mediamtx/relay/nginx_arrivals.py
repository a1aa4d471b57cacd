"""Publishers of `in` that nginx was told to let in, until its statistics surely show them."""

from __future__ import annotations

import time
from collections.abc import Callable

from media_edge.mediamtx.relay.publishers import Publisher

_UNTIL_SHOWN_S = 3.0


class NginxArrivals:
    """nginx asks before it lets a publisher in and shows it only after: this fills the moment between."""

    def __init__(self, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._permitted: dict[str, tuple[Publisher, float]] = {}

    def on(self, path: str) -> bool:
        """Whether a publisher of `path` was permitted just now."""
        return any(publisher.path == path for publisher in self.present())

    def present(self) -> list[Publisher]:
        """Everybody who was permitted just now and has not left."""
        oldest_s = self._monotonic_s() - _UNTIL_SHOWN_S
        self._permitted = {path: known for path, known in self._permitted.items() if known[1] > oldest_s}
        return [publisher for publisher, _ in self._permitted.values()]

    def came(self, publisher: Publisher) -> None:
        """Nginx is about to be told yes."""
        self._permitted[publisher.path] = (publisher, self._monotonic_s())

    def left(self, path: str, connection: str) -> None:
        """Nginx says that a publisher is gone."""
        known = self._permitted.get(path)
        if known is not None and known[0].connection == connection:
            del self._permitted[path]
