"""The dry dubs of a session and where the output's own sound shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, Span, samples_to_ns
from livedub.verify.events import FragmentEvent
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.lag import find_lag
from livedub.verify.recording import read_audio

SEARCH_REACH_MS = 500
_CLEAR = 8.0


@dataclass(frozen=True, slots=True)
class DryDub:
    """A dub that aired: its mono samples at 48 kHz, where it was due, and where the output sounds like it.

    Times are the output's; `found_ns` is None where the output does not contain the dub within half a second of
    its place.
    """

    fragment: FragmentEvent
    samples: Samples
    due_ns: int
    found_ns: int | None

    @property
    def span(self) -> Span:
        """Where it sounds, or should."""
        start_ns = self.due_ns if self.found_ns is None else self.found_ns
        return Span(start_ns, start_ns + samples_to_ns(len(self.samples), PROGRAMME_RATE_HZ))


def dry_dubs(evidence: Evidence) -> list[DryDub]:
    """Every aired dub that lies wholly in the output, found there by correlation.

    Raises:
        CannotTell: no dub aired, or none was kept.
    """
    aired = [(fragment, span) for fragment, span in evidence.fragments_on_output() if fragment.aired_dub]
    if not aired:
        raise CannotTell("no dub is in the output")
    dubs = [_dry_dub(evidence, fragment) for fragment, _ in aired]
    kept = [dub for dub in dubs if dub is not None]
    if not kept:
        raise CannotTell("the session kept no dry dubs: run it with fragment dumps on")
    return kept


def first_sound_ns(samples: Samples) -> int | None:
    """When speech starts in mono samples, from their start: the first 20 ms over the threshold that stay there.

    The threshold lies 25 dB under the speech's own upper level (95th percentile), at -50 dBFS at the lowest; the
    same rule for source and dub, so what it misses of a soft onset it misses on both sides.
    """
    hop = PROGRAMME_RATE_HZ // 200
    count = len(samples) // hop
    if count < 8:
        return None
    power = np.square(samples[: count * hop], dtype=np.float64).reshape(count, hop).mean(axis=1)
    level_db = 10 * np.log10(np.convolve(power, np.full(4, 0.25), mode="valid") + 1e-12)
    loud = level_db > max(-50.0, float(np.percentile(level_db, 95)) - 25.0)
    steady = loud[:-8] & loud[4:-4] & loud[8:] if loud.size > 8 else loud
    if not steady.any():
        return None
    return int(np.argmax(steady)) * hop * NS_PER_S // PROGRAMME_RATE_HZ


def _dry_dub(evidence: Evidence, fragment: FragmentEvent) -> DryDub | None:
    path = evidence.log.dump_path(fragment)
    if path is None or fragment.clip_start_ns is None:
        return None
    takes = read_audio(path)
    if not takes:
        return None
    samples = takes[0].mono()
    due_ns = fragment.clip_start_ns + evidence.media_to_output_ns
    reach = SEARCH_REACH_MS * PROGRAMME_RATE_HZ // 1000
    heard = evidence.output_audio.slice(due_ns - SEARCH_REACH_MS * NS_PER_MS, len(samples) + 2 * reach)
    padded = np.concatenate((np.zeros(reach, np.float32), samples, np.zeros(reach, np.float32)))
    lag = find_lag(padded, heard.mean(axis=1, dtype=np.float32), reach)
    if lag is None or lag.clarity < _CLEAR:
        return DryDub(fragment, samples, due_ns, None)
    return DryDub(fragment, samples, due_ns, due_ns + round(lag.samples * NS_PER_S / PROGRAMME_RATE_HZ))
