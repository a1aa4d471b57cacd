from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.origin import TimelineOrigin, anchor

NS = st.integers(-(10**18), 10**18)
ORIGINS = st.builds(TimelineOrigin, NS, NS, st.integers(0, 60_000), st.integers(0, 10**6))


@settings(deadline=None)
@given(origin=ORIGINS, pts_ns=NS, utc_now_ns=NS, tolerance_ns=st.integers(0, 10**10), aired_ns=st.none() | NS)
def test_the_timeline_never_goes_back(
    origin: TimelineOrigin, pts_ns: int, utc_now_ns: int, tolerance_ns: int, aired_ns: int | None
):
    offset_ns = anchor(
        origin, pts_ns=pts_ns, utc_now_ns=utc_now_ns, tolerance_ns=tolerance_ns, last_aired_media_ns=aired_ns
    )

    media_ns = pts_ns + offset_ns
    assert aired_ns is None or media_ns >= aired_ns
    assert offset_ns == origin.media_offset_ns or media_ns == max(utc_now_ns - origin.utc_ns, aired_ns or 0)


@settings(deadline=None)
@given(origin=ORIGINS, media_ns=st.integers(0, 10**17), error_ns=st.integers(-(10**9), 10**9))
def test_a_running_publisher_keeps_its_offset_over_any_number_of_workers(
    origin: TimelineOrigin, media_ns: int, error_ns: int
):
    offset_ns = anchor(
        origin,
        pts_ns=media_ns - origin.media_offset_ns,
        utc_now_ns=origin.utc_ns + media_ns + error_ns,
        tolerance_ns=10**9,
        last_aired_media_ns=media_ns,
    )

    assert offset_ns == origin.media_offset_ns
