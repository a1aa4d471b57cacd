"""Where the dub of a request goes."""

from __future__ import annotations

from collections.abc import Sequence

from livedub.sts.contract import StsRequest
from livedub.timeline.slot import Slot


def slot_of(request: StsRequest, spans: Sequence[tuple[int, int]] = ()) -> Slot:
    """The time of the source's speech, and the room that the request allows after it.

    Args:
        request: its word on where speech lies counts more than `spans`.
        spans: where a detector found speech, in milliseconds from the fragment's start; without any, and without the
            request's word, all of the fragment is speech.
    """
    fragment_ms = request.audio.duration_ms
    if request.speech:
        start, end = request.speech[0].start_ms, request.speech[-1].end_ms
    elif spans:
        start, end = spans[0][0], spans[-1][1]
    else:
        start, end = 0, fragment_ms
    start = min(start, fragment_ms - 1)
    end = max(start + 1, min(end, fragment_ms))
    return Slot(fragment_ms, start, end, fragment_ms + request.config.max_overflow_ms)
