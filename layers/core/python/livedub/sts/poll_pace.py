"""How often to ask RunPod about a job: often when something is due, seldom when not, never beyond its rate limit. Pure."""

from __future__ import annotations

FIRST_PAUSE_MS = 20
LONGEST_PAUSE_MS = 250
MS_PER_POLL_AND_JOB = 10
"""RunPod takes 2,000 polls in 10 s for an endpoint; half of them for this client leaves room for others."""

_GROWTH = 1.5


class PollPace:
    """Pauses between the polls of one job: 20 ms, growing by half to 250 ms, back to 20 ms on news.

    A job that takes a second costs about ten polls and is seen to end a tenth of a second late at most.
    """

    def __init__(self) -> None:
        self._pause_ms = float(FIRST_PAUSE_MS)

    def next_pause_ms(self, jobs_polled: int) -> int:
        """How long to wait before the next poll while `jobs_polled` jobs of this client are being polled."""
        pause_ms = max(self._pause_ms, MS_PER_POLL_AND_JOB * jobs_polled)
        self._pause_ms = min(LONGEST_PAUSE_MS, self._pause_ms * _GROWTH)
        return round(pause_ms)

    def news(self) -> None:
        """The job has told something: more may follow soon."""
        self._pause_ms = FIRST_PAUSE_MS

    def refused(self, retry_after_ms: int = 0) -> None:
        """A poll failed or was refused: wait long, or as long as the service asks."""
        self._pause_ms = max(LONGEST_PAUSE_MS, retry_after_ms)
