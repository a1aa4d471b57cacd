from __future__ import annotations

import json

import pytest

from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.origin import TimelineOrigin, TimelineStore, anchor

UTC_NS = 1_700_000_000 * NS_PER_S
FIRST_PTS_NS = 90 * NS_PER_S
ORIGIN = TimelineOrigin.begin(pts_ns=FIRST_PTS_NS, utc_now_ns=UTC_NS, delay_ms=4_000, generation=1)


class MemoryStore:
    def __init__(self) -> None:
        self._rows: dict[str, str] = {}

    def load(self, stream_id: str) -> TimelineOrigin | None:
        row = self._rows.get(stream_id)
        return None if row is None else TimelineOrigin.from_json(json.loads(row))

    def save(self, stream_id: str, origin: TimelineOrigin) -> None:
        self._rows[stream_id] = json.dumps(origin.to_json())


def anchored(
    pts_ns: int, after_ns: int, last_aired_media_ns: int | None = None, origin: TimelineOrigin = ORIGIN
) -> int:
    """Media time given to the first sample of a session."""
    offset_ns = anchor(
        origin,
        pts_ns=pts_ns,
        utc_now_ns=UTC_NS + after_ns,
        tolerance_ns=1500 * NS_PER_MS,
        last_aired_media_ns=last_aired_media_ns,
    )
    return pts_ns + offset_ns


def test_a_stream_begins_at_media_zero():
    assert FIRST_PTS_NS + ORIGIN.media_offset_ns == 0
    assert anchored(FIRST_PTS_NS, 0) == 0


@pytest.mark.parametrize("late_ms", [-1500, -20, 0, 340, 1500])
def test_a_new_worker_on_a_running_publisher_continues_to_the_nanosecond(late_ms: int):
    pts_ns = FIRST_PTS_NS + 600 * NS_PER_S + 21_333_333

    media_ns = anchored(pts_ns, 600 * NS_PER_S + 21_333_333 + late_ms * NS_PER_MS)

    assert media_ns == 600 * NS_PER_S + 21_333_333


def test_a_publisher_that_starts_over_goes_on_by_the_wall_clock():
    assert anchored(0, 604 * NS_PER_S) == 604 * NS_PER_S


def test_a_publisher_whose_pts_paused_with_it_goes_on_by_the_wall_clock():
    assert anchored(FIRST_PTS_NS + 600 * NS_PER_S, 604 * NS_PER_S) == 604 * NS_PER_S


def test_a_wall_clock_set_back_does_not_take_the_stream_back():
    assert anchored(0, 100 * NS_PER_S, last_aired_media_ns=596 * NS_PER_S) == 596 * NS_PER_S
    assert anchored(0, -100 * NS_PER_S) == 0


def test_a_publisher_that_repeats_what_was_aired_is_moved_behind_it():
    repeated_pts_ns = FIRST_PTS_NS + 600 * NS_PER_S

    assert anchored(repeated_pts_ns, 601 * NS_PER_S, 600 * NS_PER_S + 1) == 601 * NS_PER_S
    assert anchored(repeated_pts_ns, 601 * NS_PER_S, 600 * NS_PER_S) == 600 * NS_PER_S


def test_an_origin_saved_anew_outlives_drift():
    """At 200 ppm a day is 17 s long on the wall: the saved `utc_ns` must follow or the publisher seems to be new."""
    media_ns, wall_ns = 86_400 * NS_PER_S, 86_417 * NS_PER_S
    saved = TimelineOrigin(UTC_NS + wall_ns - media_ns, ORIGIN.media_offset_ns, 4_000, 1)

    assert anchored(FIRST_PTS_NS + media_ns, wall_ns) == wall_ns
    assert anchored(FIRST_PTS_NS + media_ns, wall_ns, origin=saved) == media_ns


def test_an_origin_survives_its_store():
    store: TimelineStore = MemoryStore()

    assert store.load("news") is None
    store.save("news", ORIGIN)
    assert store.load("news") == ORIGIN


def test_fields_of_a_newer_release_are_ignored():
    assert TimelineOrigin.from_json({**ORIGIN.to_json(), "colour": "blue"}) == ORIGIN


@pytest.mark.parametrize("value", [None, "4000", 4000.0, True])
def test_a_damaged_origin_names_the_field(value: object):
    with pytest.raises(InvalidInputError, match="delay_ms of the stored timeline"):
        TimelineOrigin.from_json({**ORIGIN.to_json(), "delay_ms": value})
