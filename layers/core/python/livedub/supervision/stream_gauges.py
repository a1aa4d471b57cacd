"""How the streams are all together at one moment: what dashboards draw and alarms compare with their bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from livedub.supervision.contract import PathReport
from livedub.supervision.overview import State, overview
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord

Unit = Literal["Count", "Seconds"]

_TIMED: Mapping[State, str] = {
    "starting": "LongestStarting",
    "waiting_for_capacity": "LongestWaiting",
    "unattended": "LongestUnattended",
}
"""States that no stream should stay in, and the metric that says for how long one has."""


@dataclass(frozen=True, slots=True)
class StreamGauges:
    """The streams at one moment.

    Attributes:
        by_state: number of streams in each state, zeros included.
        longest_s: by metric, for how many seconds the stream that has been longest in that state has been in it.
        relays_reporting: relays whose path list is fresh.
        relays_silent: relays that have a publisher on, or an output, and whose path list is not fresh.
    """

    by_state: Mapping[State, int]
    longest_s: Mapping[str, float]
    relays_reporting: int
    relays_silent: int

    def metrics(self) -> Iterator[tuple[str, Unit, float]]:
        """Name, unit and value of each; always the same names, so that no series breaks off."""
        for state, streams in self.by_state.items():
            yield metric_of(state), "Count", streams
        for name, seconds in self.longest_s.items():
            yield name, "Seconds", seconds
        yield "RelaysReporting", "Count", self.relays_reporting
        yield "RelaysSilent", "Count", self.relays_silent


def metric_of(state: State) -> str:
    """`StreamsSourceAbsent` counts those in state `source_absent`."""
    return "Streams" + "".join(word.title() for word in state.split("_"))


def stream_gauges(
    records: Collection[StreamRecord],
    reports: Sequence[PathReport],
    now_ms: int,
    policy: SupervisionPolicy,
) -> StreamGauges:
    """Count `records` as `reports`, path lists of whatever age, and the clock find them."""
    by_state: dict[State, int] = dict.fromkeys(get_args(State), 0)
    longest_s = dict.fromkeys(_TIMED.values(), 0.0)
    for record in records:
        seen = overview(record, now_ms, policy)
        by_state[seen.state] += 1
        name = _TIMED.get(seen.state)
        if name and seen.since_ms is not None:
            longest_s[name] = max(longest_s[name], (now_ms - seen.since_ms) / 1_000)
    oldest_ms = now_ms - policy.report_stale_s * 1_000
    fresh = {report.relay_id for report in reports if report.taken_at_ms >= oldest_ms}
    needed = {record.media.relay_id for record in records if record.media and record.source_present}
    return StreamGauges(by_state, longest_s, len(fresh), len(needed - fresh))
