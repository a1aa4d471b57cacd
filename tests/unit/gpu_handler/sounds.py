"""Programme sound without a word in it: music, crowds, noises, silence. Deterministic by seed, mono float32."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Samples = NDArray[np.float32]

_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))  # I vi IV V, semitones over the tonic
_SCALE = (0, 2, 4, 7, 9, 12, 14, 16)


def music(seconds: float, rate_hz: int, seed: int = 0, *, lead: bool = True) -> Samples:
    """Four chords, bass, drums and (unless `lead` is false) a melody, 90-130 beats a minute."""
    rng = np.random.default_rng(seed)
    beat = 60.0 / rng.uniform(90, 130)
    tonic_hz = 110.0 * 2 ** (rng.integers(0, 12) / 12)
    mix = np.zeros(int(seconds * rate_hz), dtype=np.float64)
    for index in range(int(seconds / beat) + 1):
        start = index * beat
        chord = _CHORDS[(index // 4) % len(_CHORDS)]
        if index % 4 == 0:
            for note in chord:
                _add(mix, _pad(tonic_hz * 2 ** (note / 12), beat * 4, rate_hz), start, rate_hz, 0.12)
        _add(mix, _pluck(tonic_hz / 2 * 2 ** (chord[0] / 12), beat * 0.9, rate_hz), start, rate_hz, 0.35)
        _add(mix, _kick(rate_hz), start, rate_hz, 0.7 if index % 2 == 0 else 0.0)
        _add(mix, _burst(rng, 0.15, 1_500, rate_hz), start, rate_hz, 0.4 if index % 2 else 0.0)
        for half in (0.0, 0.5):
            _add(mix, _burst(rng, 0.04, 6_000, rate_hz), start + half * beat, rate_hz, 0.12)
            if lead and rng.random() < 0.7:
                note = tonic_hz * 4 * 2 ** (rng.choice(_SCALE) / 12)
                _add(mix, _pluck(note, beat * 0.8, rate_hz), start + half * beat, rate_hz, 0.2)
    return _level(mix, 0.15)


def humming(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """A wordless voice-like melody: a buzz with vibrato through two vowel formants. The hardest case here."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    notes = 180.0 * 2 ** (rng.choice(_SCALE, size=int(seconds * 2) + 2) / 12)
    pitch = notes[(time_s * 2).astype(int)] * (1 + 0.015 * np.sin(2 * np.pi * 5.5 * time_s))
    phase = np.cumsum(pitch) / rate_hz
    buzz = signal.sawtooth(2 * np.pi * phase)
    voice = np.zeros_like(buzz)
    for formant_hz, gain in ((700, 1.0), (1_150, 0.6), (2_600, 0.2)):
        b, a = signal.iirpeak(formant_hz, 8, fs=rate_hz)
        voice += gain * np.asarray(signal.lfilter(b, a, buzz))
    return _level(voice, 0.12)


