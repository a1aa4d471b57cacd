"""Puts one stream together from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from livedub.audio.pcm import gain_from_db
from livedub.audio.separation import DeepFilterSeparator, SpeechSeparator
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.dump import FragmentDump
from livedub.dubbing.live_subtitles import LiveSubtitles
from livedub.dubbing.session import DubbingSession
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.sts.client import GuardedSpeechToSpeech, connect_guarded_sts
from livedub.sts.replaceable import ReplaceableSts
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.audio_input import AudioInput
from media_edge.worker.cache_link import CacheLink
from media_edge.worker.egress import Egress
from media_edge.worker.gst.aac_decoder import AacDecoder
from media_edge.worker.gst.aac_encoder import AacEncoder
from media_edge.worker.gst.pipeline import local_now_ns
from media_edge.worker.gst.publisher import RtmpPublisher
from media_edge.worker.gst.rtmp_ingest import RtmpIngest
from media_edge.worker.gst.rtsp_ingest import RtspIngest
from media_edge.worker.ingest import IngestKeeper, IngestSession
from media_edge.worker.input_timeline import InputTimeline
from media_edge.worker.recording import MIB, Recordings
from media_edge.worker.settings import WorkerSettings
from media_edge.worker.stream import Stream, StreamTiming
from media_edge.worker.sts_warm_up import StsWarmUp
from media_edge.worker.video_delay import VideoDelayLine


class MediaClock:
    """Media time as the dubbing session sees it: whose input is arriving now."""

    def __init__(self, timeline: InputTimeline) -> None:
        self._timeline = timeline

    def now_media_ns(self) -> int:
        """Media time arriving now; 0 before anything did."""
        clock = self._timeline.clock
        return clock.media_ns(local_now_ns()) if clock.started else 0


@dataclass(slots=True)
class Assembly:
    """The parts of a running stream that its owner looks at."""

    stream: Stream
    timeline: InputTimeline
    ingest: IngestKeeper
    audio: AudioInput
    video: VideoDelayLine
    egress: Egress
    session: DubbingSession
    sts: ReplaceableSts
    sts_warm_up: StsWarmUp
    cache: CacheLink
    recordings: Recordings
    subtitles: LiveSubtitles | None

    async def aclose(self) -> None:
        """Free everything; what is in flight is cancelled."""
        self.stream.close()
        await self.session.aclose()
        await self.cache.aclose()
        await self.sts_warm_up.aclose()
        await self.sts.aclose()
        self.recordings.close()
        if self.subtitles is not None:
            self.subtitles.close()


def assemble(
    settings: WorkerSettings,
    stored: TimelineOrigin | None,
    *,
    on_event: Callable[[dict[str, Any]], None],
    on_bus_error: Callable[[str], None],
    media_cache: MediaCacheSettings | None = None,
    separator_factory: Callable[[], SpeechSeparator] = DeepFilterSeparator,
) -> Assembly:
    """Build every part; nothing connects before the first tick.

    Raises:
        ConfigurationError: an STS address or key cannot be used, or what the media cache needs.
        MissingPrerequisiteError: separation is on and its model cannot be loaded.
    """
    timeline = InputTimeline(
        delay_ms=settings.delay_ms,
        generation=settings.generation,
        stored=stored,
        utc_now_ns=time.time_ns,
        local_now_ns=local_now_ns,
    )
    sts = ReplaceableSts(connect_service(settings))
    cache = CacheLink(media_cache)
    subtitles = (
        LiveSubtitles(settings.subtitles_dir / settings.stream_id, delay_ns=settings.delay_ns)
        if settings.subtitles_dir
        else None
    )
    session = DubbingSession(
        dubbing_config(settings),
        sts,
        MediaClock(timeline),
        on_event,
        dump=FragmentDump(settings.dump_dir) if settings.dump_dir else None,
        on_language=subtitles.tell if subtitles else None,
        cache_policy=cache.policy,
        separator_factory=separator_factory,
    )
    ingest = IngestKeeper(
        partial(_connect_input, settings),
        name=str(settings.input),
        on_failure=lambda: on_bus_error("ingest"),
        started_ns=local_now_ns(),
    )
    audio = AudioInput(AacDecoder)
    video = VideoDelayLine(settings.video_buffer_max_bytes)
    recordings = Recordings(settings.recording_path, free_bytes=settings.recording_free_mb * MIB)

    def make_egress(track: str) -> Egress:
        endpoint = settings.output_of(track)
        return Egress(
            lambda: recordings.recorded(track, RtmpPublisher(endpoint, patient=not track)),
            due_ns=lambda media_ns: timeline.clock.local_ns(media_ns) + settings.delay_ns,
            delay_ns=settings.delay_ns,
            name=str(endpoint),
            on_failure=lambda: on_bus_error("egress"),
        )

    stream = Stream(
        timing=StreamTiming(settings.delay_ns, settings.mixer_lead_ms * NS_PER_MS),
        timeline=timeline,
        ingest=ingest,
        audio=audio,
        video=video,
        dubbing=session,
        make_encoder=lambda position: AacEncoder(position, settings.aac_bitrate),
        make_egress=make_egress,
    )
    return Assembly(
        stream,
        timeline,
        ingest,
        audio,
        video,
        stream.egress,
        session,
        sts,
        StsWarmUp(sts, settings.sts_warm_up_ms),
        cache,
        recordings,
        subtitles,
    )


def connect_service(settings: WorkerSettings) -> GuardedSpeechToSpeech:
    """The speech-to-speech service of `settings`; connects on first use.

    Raises:
        ConfigurationError: an address or a key cannot be used.
    """
    return connect_guarded_sts(
        settings.sts_url, api_key=settings.sts_api_key.get_secret_value(), settings=settings
    )


def dubbing_config(settings: WorkerSettings) -> DubbingConfig:
    """The session's configuration: decibels become factors, milliseconds nanoseconds."""
    return DubbingConfig(
        stream_id=settings.stream_id,
        generation=settings.generation,
        source_language=settings.source_language,
        target_language=settings.target_language,
        voice=settings.voice,
        more_targets=tuple(settings.more_targets),
        delay_ns=settings.delay_ns,
        mixer_lead_ns=settings.mixer_lead_ms * NS_PER_MS,
        fragmenter=settings.fragmenter,
        in_flight_limit=settings.in_flight_limit,
        separate=settings.separation != "off",
        background_gain=gain_from_db(settings.background_gain_db),
        dub_gain=gain_from_db(settings.dub_gain_db),
        duck_gain=gain_from_db(settings.duck_gain_db),
        glossary=settings.glossary,
    )


def _connect_input(settings: WorkerSettings, on_problem: Callable[[str], None]) -> IngestSession:
    idle_timeout_s = settings.input_idle_timeout_s
    if settings.input.scheme == "rtsp":
        return RtspIngest(
            settings.input,
            latency_ms=settings.rtsp_latency_ms,
            idle_timeout_s=idle_timeout_s,
            on_problem=on_problem,
        )
    return RtmpIngest(settings.input, idle_timeout_s=idle_timeout_s, on_problem=on_problem)
