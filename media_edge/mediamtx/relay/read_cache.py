"""Answers about readers, used again for seconds: MediaMTX asks for every HLS request, and waits each time."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from media_edge.mediamtx.relay.incoming import Access

_MOST_ENTRIES = 20_000

Key = tuple[str, str, bytes]


class ReadCache:
    """Bounded; keeps hashes of credentials only. Never asked about publishers."""

    def __init__(
        self, *, fresh_s: float, stale_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`fresh_s`: how long any answer counts. `stale_s`: how long a yes counts while nobody can be asked."""
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._monotonic_s = monotonic_s
        self._answers: OrderedDict[Key, tuple[float, bool]] = OrderedDict()

    def fresh(self, access: Access) -> bool | None:
        """The answer that still counts, None when there is none."""
        known = self._answers.get(_key(access))
        if known is None or self._monotonic_s() - known[0] >= self._fresh_s:
            return None
        return known[1]

    def stale_yes(self, access: Access) -> bool:
        """Whether a reader was permitted recently enough to stay permitted in an outage."""
        known = self._answers.get(_key(access))
        return known is not None and known[1] and self._monotonic_s() - known[0] < self._stale_s

    def remember(self, access: Access, *, permitted: bool) -> None:
        """Keep an answer of the control plane."""
        key = _key(access)
        self._answers[key] = (self._monotonic_s(), permitted)
        self._answers.move_to_end(key)
        if len(self._answers) > _MOST_ENTRIES:
            self._answers.popitem(last=False)


def _key(access: Access) -> Key:
    # The address belongs to the question: a policy may admit by it.
    digest = hashlib.sha256(access.credential.encode("utf-8", errors="replace")).digest()
    return access.path, access.remote_address, digest