def crowd(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """A stadium: speech-band noise swelling slowly, with distant cheers."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    time_s = np.arange(count) / rate_hz
    noise = rng.normal(size=count)
    band = signal.sosfilt(signal.butter(2, (250, 2_800), "bandpass", fs=rate_hz, output="sos"), noise)
    swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * time_s + rng.uniform(0, 6))
    flutter = np.abs(signal.sosfilt(signal.butter(2, 6, fs=rate_hz, output="sos"), rng.normal(size=count)))
    return _level(band * swell * (1 + 20 * flutter), 0.1)


def applause(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """Many hands: short noise bursts at random times."""
    rng = np.random.default_rng(seed)
    mix = np.zeros(int(seconds * rate_hz))
    for start in rng.uniform(0, seconds, size=int(seconds * 120)):
        _add(mix, _burst(rng, 0.02, 1_000, rate_hz), float(start), rate_hz, float(rng.uniform(0.1, 0.4)))
    return _level(mix, 0.12)


def noise(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """White, pink or brown by turns."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    spectrum = np.fft.rfft(rng.normal(size=count))
    slope = (0.0, 0.5, 1.0)[seed % 3]
    spectrum /= np.maximum(1, np.arange(spectrum.size)) ** slope
    return _level(np.fft.irfft(spectrum, count), (0.02, 0.08, 0.15)[seed % 3])


def beeps(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """Test tones, one second apart."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * (440 + 110 * (seed % 5)) * time_s)
    return _level(np.where(time_s % 1.0 < 0.2, tone, 0.0).astype(np.float64), 0.1)


def hum(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """Mains hum under a noise floor."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tones = sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in (1, 2, 3, 5))
    return _level(tones + 0.1 * rng.normal(size=time_s.size), 0.03)


def silence(seconds: float, rate_hz: int, seed: int = 0) -> Samples:
    """Digital silence, or a floor near -75 dBFS."""
    count = int(seconds * rate_hz)
    if seed % 2 == 0:
        return np.zeros(count, dtype=np.float32)
    return (np.random.default_rng(seed).normal(size=count) * 1.8e-4).astype(np.float32)


KINDS: dict[str, Callable[[float, int, int], Samples]] = {
    "music": lambda seconds, rate_hz, seed: music(seconds, rate_hz, seed, lead=True),
    "humming": humming,
    "beat": lambda seconds, rate_hz, seed: music(seconds, rate_hz, seed, lead=False),
    "crowd": crowd,
    "applause": applause,
    "noise": noise,
    "beeps": beeps,
    "hum": hum,
    "silence": silence,
}


def wordless_fragments(total_s: float, fragment_s: float, rate_hz: int) -> list[tuple[str, Samples]]:
    """Fragments of every kind by turns, `total_s` in all."""
    count = round(total_s / fragment_s)
    kinds = islice(cycle(KINDS), count)
    return [(kind, KINDS[kind](fragment_s, rate_hz, index)) for index, kind in enumerate(kinds)]


def _add(
    mix: NDArray[np.float64], sound: NDArray[np.float64], start_s: float, rate_hz: int, gain: float
) -> None:
    start = int(start_s * rate_hz)
    end = min(len(mix), start + len(sound))
    if end > start:
        mix[start:end] += gain * sound[: end - start]


def _pad(pitch_hz: float, seconds: float, rate_hz: int) -> NDArray[np.float64]:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = signal.sawtooth(2 * np.pi * pitch_hz * time_s) + signal.sawtooth(
        2 * np.pi * pitch_hz * 1.004 * time_s
    )
    soft = signal.sosfilt(signal.butter(2, 1_200, fs=rate_hz, output="sos"), tone)
    return np.asarray(soft * np.clip(np.minimum(time_s, seconds - time_s) / 0.15, 0.0, 1.0), dtype=np.float64)


def _pluck(pitch_hz: float, seconds: float, rate_hz: int) -> NDArray[np.float64]:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 6))
    decay = np.exp(-4 * time_s / seconds) * np.clip(time_s / 0.005, 0.0, 1.0)
    return np.asarray(np.asarray(tone) * decay, dtype=np.float64)


def _kick(rate_hz: int) -> NDArray[np.float64]:
    time_s = np.arange(int(0.25 * rate_hz)) / rate_hz
    return np.asarray(
        np.sin(2 * np.pi * (50 * time_s + 6 * (1 - np.exp(-30 * time_s)))) * np.exp(-12 * time_s),
        dtype=np.float64,
    )


def _burst(rng: np.random.Generator, seconds: float, above_hz: float, rate_hz: int) -> NDArray[np.float64]:
    count = int(seconds * rate_hz)
    sos = signal.butter(2, min(above_hz, rate_hz * 0.45), "highpass", fs=rate_hz, output="sos")
    burst = np.asarray(signal.sosfilt(sos, rng.normal(size=count)))
    return np.asarray(burst * np.exp(-5 * np.arange(count) / count), dtype=np.float64)


def _level(samples: NDArray[np.float64], rms: float) -> Samples:
    actual = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
    return np.clip(samples * (rms / actual), -1.0, 1.0).astype(np.float32)
