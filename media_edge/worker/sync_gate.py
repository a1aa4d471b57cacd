"""Keeps the first units of an RTSP session back until it is known how its tracks belong together.

RTP gives every track a time of its own. RTP-Info in the answer to PLAY (RFC 2326, 12.33) joins them at once, and the
first RTCP sender reports (RFC 3550, 6.4.1) exactly. A server that is asked before all of its tracks run tells a wrong
RTP-Info, and a track's timestamps then jump by seconds when the report comes. So: wait a little for the reports, and
longer where the tracks' arrivals say that something is wrong.
"""

from __future__ import annotations

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.units import Arrival, MediaUnit, sending_ns

_SETTLE_NS = 200 * NS_PER_MS
"""A report is applied to what arrives after it."""
_DISAGREEMENT_NS = 500 * NS_PER_MS
"""More than encoders and networks put between tracks that were stamped at the same moment."""
_PATIENCE_NS = 8 * NS_PER_S


class SyncGate:
    """Drops arrivals until every track is synchronised, then lets everything pass.

    Without reports it opens after `limit_ns` where the tracks' timestamps agree with their arrivals, else after 8 s.
    """

    def __init__(self, limit_ns: int) -> None:
        self._limit_ns = limit_ns
        self._first_ns: int | None = None
        self._synchronised_at_ns: int | None = None
        self._least_lag_ns: dict[type[MediaUnit], int] = {}
        self._open = False

    @property
    def open(self) -> bool:
        """Whether arrivals pass."""
        return self._open

    def admit(self, arrivals: list[Arrival], *, synchronised: bool, now_ns: int) -> list[Arrival]:
        """The arrivals, or none of them while the gate is closed."""
        if not self._open:
            self._learn(arrivals)
            self._open = self._may_open(now_ns, synchronised=synchronised)
        return arrivals if self._open else []

    def _learn(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            if self._first_ns is None:
                self._first_ns = arrival.local_ns
            track, lag_ns = type(arrival.unit), arrival.local_ns - sending_ns(arrival.unit)
            self._least_lag_ns[track] = min(lag_ns, self._least_lag_ns.get(track, lag_ns))

    def _may_open(self, now_ns: int, *, synchronised: bool) -> bool:
        if self._first_ns is None:
            return False
        if synchronised:
            if self._synchronised_at_ns is None:
                self._synchronised_at_ns = now_ns
            return now_ns - self._synchronised_at_ns >= _SETTLE_NS
        waited_ns = now_ns - self._first_ns
        return waited_ns >= _PATIENCE_NS or (waited_ns >= self._limit_ns and self._tracks_agree())

    def _tracks_agree(self) -> bool:
        lags = self._least_lag_ns.values()
        return max(lags) - min(lags) <= _DISAGREEMENT_NS
