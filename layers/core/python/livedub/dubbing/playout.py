"""Mixes what goes to air in one language: original, background and dub, by the rung decided for each fragment."""

from __future__ import annotations

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.analysis import ProgrammeAnalysis
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.fragment import DubbingFragment, DubClip, LanguageDub, RenderedBlock
from livedub.timeline.clock import ns_to_samples
from livedub.timeline.crossfade import CrossfadePlan, GainCurve, RungGains
from livedub.timeline.ladder import Rung

_LIMIT_FROM = 0.85
_TAIL_FADE_SAMPLES = PROGRAMME_RATE_HZ // 50


class Playout:
    """Renders blocks in order; decisions for a fragment arrive before the block that holds its start.

    Outside of fragments the original is on the air: there is no speech to replace.
    """

    def __init__(self, config: DubbingConfig, programme: ProgrammeAnalysis) -> None:
        self._programme = programme
        self._fade = max(1, ns_to_samples(config.crossfade_ns, PROGRAMME_RATE_HZ))
        self._plan = CrossfadePlan(_rung_gains(config), fade_samples=self._fade)
        self._switches: list[tuple[int, Rung, RungGains]] = []
        self._clips: list[DubClip] = []
        self._rendered_end = 0

    @property
    def lead_samples(self) -> int:
        """How far before a fragment's start its transition begins."""
        return self._fade

    def air(self, fragment: DubbingFragment, dub: LanguageDub) -> None:
        """Plan `fragment` on its rung; the original resumes after it. What is rendered already stays as it is."""
        rung, outcome = Rung(dub.rung), dub.outcome
        begin = max(fragment.start_position - self._fade, self._rendered_end)
        end = max(begin + 1, fragment.end_position)
        if rung is Rung.DUB and outcome is not None and outcome.dub is not None:
            clip = DubClip(fragment.start_position, outcome.dub, dub.gain)
            onset = ns_to_samples(outcome.dub_start_ns, PROGRAMME_RATE_HZ)
            for sounding in self._clips:
                sounding.fade_out_at(onset, _TAIL_FADE_SAMPLES)
            self._clips.append(clip)
            end = max(end, clip.end)
        self._switches = [switch for switch in self._switches if switch[0] < begin]
        gains = _rung_gains(fragment.config)
        self._switches += [(begin, rung, gains[rung]), (end, Rung.ORIGINAL, gains[Rung.ORIGINAL])]

    def render(self, position: int, count: int) -> RenderedBlock:
        """Mix `count` samples from `position`."""
        end = position + count
        while self._switches and self._switches[0][0] < end:
            self._plan.switch(*self._switches.pop(0))
        mix = self._programme.original.read(position, count)
        mix *= _gain(self._plan.original, position, count)
        background = _gain(self._plan.background, position, count)
        if np.any(background):
            mix += self._programme.background.read(position, count) * background
        self._add_clips(mix, position, _gain(self._plan.dub, position, count))
        self._plan.forget(end)
        self._rendered_end = end
        return RenderedBlock(limit(mix), self._plan.rung.value)

    def _add_clips(self, mix: Samples, position: int, gain: Samples) -> None:
        end = position + len(mix)
        for clip in self._clips:
            first, last = max(position, clip.position), min(end, clip.end)
            if first < last:
                part = clip.samples[first - clip.position : last - clip.position, None] * np.float32(
                    clip.gain
                )
                inside = slice(first - position, last - position)
                mix[inside] += part * (gain[inside] if len(gain) > 1 else gain)
        self._clips = [clip for clip in self._clips if clip.end > end]


def _rung_gains(config: DubbingConfig) -> dict[Rung, RungGains]:
    # Each clip carries its own gain, `dub_gain` included.
    under_dub = (
        RungGains(dub=1.0, background=config.background_gain, original=0.0)
        if config.separate
        else RungGains(dub=1.0, background=0.0, original=config.duck_gain)
    )
    return {
        Rung.DUB: under_dub,
        Rung.DUCKED: RungGains(dub=0.0, background=0.0, original=config.duck_gain),
        Rung.ORIGINAL: RungGains(dub=0.0, background=0.0, original=1.0),
    }


def _gain(curve: GainCurve, position: int, count: int) -> Samples:
    """A (1, 1) factor where the gain is constant over the block, else (count, 1)."""
    points = curve.breakpoints(position, count)
    if all(point.gain == points[0].gain for point in points):
        return np.full((1, 1), points[0].gain, dtype=np.float32)
    grid = np.arange(position, position + count)
    gains = np.interp(grid, [point.position for point in points], [point.gain for point in points])
    return gains.astype(np.float32)[:, None]


def limit(samples: Samples) -> Samples:
    """Keep the mix below full scale: linear up to 0.85, smoothly bent above (no clipping, no latency)."""
    if float(np.max(np.abs(samples), initial=0.0)) <= _LIMIT_FROM:
        return samples
    room = np.float32(1.0 - _LIMIT_FROM)
    magnitude = np.abs(samples)
    bent = _LIMIT_FROM + room * np.tanh((magnitude - _LIMIT_FROM) / room)
    return np.where(magnitude > _LIMIT_FROM, np.sign(samples) * bent, samples).astype(np.float32)
