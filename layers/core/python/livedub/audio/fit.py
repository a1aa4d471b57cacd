"""Lays synthesised speech into its fragment: onset on the source's onset, length to the sample.

Tempo comes from synthesis first; what is left is stretched by Rubber Band's R3 engine (GPL: a separate process).
The numbers are planned by `livedub.timeline.isochrony`; here they become samples.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import wave
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from livedub.audio.pcm import Samples, float_from_s16, s16_from_float
from livedub.audio.resample import fit_length
from livedub.errors import MissingPrerequisiteError
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.isochrony import ANY_TEMPO, FitPlan, TempoLimits, TempoRange, plan_speed, plan_stretch
from livedub.timeline.slot import Slot

LIMITS = TempoLimits(min_tts_speed=1.0)
"""Synthesis is never asked to be slow: its time grows with the speech it makes, and where a dub is shorter than its
source a moment of silence disturbs nobody."""

_STRETCH_TIMEOUT_S = 20.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only a parent for private temporary folders
_FADE_MS = 8
_FRAME_MS = 5
_SPEECH_UNDER_PEAK_DB = 36.0
_EDGE_MS = 10
"""Kept in front of the first and behind the last loud frame, so that no consonant loses its start."""


@dataclass(frozen=True, slots=True)
class FittedDub:
    """A dub from its fragment's start on, at least as long as the fragment.

    `as_spoken` is where in `samples` the speech lies just as it was spoken, from its first sample to one past its
    last; None where it was stretched, or cut off.
    """

    samples: Samples
    sample_rate_hz: int
    tempo: float
    as_spoken: tuple[int, int] | None = None


def plan_tempo(
    natural_ms: int, slot: Slot, limits: TempoLimits = LIMITS, *, neighbours: TempoRange = ANY_TEMPO
) -> FitPlan:
    """The tempo a dub will have, from an estimate of the natural duration, and what of it synthesis does."""
    return plan_speed(
        natural_ns=natural_ms * NS_PER_MS,
        speech_ns=slot.speech_ns,
        room_ns=slot.room_ns,
        limits=replace(limits, neighbours=neighbours),
    )


def fit(
    samples: Samples,
    rate_hz: int,
    slot: Slot,
    *,
    speed: float = 1.0,
    limits: TempoLimits = LIMITS,
    neighbours: TempoRange = ANY_TEMPO,
) -> FittedDub:
    """Trim, stretch, place and pad one utterance, near the tempo of its neighbours where no word is lost by it.

    Args:
        samples: mono speech.
        rate_hz: its rate, and that of the dub.
        slot: where it goes.
        speed: that it was spoken at.
        limits: bounds of tempo.
        neighbours: tempos near that of the dub before.

    Raises:
        MissingPrerequisiteError: a stretch is needed and `rubberband` is not installed.
        RuntimeError: `rubberband` failed.
    """
    spoken = trim_silence(samples, rate_hz)
    plan = plan_stretch(
        spoken_samples=len(spoken),
        rate_hz=rate_hz,
        tts_speed=speed,
        lead_ns=slot.speech_start_ms * NS_PER_MS,
        speech_ns=slot.speech_ns,
        room_ns=slot.room_ns,
        fragment_ns=slot.fragment_ms * NS_PER_MS,
        limits=replace(limits, neighbours=neighbours),
    )
    stretched = plan.out_samples != len(spoken)
    if stretched:
        spoken = fit_length(stretch(spoken, rate_hz, plan.stretch_ratio), plan.out_samples)
    audible = _faded(spoken[: plan.out_samples - plan.trim_samples], rate_hz)
    dub = np.zeros(plan.total_samples, dtype=np.float32)
    end = plan.lead_samples + len(audible)
    dub[plan.lead_samples : end] = audible
    as_spoken = None if stretched or plan.trim_samples or not len(audible) else (plan.lead_samples, end)
    return FittedDub(dub, rate_hz, plan.tempo, as_spoken)


def trim_silence(samples: Samples, rate_hz: int) -> Samples:
    """Without the silence a voice adds at either end, judged by 5 ms frames against the loudest one."""
    frame = max(1, rate_hz * _FRAME_MS // 1000)
    count = len(samples) // frame
    if count == 0:
        return samples
    levels = np.sqrt(np.mean(np.square(samples[: count * frame].reshape(count, frame)), axis=1))
    peak = float(levels.max())
    if peak == 0.0:
        return samples[:0]
    loud = np.flatnonzero(levels > peak * 10 ** (-_SPEECH_UNDER_PEAK_DB / 20))
    edge = rate_hz * _EDGE_MS // 1000
    start = max(0, int(loud[0]) * frame - edge)
    return samples[start : (int(loud[-1]) + 1) * frame + edge]


def stretch(samples: Samples, rate_hz: int, ratio: float) -> Samples:
    """Mono samples made `ratio` times as long at the same pitch.

    Raises:
        MissingPrerequisiteError: `rubberband` is not installed.
        RuntimeError: it failed or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="livedub-fit-", dir=_scratch_parent()) as folder:
        source, target = Path(folder, "in.wav"), Path(folder, "out.wav")
        with wave.open(str(source), "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(rate_hz)
            writer.writeframes(s16_from_float(samples))
        command = ["rubberband", "--quiet", "--fine", "--time", f"{ratio:.9f}", str(source), str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_STRETCH_TIMEOUT_S)
            with wave.open(str(target)) as reader:
                return float_from_s16(reader.readframes(reader.getnframes()))
        except FileNotFoundError as error:
            raise MissingPrerequisiteError(
                "rubberband is not installed.", remedy="Run `make setup`, or install rubberband-cli."
            ) from error
        except (subprocess.SubprocessError, wave.Error, OSError) as error:
            raise RuntimeError(f"rubberband could not stretch {len(samples)} samples: {error}") from error


def _scratch_parent() -> str | None:
    """Memory where the machine offers it: a stretch writes and reads half a megabyte."""
    return str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None


def _faded(samples: Samples, rate_hz: int) -> Samples:
    """A short fade at both ends, so that neither a cut nor a noise floor clicks."""
    count = min(rate_hz * _FADE_MS // 1000, len(samples) // 2)
    if count == 0:
        return samples
    ramp = np.linspace(0.0, 1.0, count, endpoint=False, dtype=np.float32)
    faded = samples.copy()
    faded[:count] *= ramp
    faded[-count:] *= ramp[::-1]
    return faded
