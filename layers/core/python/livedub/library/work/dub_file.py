"""Dubs a range of a file, and joins dubbed ranges to a file; what is between, each executor does in its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from livedub.audio.pcm import PROGRAMME_CHANNELS, Samples
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.event_log import language_event
from livedub.dubbing.fragment import DubbingFragment, LanguageDub, RenderedBlock
from livedub.dubbing.media_file import dub_media_file
from livedub.dubbing.ports import SpeechToSpeech
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_tracks
from livedub.errors import InvalidInputError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import DubParameters
from livedub.library.work.dub_part import DubPartFile, PartCue, PartLanguage, PartSummary, PartWriter, pack
from livedub.library.work.dub_plan import DubRange
from livedub.library.work.programme_file import read_range
from livedub.library.work.step_progress import ASK_EVERY_S, StepProgress
from livedub.sts.contract import Target
from livedub.timeline.clock import NS_PER_S
from livedub.timeline.fragmenter import FragmenterConfig
from livedub.timeline.ladder import Rung
from livedub.timeline.subtitles import Cue, cue_from_event, render_webvtt

_Result = TypeVar("_Result")

_FRAGMENT_MAX_S = 8
_DELAY_S = 60
"""On a virtual clock D is only a bound: long enough that a slow service still dubs every fragment."""


def dub_config(job_name: str, index: int, parameters: DubParameters, *, separate: bool) -> DubbingConfig:
    """The session of one range. One fragment at a time, so that each knows what was said before, always the same."""
    first, *more = (Target(language=target.language, voice=target.voice) for target in parameters.targets)
    return DubbingConfig(
        stream_id=job_name,
        generation=index,
        source_language=parameters.source_language,
        target_language=first.language,
        voice=first.voice,
        more_targets=tuple(more),
        delay_ns=_DELAY_S * NS_PER_S,
        fragmenter=FragmenterConfig(max_ns=_FRAGMENT_MAX_S * NS_PER_S),
        in_flight_limit=1,
        separate=separate,
    )


async def dub_to_part(
    source: Path,
    name: str,
    dub_range: DubRange,
    config: DubbingConfig,
    sts: SpeechToSpeech,
    part: Path,
    progress: StepProgress,
) -> PartSummary:
    """Write `part`: the range dubbed into every language, exactly as long as it is, and its subtitles.

    Raises:
        JobCancelledError: `progress` said so.
        LibraryError: what reading the source says.
    """
    tallies = {track: _Tally(target.language) for track, target in config.tracks.items()}
    by_language = {tally.language: tally for tally in tallies.values()}

    def tell(fragment: DubbingFragment, dub: LanguageDub) -> None:
        by_language[dub.target.language].tell(fragment, dub)

    clock = VirtualClock()
    session = DubbingSession(config, sts, clock, lambda _: None, on_language=tell)
    folder = part.with_suffix("")
    folder.mkdir()
    length = max(1, dub_range.end - dub_range.start)
    with PartWriter(folder, list(config.tracks)) as writer:
        try:
            session.start()
            programme = read_range(source, name, dub_range)
            async for position, blocks in dub_tracks(session, clock, config, programme):
                for track, block in blocks.items():
                    writer.write(track, block.samples)
                progress.tick((position - dub_range.start) / length)
        finally:
            await session.aclose()
        writer.finish()
    summary = PartSummary(
        index=dub_range.index,
        start=dub_range.start,
        end=dub_range.end,
        languages=tuple(tally.summary() for tally in tallies.values()),
    )
    pack(part, writer.sounds, summary)
    for sound in writer.sounds.values():
        sound.unlink()
    return summary


async def join_to_file(
    source: Path, parts: Sequence[DubPartFile], target: Path, config: DubbingConfig, progress: StepProgress
) -> None:
    """Write `target`: the picture of `source`, and a sound track of each language out of the parts.

    Raises:
        JobCancelledError: `progress` said so.
        LibraryError: UNSUPPORTED_TYPE where the container cannot hold it.
    """
    try:
        await dub_media_file(
            source,
            target,
            config,
            lambda _: _Playback(config, parts),
            lambda done, total: progress.tick(done / max(total, 1e-9)),
        )
    except InvalidInputError as error:
        raise LibraryError(LibraryErrorCode.UNSUPPORTED_TYPE, error.message, error.remedy) from error


def subtitles(parts: Sequence[DubPartFile], number: int) -> str:
    """The WebVTT of the language of that number."""
    cues = (cue for part in parts for cue in part.summary.languages[number].cues)
    return render_webvtt(Cue(cue.start_ns, cue.end_ns, cue.text) for cue in cues)


def refuse_too_many_failures(summaries: Iterable[PartSummary], allowed_percent: int, least: int = 1) -> None:
    """Let a dub fail in which more than the allowed share of a language's fragments stayed undubbed, `least` or more.

    Raises:
        LibraryError: WORK_FAILED with the commonest reason.
    """
    dubbed: Counter[str] = Counter()
    failures: dict[str, Counter[str]] = {}
    for language in (language for summary in summaries for language in summary.languages):
        dubbed[language.language] += language.dubbed
        failures.setdefault(language.language, Counter()).update(language.failures)
    for language, reasons in failures.items():
        failed = reasons.total()
        if failed >= least and failed * 100 > allowed_percent * (failed + dubbed[language]):
            reason, count = reasons.most_common(1)[0]
            raise LibraryError(
                LibraryErrorCode.WORK_FAILED,
                f"{failed} of {failed + dubbed[language]} fragments have no dub in {language!r}, {count} of them "
                f"because of {reason}.",
                "Check the STS service and that it speaks the language, or raise LIBRARY_DUB_FAILED_PERCENT.",
            )


async def stoppable(work: Awaitable[_Result], progress: StepProgress) -> _Result:
    """Await `work`, asking meanwhile whether to stop: STS may keep it waiting for long.

    Raises:
        JobCancelledError: `progress` said so; the work has ended by then.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=ASK_EVERY_S))[0]:
            progress.tick(0)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class _Tally:
    """One language's subtitles, and how its fragments fared."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._cues: dict[int, PartCue] = {}
        self._ends: dict[int, str] = {}

    def tell(self, fragment: DubbingFragment, dub: LanguageDub) -> None:
        """Implements LanguageSink; the later word on a fragment counts."""
        number = fragment.sequence_number
        cue = cue_from_event(language_event(fragment, dub), 0)
        if cue is not None:
            self._cues[number] = PartCue(start_ns=cue.start_ns, end_ns=cue.end_ns, text=cue.text)
        speechless = dub.outcome is not None and dub.outcome.speechless
        if not speechless:
            self._ends[number] = "" if dub.rung == Rung.DUB.value else dub.decision_reason

    def summary(self) -> PartLanguage:
        """What the part tells of it."""
        ends = [self._ends[number] for number in sorted(self._ends)]
        return PartLanguage(
            language=self.language,
            cues=tuple(self._cues[number] for number in sorted(self._cues)),
            dubbed=sum(1 for end in ends if not end),
            failures=tuple(end for end in ends if end),
        )


class _Playback:
    """Parts in the place of a session: an OfflineSession whose tracks are dubbed already."""

    def __init__(self, config: DubbingConfig, parts: Sequence[DubPartFile]) -> None:
        self.tracks: Mapping[str, _PartTrack] = {
            track: _PartTrack(parts, number) for number, track in enumerate(config.tracks)
        }

    def start(self) -> None:
        """Nothing is to be done."""

    def push(self, position: int, samples: Samples) -> None:
        """The programme is in the parts already."""

    def end_of_input(self) -> None:
        """Nothing is to be done."""

    async def settle(self, position: int) -> None:
        """Everything is settled."""

    async def aclose(self) -> None:
        """Close the files."""
        for track in self.tracks.values():
            track.close()


class _PartTrack:
    """One track of all parts, read in order."""

    def __init__(self, parts: Sequence[DubPartFile], number: int) -> None:
        self._blocks = self._read(parts, number)
        self._position: int | None = None
        self._held = np.zeros((0, PROGRAMME_CHANNELS), dtype=np.float32)

    def render(self, position: int, count: int) -> RenderedBlock:
        """The next samples; what no part has is silent."""
        out = np.zeros((count, PROGRAMME_CHANNELS), dtype=np.float32)
        while (end := self._end) is None or end < position + count:
            block = next(self._blocks, None)
            if block is None:
                break
            start, samples = block
            self._keep(start, samples, position)
        if self._position is not None:
            first = max(position, self._position)
            last = min(position + count, self._position + len(self._held))
            if first < last:
                out[first - position : last - position] = self._held[
                    first - self._position : last - self._position
                ]
            self._drop(position + count)
        return RenderedBlock(out, Rung.DUB.value)

    def close(self) -> None:
        """Close the file being read."""
        self._blocks.close()

    @property
    def _end(self) -> int | None:
        return None if self._position is None else self._position + len(self._held)

    def _keep(self, start: int, samples: Samples, position: int) -> None:
        self._drop(position)
        if not len(self._held):
            self._position = start
        self._held = np.concatenate((self._held, samples))

    def _drop(self, position: int) -> None:
        if self._position is not None and position > self._position:
            gone = min(position - self._position, len(self._held))
            self._held, self._position = self._held[gone:], self._position + gone

    @staticmethod
    def _read(parts: Sequence[DubPartFile], number: int) -> Generator[tuple[int, Samples]]:
        for part in parts:
            position = part.summary.start
            for samples in part.sound(number):
                yield position, samples
                position += len(samples)
