"""The dubbing session: programme in, dubbed programme out, D later.

`push` takes the programme as it arrives, `render` gives what goes to air at each block's deadline, in between
fragments travel through STS. Decisions fall on playout time (the position being rendered), so the same input and
the same answers give the same output whether the clock is real or virtual.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples, rms_dbfs, to_mono
from livedub.audio.separation import DeepFilterSeparator, SpeechSeparator
from livedub.dubbing.analysis import ProgrammeAnalysis
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.dump import FragmentDump
from livedub.dubbing.event_log import fragment_event, session_event
from livedub.dubbing.exchange import build_request, fragment_positions, read_result
from livedub.dubbing.fragment import DubbingFragment, Outcome, RenderedBlock
from livedub.dubbing.playout import Playout
from livedub.dubbing.ports import EventSink, SessionClock, SpeechToSpeech
from livedub.sts.errors import StsFailure
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, samples_to_ns
from livedub.timeline.fragmenter import FragmentCut
from livedub.timeline.ladder import Ladder, Rung
from livedub.timeline.sequencer import Outcome as ReleaseOutcome
from livedub.timeline.sequencer import Release, Sequencer

logger = logging.getLogger(__name__)

_KEEP_BEYOND_DELAY_NS = 10 * NS_PER_S
_LOUDNESS_RANGE_DB = 9.0


class DubbingSession:
    """Dubs one programme into one language.

    Used from one asyncio loop; only `settle` and `aclose` wait.
    """

    def __init__(
        self,
        config: DubbingConfig,
        sts: SpeechToSpeech,
        clock: SessionClock,
        on_event: EventSink,
        *,
        dump: FragmentDump | None = None,
        separator_factory: Callable[[], SpeechSeparator] = DeepFilterSeparator,
    ) -> None:
        self._config = config
        self._sts = sts
        self._clock = clock
        self._on_event = on_event
        self._dump = dump
        capacity_ns = config.delay_ns + config.fragmenter.max_ns + _KEEP_BEYOND_DELAY_NS
        self._programme = ProgrammeAnalysis(
            config.fragmenter,
            capacity_ns * PROGRAMME_RATE_HZ // NS_PER_S,
            separator_factory if config.separate else None,
        )
        self._playout = Playout(config, self._programme)
        self._sequencer: Sequencer[DubbingFragment] = Sequencer()
        self._ladder = Ladder()
        self._slots = asyncio.Semaphore(config.in_flight_limit)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._undecided: deque[DubbingFragment] = deque()
        self._unlogged: dict[int, DubbingFragment] = {}
        self._next_sequence_number = 0
        self._frontier_ns = 0
        self._in_flight = 0
        self._context = ""

    @property
    def in_flight(self) -> int:
        """Fragments that STS is working on now."""
        return self._in_flight

    def start(self) -> None:
        """Announce the session in the event log."""
        self._on_event(session_event(self._config))

    def reconfigure(self, config: DubbingConfig) -> None:
        """Go on with other languages, voice, glossary or gains, from the next fragment on.

        Raises:
            ConfigurationError: `config` changes what only a new session can change.
        """
        self._config.check_hot_change(config)
        if config.source_language != self._config.source_language:
            self._context = ""
        self._config = config
        self._on_event({**session_event(config), "event": "settings"})

    def push(self, position: int, samples: Samples) -> None:
        """Take (n, 2) float32 samples at an absolute 48 kHz position; holes are allowed and stay silent."""
        for cut in self._programme.push(position, samples):
            self._open_fragment(cut)

    def end_of_input(self) -> None:
        """No more input for now: the open fragment is cut and sent."""
        for cut in self._programme.flush():
            self._open_fragment(cut)

    def render(self, position: int, count: int) -> RenderedBlock:
        """What goes to air for `count` samples from `position`; whatever is not ready by now is not aired."""
        self._decide_until(samples_to_ns(position + count + self._playout.lead_samples, PROGRAMME_RATE_HZ))
        return self._playout.render(position, count)

    async def settle(self, position: int) -> None:
        """Wait until every fragment that starts before `position` has its outcome (for clocks that can wait)."""
        waiting = [
            task
            for fragment in self._unlogged.values()
            if fragment.start_position - self._playout.lead_samples < position
            and (task := self._tasks.get(fragment.sequence_number)) is not None
        ]
        if waiting:
            await asyncio.wait(waiting)

    async def aclose(self) -> None:
        """Cancel what is in flight, log what never aired, free the models."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for fragment in list(self._unlogged.values()):
            fragment.rung = fragment.rung or Rung.ORIGINAL.value
            fragment.decision_reason = fragment.decision_reason or "session_closed"
            self._log(fragment)
        self._programme.close()

    def _open_fragment(self, cut: FragmentCut) -> None:
        start, end = fragment_positions(cut.start_ns, cut.end_ns)
        fragment = DubbingFragment(
            config=self._config,
            sequence_number=self._next_sequence_number,
            cut=cut,
            start_position=start,
            end_position=end,
            deadline_ns=self._deadline_ns(cut.start_ns),
        )
        self._next_sequence_number += 1
        self._sequencer.expect(fragment.sequence_number, cut.start_ns)
        self._undecided.append(fragment)
        self._unlogged[fragment.sequence_number] = fragment
        task = asyncio.create_task(self._dub(fragment), name=f"fragment-{fragment.sequence_number}")
        self._tasks[fragment.sequence_number] = task
        task.add_done_callback(lambda _: self._tasks.pop(fragment.sequence_number, None))

    def _deadline_ns(self, start_ns: int) -> int:
        lead_ns = self._config.mixer_lead_ns + self._config.crossfade_ns
        return start_ns + self._config.delay_ns - lead_ns

    async def _dub(self, fragment: DubbingFragment) -> None:
        outcome = await self._ask_sts(fragment)
        fragment.outcome = outcome
        if self._dump is not None:
            fragment.dump = self._dump.write(fragment, self._fragment_audio(fragment))
        if outcome.airable or outcome.speechless:
            self._sequencer.offer(fragment.sequence_number, fragment, self._frontier_ns)
        if fragment.rung:
            self._log(fragment)

    async def _ask_sts(self, fragment: DubbingFragment) -> Outcome:
        sent_ns: int | None = None
        try:
            await asyncio.wait_for(self._slots.acquire(), self._remaining_ms(fragment) / 1_000)
        except asyncio.TimeoutError:
            return Outcome(reason="in_flight_full")
        self._in_flight += 1
        try:
            sent_ns = self._clock.now_media_ns()
            audio = to_mono(self._fragment_audio(fragment))
            request = build_request(
                fragment, audio, deadline_ms=self._remaining_ms(fragment), context=self._context
            )
            result = await self._sts.process(request)
            outcome = read_result(fragment, result)
        except StsFailure as failure:
            logger.warning("fragment %d has no dub: %s", fragment.sequence_number, failure)
            outcome = Outcome(reason=failure.reason)
        except Exception:
            logger.exception("fragment %d failed inside the session", fragment.sequence_number)
            outcome = Outcome(reason="internal_error")
        finally:
            self._in_flight -= 1
            self._slots.release()
        outcome.sent_ns = sent_ns
        if outcome.airable:
            outcome.ready_ns = self._clock.now_media_ns()
            fragment.gain = self._dub_gain(fragment, outcome)
        if outcome.result is not None and outcome.result.transcript is not None:
            self._context = outcome.result.transcript.text
        return outcome

    def _remaining_ms(self, fragment: DubbingFragment) -> int:
        remaining_ns = fragment.deadline_ns - self._clock.now_media_ns()
        return min(120_000, max(1, remaining_ns // NS_PER_MS))

    def _fragment_audio(self, fragment: DubbingFragment) -> Samples:
        return self._programme.original.read(
            fragment.start_position, fragment.end_position - fragment.start_position
        )

    def _dub_gain(self, fragment: DubbingFragment, outcome: Outcome) -> float:
        """The voice is brought to the loudness of the speech it replaces, where that speech is known apart."""
        dub_gain = fragment.config.dub_gain
        if not fragment.config.separate or outcome.dub is None:
            return dub_gain
        source_db = _speech_level_db(
            self._programme.speech.read(
                fragment.start_position, fragment.end_position - fragment.start_position
            )
        )
        dub_db = _speech_level_db(outcome.dub)
        correction_db = max(-_LOUDNESS_RANGE_DB, min(_LOUDNESS_RANGE_DB, source_db - dub_db))
        return dub_gain * 10 ** (correction_db / 20)

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
            self._decide_one(fragment, in_time=release.outcome is ReleaseOutcome.ON_TIME)
            self._playout.air(fragment, Rung(fragment.rung))
            if fragment.outcome is not None:
                self._log(fragment)

    def _decide_one(self, fragment: DubbingFragment, *, in_time: bool) -> None:
        outcome = fragment.outcome
        if outcome is not None and outcome.speechless:
            fragment.rung, fragment.decision_reason = Rung.ORIGINAL.value, "no_speech"
            return
        airable = outcome is not None and outcome.airable
        ready = airable and in_time
        decision = self._ladder.decide(ready, fragment.cut.start_ns)
        fragment.rung = decision.rung.value
        fragment.late = outcome is None or (airable and not in_time)
        if decision.rung is Rung.DUB:
            fragment.decision_reason = "aired"
        elif ready:
            fragment.decision_reason = decision.reason
        else:
            fragment.decision_reason = outcome.reason if outcome is not None and not airable else "late"

    def _log(self, fragment: DubbingFragment) -> None:
        if self._unlogged.pop(fragment.sequence_number, None) is not None:
            self._on_event(fragment_event(fragment))


def _speech_level_db(samples: Samples) -> float:
    """Level of the louder half of 20 ms blocks: pauses do not count."""
    mono = samples[:, 0] if samples.ndim > 1 else samples
    block = PROGRAMME_RATE_HZ // 50
    whole = len(mono) // block * block
    if whole == 0:
        return -120.0
    blocks = mono[:whole].reshape(-1, block)
    energies = (blocks * blocks).mean(axis=1)
    loud = blocks[energies >= sorted(energies)[len(energies) // 2]]
    return rms_dbfs(loud)
