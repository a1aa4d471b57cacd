"""How fast each language of each stream speaks, so that neighbouring dubs keep near each other."""

from __future__ import annotations

from gpu_handler.language_job import LanguageJob
from livedub.timeline.isochrony import TempoRange
from livedub.timeline.tempo_memory import TempoMemory


class StreamTempos:
    """A `TempoMemory` asked and told by what is dubbed; one event loop does both."""

    def __init__(self) -> None:
        self._memory = TempoMemory()

    def near(self, task: LanguageJob) -> TempoRange:
        """Tempos near the dub before this one; any where there is none, or it was long ago."""
        return self._memory.allowed(
            task.job.stream,
            task.language,
            sequence_number=task.job.request.sequence_number,
            now_s=task.job.received_s,
        )

    def learn(self, task: LanguageJob, tempo: float) -> None:
        """Keep a dub's tempo: the planned one first, then the one that it got."""
        self._memory.learn(
            task.job.stream,
            task.language,
            tempo,
            sequence_number=task.job.request.sequence_number,
            now_s=task.job.received_s,
        )
