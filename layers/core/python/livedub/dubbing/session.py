"""The dubbing session: programme in, dubbed programme out in each language, D later.

`push` takes the programme as it arrives, each track's `render` gives what goes to air at each block's deadline, in
between fragments travel through STS. Listening, cutting, separating and asking STS happen once whatever the number of
languages; a track is one language's own: what airs, decided on playout time (the position being rendered), so the
same input and the same answers give the same output whether the clock is real or virtual.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples, rms_dbfs
from livedub.audio.separation import DeepFilterSeparator, SpeechSeparator
from livedub.dubbing.analysis import ProgrammeAnalysis
from livedub.dubbing.asking import StsExchange
from livedub.dubbing.cached_speech import CachedSpeech
from livedub.dubbing.config import FIRST_TRACK, DubbingConfig
from livedub.dubbing.dump import FragmentDump
from livedub.dubbing.event_log import fragment_event, session_event
from livedub.dubbing.exchange import fragment_positions
from livedub.dubbing.fragment import DubbingFragment, LanguageDub, Outcome, RenderedBlock
from livedub.dubbing.ports import EventSink, LanguageSink, SessionClock, SpeechToSpeech
from livedub.dubbing.track import DubTrack
from livedub.media_cache.policy import CachePolicy
from livedub.timeline.clock import NS_PER_S
from livedub.timeline.fragmenter import FragmentCut
from livedub.timeline.ladder import Rung

logger = logging.getLogger(__name__)

_KEEP_BEYOND_DELAY_NS = 10 * NS_PER_S
_LOUDNESS_RANGE_DB = 9.0


class DubbingSession:
    """Dubs one programme into one language or several.

    Used from one asyncio loop; only `settle` and `aclose` wait. `cache_policy` says what is taken from a media cache
    and kept there; it stays the caller's to close.
    """

    def __init__(
        self,
        config: DubbingConfig,
        sts: SpeechToSpeech,
        clock: SessionClock,
        on_event: EventSink,
        *,
        dump: FragmentDump | None = None,
        on_language: LanguageSink | None = None,
        cache_policy: CachePolicy | None = None,
        separator_factory: Callable[[], SpeechSeparator] = DeepFilterSeparator,
    ) -> None:
        self._config = config
        self._on_event = on_event
        self._on_language = on_language
        self._dump = dump
        capacity_ns = config.delay_ns + config.fragmenter.max_ns + _KEEP_BEYOND_DELAY_NS
        self._programme = ProgrammeAnalysis(
            config.fragmenter,
            capacity_ns * PROGRAMME_RATE_HZ // NS_PER_S,
            separator_factory if config.separate else None,
        )
        self._cached = CachedSpeech(cache_policy) if cache_policy is not None else None
        self._exchange = StsExchange(sts, clock, config.in_flight_limit, self._cached)
        self._tracks: dict[str, DubTrack] = {}
        self._follow_languages()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unlogged: dict[int, DubbingFragment] = {}
        self._next_sequence_number = 0

    @property
    def in_flight(self) -> int:
        """Fragments that STS is working on now."""
        return self._exchange.in_flight

    @property
    def tracks(self) -> Mapping[str, DubTrack]:
        """What is dubbed into now: the first track, then one for each other language by its code."""
        return MappingProxyType(self._tracks)

    def start(self) -> None:
        """Announce the session in the event log."""
        self._on_event(session_event(self._config))

    def reconfigure(self, config: DubbingConfig) -> None:
        """Go on with other languages, voices, glossary or gains, from the next fragment on.

        A language that is new gets a track, which airs the original up to its first fragment; one that is gone loses
        its track at once. The other tracks do not notice.

        Raises:
            ConfigurationError: `config` changes what only a new session can change.
        """
        self._config.check_hot_change(config)
        if config.source_language != self._config.source_language:
            self._exchange.forget_context()
        self._config = config
        self._follow_languages()
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
        """The first track's `render`."""
        return self._tracks[FIRST_TRACK].render(position, count)

    async def settle(self, position: int) -> None:
        """Wait until every fragment that starts before `position` has its outcomes (for clocks that can wait)."""
        lead_samples = self._tracks[FIRST_TRACK].lead_samples
        waiting = [
            task
            for fragment in self._unlogged.values()
            if fragment.start_position - lead_samples < position
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
            for dub in fragment.dubs.values():
                dub.rung = dub.rung or Rung.ORIGINAL.value
                dub.decision_reason = dub.decision_reason or "session_closed"
            self._log(fragment)
        self._programme.close()
        if self._cached is not None:
            await self._cached.aclose()

    def _follow_languages(self) -> None:
        wanted = self._config.tracks
        for key in [key for key in self._tracks if key not in wanted]:
            self._tracks.pop(key).retire("language_removed")
        for key in wanted:
            if key not in self._tracks:
                self._tracks[key] = DubTrack(key, self._config, self._programme, self._decided)

    def _open_fragment(self, cut: FragmentCut) -> None:
        start, end = fragment_positions(cut.start_ns, cut.end_ns)
        fragment = DubbingFragment(
            config=self._config,
            sequence_number=self._next_sequence_number,
            cut=cut,
            start_position=start,
            end_position=end,
            deadline_ns=self._deadline_ns(cut.start_ns),
            dubs={track: LanguageDub(target) for track, target in self._config.tracks.items()},
        )
        self._next_sequence_number += 1
        for track in self._tracks.values():
            track.expect(fragment)
        self._unlogged[fragment.sequence_number] = fragment
        task = asyncio.create_task(self._dub(fragment), name=f"fragment-{fragment.sequence_number}")
        self._tasks[fragment.sequence_number] = task
        task.add_done_callback(lambda _: self._tasks.pop(fragment.sequence_number, None))

    def _deadline_ns(self, start_ns: int) -> int:
        lead_ns = self._config.mixer_lead_ns + self._config.crossfade_ns
        return start_ns + self._config.delay_ns - lead_ns

    async def _dub(self, fragment: DubbingFragment) -> None:
        if self._dump is not None:
            self._dump.write_source(fragment, self._fragment_audio(fragment))
        await self._exchange.ask(
            fragment,
            lambda: self._fragment_audio(fragment),
            lambda track, outcome: self._answered(fragment, track, outcome),
        )
        # The line holds the whole answer, which may follow the last dub.
        fragment.answered = True
        self._log_if_settled(fragment)

    def _answered(self, fragment: DubbingFragment, key: str, outcome: Outcome) -> None:
        """One language of a fragment has its answer."""
        dub = fragment.dubs[key]
        if dub.outcome is not None:
            return  # its language was removed meanwhile
        dub.outcome = outcome
        if outcome.dub is not None:
            dub.gain = self._dub_gain(fragment, outcome.dub)
            if self._dump is not None:
                dub.dump = self._dump.write_dub(fragment, key, outcome.dub)
        track = self._tracks.get(key)
        if track is not None and (outcome.airable or outcome.speechless):
            track.offer(fragment)
        if dub.settled:
            self._tell_language(fragment, dub)

    def _fragment_audio(self, fragment: DubbingFragment) -> Samples:
        return self._programme.original.read(
            fragment.start_position, fragment.end_position - fragment.start_position
        )

    def _dub_gain(self, fragment: DubbingFragment, samples: Samples) -> float:
        """The voice is brought to the loudness of the speech it replaces, where that speech is known apart."""
        dub_gain = fragment.config.dub_gain
        if not fragment.config.separate:
            return dub_gain
        source_db = _speech_level_db(
            self._programme.speech.read(
                fragment.start_position, fragment.end_position - fragment.start_position
            )
        )
        dub_db = _speech_level_db(samples)
        correction_db = max(-_LOUDNESS_RANGE_DB, min(_LOUDNESS_RANGE_DB, source_db - dub_db))
        return dub_gain * 10 ** (correction_db / 20)

    def _decided(self, fragment: DubbingFragment, dub: LanguageDub) -> None:
        self._tell_language(fragment, dub)
        self._log_if_settled(fragment)

    def _tell_language(self, fragment: DubbingFragment, dub: LanguageDub) -> None:
        if self._on_language is not None:
            self._on_language(fragment, dub)

    def _log_if_settled(self, fragment: DubbingFragment) -> None:
        if fragment.settled:
            self._log(fragment)

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
