"""One language of the dub: which rung each fragment airs on, and what that sounds like."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from livedub.audio.pcm import PROGRAMME_RATE_HZ
from livedub.dubbing.analysis import ProgrammeAnalysis
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.fragment import DubbingFragment, LanguageDub, Outcome, RenderedBlock
from livedub.dubbing.playout import Playout
from livedub.timeline.clock import samples_to_ns
from livedub.timeline.ladder import Ladder, Rung
from livedub.timeline.sequencer import Outcome as ReleaseOutcome
from livedub.timeline.sequencer import Release, Sequencer

Decided = Callable[[DubbingFragment, LanguageDub], None]
"""Told once per fragment, when its rung is decided: as soon as its dub is there, at the latest when its time has come."""


class DubTrack:
    """Sequencer, ladder and playout of one language; the programme is shared and only read.

    Decisions fall on playout time (the position being rendered) and on this language's answers alone, so what one
    track airs does not depend on which others there are.
    """

    def __init__(
        self, key: str, config: DubbingConfig, programme: ProgrammeAnalysis, on_decided: Decided
    ) -> None:
        self._key = key
        self._on_decided = on_decided
        self._playout = Playout(config, programme)
        self._sequencer: Sequencer[DubbingFragment] = Sequencer()
        self._ladder = Ladder()
        self._undecided: deque[DubbingFragment] = deque()
        self._frontier_ns = 0

    @property
    def lead_samples(self) -> int:
        """How far before a fragment's start its transition begins."""
        return self._playout.lead_samples

    def expect(self, fragment: DubbingFragment) -> None:
        """A fragment was cut that this language is asked for."""
        self._sequencer.expect(fragment.sequence_number, fragment.cut.start_ns)
        self._undecided.append(fragment)

    def offer(self, fragment: DubbingFragment) -> None:
        """A fragment's outcome is there."""
        self._sequencer.offer(fragment.sequence_number, fragment, self._frontier_ns)

    def render(self, position: int, count: int) -> RenderedBlock:
        """What goes to air for `count` samples from `position`; whatever is not ready by now is not aired."""
        self._decide_until(samples_to_ns(position + count + self.lead_samples, PROGRAMME_RATE_HZ))
        return self._playout.render(position, count)

    def retire(self, reason: str) -> None:
        """The language is no longer wanted: what was not decided yet will not air."""
        while self._undecided:
            fragment = self._undecided.popleft()
            dub = fragment.dubs[self._key]
            dub.rung, dub.decision_reason = Rung.ORIGINAL.value, reason
            dub.outcome = dub.outcome or Outcome(reason=reason)
            self._on_decided(fragment, dub)

    def _decide_until(self, frontier_ns: int) -> None:
        """Settle what is ready, then everything whose transition begins before `frontier_ns`, deadline by deadline."""
        self._decide(self._sequencer.poll(self._frontier_ns))
        while (deadline_ns := self._sequencer.next_deadline_ns) is not None and deadline_ns < frontier_ns:
            self._decide(self._sequencer.poll(deadline_ns))
            self._decide(self._sequencer.poll(deadline_ns + 1))
        self._frontier_ns = max(self._frontier_ns, frontier_ns)

    def _decide(self, releases: list[Release[DubbingFragment]]) -> None:
        for release in releases:
            fragment = self._undecided.popleft()
            dub = fragment.dubs[self._key]
            self._decide_one(fragment, dub, in_time=release.outcome is ReleaseOutcome.ON_TIME)
            self._playout.air(fragment, dub)
            self._on_decided(fragment, dub)

    def _decide_one(self, fragment: DubbingFragment, dub: LanguageDub, *, in_time: bool) -> None:
        outcome = dub.outcome
        if outcome is not None and outcome.speechless:
            dub.rung, dub.decision_reason = Rung.ORIGINAL.value, "no_speech"
            return
        airable = outcome is not None and outcome.airable
        ready = airable and in_time
        decision = self._ladder.decide(ready, fragment.cut.start_ns)
        dub.rung = decision.rung.value
        dub.late = outcome is None or (airable and not in_time)
        if decision.rung is Rung.DUB:
            dub.decision_reason = "aired"
        elif ready:
            dub.decision_reason = decision.reason
        else:
            dub.decision_reason = outcome.reason if outcome is not None and not airable else "late"
