"""What became of speech and background: onsets of the dubs, and the music under them."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, Span
from livedub.verify.dubs import SEARCH_REACH_MS, DryDub, first_sound_ns
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.model import OnsetFigures
from livedub.verify.stems import StemsOnOutput
from livedub.verify.track import AudioTrack

_DUB_TAPS = 48
_SHORTEST_SPAN_NS = 300 * NS_PER_MS


def onset_error(evidence: Evidence, stems: StemsOnOutput, dubs: list[DryDub]) -> OnsetFigures:
    """Distance of each dub's first sound in the output from the source's first sound in its fragment, plus D.

    A dub that cannot be found within half a second of its place counts as half a second wrong.

    Raises:
        CannotTell: no fragment has an onset on both sides.
    """
    errors_ms: list[float] = []
    for dub in dubs:
        due = dub.fragment.span.shifted(evidence.media_to_output_ns)
        source_ns = first_sound_ns(stems.speech_between(due))
        dubbed_ns = first_sound_ns(dub.samples)
        if source_ns is None or dubbed_ns is None:
            continue
        if dub.found_ns is None:
            errors_ms.append(float(SEARCH_REACH_MS))
        else:
            errors_ms.append(abs(dub.found_ns + dubbed_ns - due.start_ns - source_ns) / NS_PER_MS)
    if not errors_ms:
        raise CannotTell("no fragment has speech both in the source's stem and in its dub")
    p50, p95 = np.percentile(errors_ms, [50, 95])
    return OnsetFigures(fragments=len(errors_ms), p50_ms=round(float(p50), 1), p95_ms=round(float(p95), 1))


def background_si_sdr_db(evidence: Evidence, stems: StemsOnOutput, dubs: list[DryDub]) -> float:
    """SI-SDR of the output's background against the music stem, where the source spoke and a dub was on air.

    From each such stretch the dub is taken out: its dry samples, laid where they were found, pass through a filter
    of one millisecond fitted by least squares together with the music's gain. What is left is compared with the
    music (both channels, one gain a stretch); the ratio is pooled over all stretches (Le Roux et al., ICASSP 2019).
    What the encoder did to the dub stays in the rest and counts as error, so the figure is a lower bound.

    Raises:
        CannotTell: the session did not separate, or no stretch of dubbed speech is long enough.
    """
    sessions = evidence.log.sessions
    if sessions and sessions[0].background and sessions[0].background != "separated":
        raise CannotTell("the session kept no background of its own: it ducked the original")
    voice = _dub_track(evidence.output_audio, dubs)
    target = error = 0.0
    for span in _dubbed_speech(stems.speech_spans(), dubs):
        wanted, rest = _without_dub(evidence.output_audio, stems.music_on_output, voice, span)
        gain = float(np.sum(rest * wanted)) / max(float(np.sum(wanted * wanted)), 1e-12)
        target += float(np.sum(np.square(gain * wanted)))
        error += float(np.sum(np.square(rest - gain * wanted)))
    if target <= 0.0:
        raise CannotTell("no dubbed speech lies over music in the output")
    return round(10 * float(np.log10(target / max(error, 1e-12))), 2)


def _dubbed_speech(spans: list[Span], dubs: list[DryDub]) -> list[Span]:
    """The parts of the source's speech during fragments that aired as dub."""
    parts: list[Span] = []
    for dub in dubs:
        shift_ns = dub.due_ns - (dub.fragment.clip_start_ns or 0)
        fragment = dub.fragment.span.shifted(shift_ns)
        for span in spans:
            start_ns, end_ns = max(span.start_ns, fragment.start_ns), min(span.end_ns, fragment.end_ns)
            if end_ns - start_ns >= _SHORTEST_SPAN_NS:
                parts.append(Span(start_ns, end_ns))
    return parts


def _dub_track(output: AudioTrack, dubs: list[DryDub]) -> AudioTrack:
    """All dubs where they sound, mono in both channels, at their gains."""
    laid = np.zeros((len(output.samples), PROGRAMME_CHANNELS), dtype=np.float32)
    for dub in dubs:
        first = output.position(dub.span.start_ns)
        begin, end = max(0, first), min(len(laid), first + len(dub.samples))
        if begin < end:
            voice = dub.samples[begin - first : end - first] * np.float32(dub.fragment.gain)
            laid[begin:end] += voice[:, None]
    return AudioTrack(output.start_ns, laid)


def _without_dub(
    output: AudioTrack, music: AudioTrack, voice: AudioTrack, span: Span
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(music, output minus dub) over a span, (n, 2) each."""
    count = span.duration_ns * PROGRAMME_RATE_HZ // NS_PER_S
    heard = output.slice(span.start_ns, count).astype(np.float64)
    wanted = music.slice(span.start_ns, count).astype(np.float64)
    reach_ns = _DUB_TAPS // 2 * NS_PER_S // PROGRAMME_RATE_HZ
    around = voice.slice(span.start_ns - reach_ns, count + _DUB_TAPS - 1)[:, 0]
    taps = sliding_window_view(around.astype(np.float64), _DUB_TAPS)[:count]
    rest = np.empty_like(heard)
    for channel in range(PROGRAMME_CHANNELS):
        rest[:, channel] = _residual(heard[:, channel], taps, wanted[:, channel])
    return wanted, rest


def _residual(
    heard: NDArray[np.float64], taps: NDArray[np.float64], music: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`heard` minus its part explained by `taps`, the music explaining what it can at the same time."""
    regressors = np.column_stack((taps, music))
    products = regressors.T @ regressors
    products[np.diag_indices_from(products)] += 1e-9 * float(np.trace(products)) / len(products)
    weights = np.linalg.solve(products, regressors.T @ heard)
    return heard - taps @ weights[:-1]
