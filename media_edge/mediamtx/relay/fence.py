"""Which generation may publish each output here: memory that only moves forward."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass

_MOST_PATHS = 10_000
_MOST_EARLIER = 16


@dataclass(frozen=True, slots=True)
class Permit:
    """The latest publisher of an output that was let in, and the connections it replaced.

    Without a connection nobody was: a newer generation came to another output of the stream.
    """

    generation: int
    token_hash: str
    connection: str
    replaced: tuple[str, ...] = ()


class Fence:
    """The latest permit of every output path; the paths longest unused are forgotten first.

    The outputs of a stream, one for each language, are one holder's: a newer generation on one of them ends the older
    one's right to all of them.

    The control plane decides who holds a stream. This memory closes the gap between its answer and ours: an answer
    that was given before a takeover and arrives after it lets nobody in.
    """

    def __init__(self, most_paths: int = _MOST_PATHS) -> None:
        self._permits: OrderedDict[str, Permit] = OrderedDict()
        self._most_paths = most_paths

    def admit(self, path: str, *, generation: int, token: str, connection: str) -> bool:
        """Remember a permitted publisher; False when a newer generation was permitted on the stream before."""
        if any(permit.generation > generation for permit in self.outputs_beside(path).values()):
            return False
        self._permits[path] = self._successor(path, generation, _hash(token), connection)
        self._permits.move_to_end(path)
        if len(self._permits) > self._most_paths:
            self._permits.popitem(last=False)
        return True

    def outputs_beside(self, path: str) -> dict[str, Permit]:
        """The latest permit of each output of the path's stream, the path's own included."""
        stream = path.rpartition("/")[0]
        return {it: permit for it, permit in self._permits.items() if it.rpartition("/")[0] == stream}

    def supersede(self, path: str, generation: int) -> list[str]:
        """End what older generations were permitted on the stream's other outputs; returns the paths of those."""
        ended = [
            other
            for other, permit in self.outputs_beside(path).items()
            if other != path and permit.generation < generation
        ]
        for other in ended:
            self._permits[other] = self._successor(other, generation, "", "")
        return ended

    def was_replaced(self, path: str, connection: str) -> bool:
        """Whether somebody was permitted after `connection`, or its generation is over."""
        permit = self._permits.get(path)
        return permit is not None and connection in permit.replaced

    def is_latest(self, path: str, connection: str) -> bool:
        """Whether nobody was admitted to `path` after `connection`."""
        permit = self._permits.get(path)
        return permit is not None and permit.connection == connection

    def latest(self, path: str) -> Permit | None:
        """The latest permit of `path`."""
        return self._permits.get(path)

    def matches(self, path: str, token: str) -> bool:
        """Whether `token` is what the latest publisher of `path` came with; compared in constant time."""
        permit = self._permits.get(path)
        return permit is not None and hmac.compare_digest(permit.token_hash, _hash(token))

    def _successor(self, path: str, generation: int, token_hash: str, connection: str) -> Permit:
        known = self._permits.get(path)
        earlier = () if known is None else (*known.replaced, known.connection)
        # nginx numbers its connections anew when it restarts: who is let in now was not replaced.
        replaced = tuple(it for it in earlier if it and it != connection)[-_MOST_EARLIER:]
        return Permit(generation, token_hash, connection, replaced)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", errors="replace")).hexdigest()
