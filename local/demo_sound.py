"""Backgrounds for the demo clip, all generated: a piece of music, a crowd, noise, silence. 48 kHz stereo float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples

_BEAT_S = 0.625
_BEATS_A_CHORD = 4
_CHORDS = (
    (50, (62, 65, 69, 72)),
    (46, (62, 65, 70, 74)),
    (53, (60, 65, 69, 72)),
    (48, (60, 64, 67, 74)),
    (55, (62, 67, 70, 74)),
    (50, (62, 65, 69, 77)),
    (46, (58, 65, 70, 74)),
    (57, (61, 64, 67, 73)),
)
"""Bass note and chord as MIDI numbers: D minor, eight bars, so that nothing repeats within 20 s."""
_ARPEGGIO = (0, 2, 1, 3, 2, 1, 3, 0)


def music(seconds: float, seed: int = 11) -> Samples:
    """A calm piece: sustained chords, plucked arpeggio, bass, drum and brushes, spread over the stereo field.

    Peaks near 0.5; sounds without a pause, so that a lost background is heard at any moment.
    """
    beats = int(np.ceil(seconds / _BEAT_S)) + _BEATS_A_CHORD
    piece = np.zeros((round((beats + _BEATS_A_CHORD) * _BEAT_S * PROGRAMME_RATE_HZ), PROGRAMME_CHANNELS))
    generator = np.random.default_rng(seed)
    for beat in range(beats):
        bass, chord = _CHORDS[beat // _BEATS_A_CHORD % len(_CHORDS)]
        if beat % _BEATS_A_CHORD == 0:
            for voice, note in enumerate(chord):
                _lay(piece, beat, _pad(note, generator), pan=0.15 + 0.7 * voice / (len(chord) - 1))
        if beat % 2 == 0:
            _lay(piece, beat, _bass(bass), pan=0.5)
            _lay(piece, beat, _drum(), pan=0.5)
        for half in range(2):
            note = chord[_ARPEGGIO[(2 * beat + half) % len(_ARPEGGIO)]] + 12
            _lay(piece, beat + half / 2, _pluck(note), pan=0.75 if half else 0.25)
            _lay(piece, beat + half / 2, _brush(generator, accent=half == 1), pan=0.35 if half else 0.65)
    return _trimmed(piece, seconds, peak=0.5)


def crowd(seconds: float, seed: int = 12) -> Samples:
    """A stadium's murmur: noise in the range of voices that swells and falls, each channel its own."""
    generator = np.random.default_rng(seed)
    count = round(seconds * PROGRAMME_RATE_HZ)
    swell_at = np.linspace(0, count, int(seconds * 1.5) + 2)
    swell = np.interp(np.arange(count), swell_at, generator.uniform(0.35, 1.0, swell_at.size))
    noise = np.stack([_band(generator.standard_normal(count), 250, 2_500) for _ in range(2)], axis=1)
    return _trimmed(noise * swell[:, None], seconds, peak=0.35)


def noise(seconds: float, seed: int = 13) -> Samples:
    """Pink-like noise with mains hum, as a bad line has it."""
    generator = np.random.default_rng(seed)
    count = round(seconds * PROGRAMME_RATE_HZ)
    frequency = np.fft.rfftfreq(count, 1 / PROGRAMME_RATE_HZ)
    slope = 1 / np.sqrt(np.maximum(frequency, 40))
    hiss = np.stack(
        [np.fft.irfft(np.fft.rfft(generator.standard_normal(count)) * slope, count) for _ in range(2)], axis=1
    )
    time_s = np.arange(count) / PROGRAMME_RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * harmonic * time_s) / harmonic for harmonic in (1, 2, 3, 5))
    return _trimmed(hiss / np.std(hiss) + 0.5 * np.asarray(hum)[:, None], seconds, peak=0.3)


def silence(seconds: float) -> Samples:
    """Digital silence."""
    return np.zeros((round(seconds * PROGRAMME_RATE_HZ), PROGRAMME_CHANNELS), dtype=np.float32)


BACKGROUNDS: dict[str, Callable[[float], Samples]] = {
    "music": music,
    "crowd": crowd,
    "noise": noise,
    "silence": silence,
}


def _lay(piece: NDArray[np.float64], beat: float, sound: NDArray[np.float64], *, pan: float) -> None:
    """Add a mono sound at a beat, panned with constant power (0 left, 1 right)."""
    first = round(beat * _BEAT_S * PROGRAMME_RATE_HZ)
    count = min(len(sound), len(piece) - first)
    angle = pan * np.pi / 2
    piece[first : first + count] += sound[:count, None] * np.array([np.cos(angle), np.sin(angle)])


def _time_s(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * PROGRAMME_RATE_HZ)) / PROGRAMME_RATE_HZ


def _hz(midi_note: int) -> float:
    return 440.0 * 2 ** ((midi_note - 69) / 12)


def _pad(note: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """A chord voice held for its bar and into the next: two detuned tones of four partials."""
    length_s = (_BEATS_A_CHORD + 1) * _BEAT_S
    time_s = _time_s(length_s)
    swell = np.minimum(1.0, time_s / 0.4) * np.minimum(1.0, (length_s - time_s) / _BEAT_S)
    tone = np.zeros_like(time_s)
    for detune in (0.9985, 1.0015):
        for partial in range(1, 5):
            phase = generator.uniform(0, 2 * np.pi)
            tone += np.sin(2 * np.pi * _hz(note) * detune * partial * time_s + phase) / partial**1.6
    return 0.045 * swell * tone


def _pluck(note: int) -> NDArray[np.float64]:
    time_s = _time_s(1.2)
    partials = sum(
        np.sin(2 * np.pi * _hz(note) * n * time_s) * np.exp(-time_s * (3 + 2.2 * n)) / n for n in range(1, 7)
    )
    return 0.09 * np.minimum(1.0, time_s / 0.003) * np.asarray(partials)


def _bass(note: int) -> NDArray[np.float64]:
    time_s = _time_s(2 * _BEAT_S)
    body = np.sin(2 * np.pi * _hz(note - 12) * time_s) + 0.25 * np.sin(2 * np.pi * _hz(note) * time_s)
    return 0.34 * np.minimum(1.0, time_s / 0.01) * np.exp(-1.2 * time_s) * body


def _drum() -> NDArray[np.float64]:
    """A soft kick: a tone that falls from 120 to 50 Hz."""
    time_s = _time_s(0.35)
    phase = 2 * np.pi * (50 * time_s + 70 / 18 * (1 - np.exp(-18 * time_s)))
    return 0.5 * np.minimum(1.0, time_s / 0.002) * np.exp(-11 * time_s) * np.sin(phase)


def _brush(generator: np.random.Generator, *, accent: bool) -> NDArray[np.float64]:
    time_s = _time_s(0.18)
    hiss = _band(generator.standard_normal(time_s.size), 4_000, 12_000)
    return (0.12 if accent else 0.06) * np.minimum(1.0, time_s / 0.004) * np.exp(-28 * time_s) * hiss


def _band(signal: NDArray[np.float64], low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Band-pass by spectrum with raised-cosine edges a third of an octave wide; unit variance."""
    frequency = np.fft.rfftfreq(signal.size, 1 / PROGRAMME_RATE_HZ)
    octaves_in = np.minimum(
        np.log2(np.maximum(frequency, 1) / low_hz), np.log2(high_hz / np.maximum(frequency, 1))
    )
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip(0.5 + 3 * octaves_in, 0, 1))
    shaped = np.fft.irfft(np.fft.rfft(signal) * gain, signal.size)
    return shaped / (np.std(shaped) + 1e-12)


def _trimmed(piece: NDArray[np.float64], seconds: float, *, peak: float) -> Samples:
    """The first `seconds` at a given peak, faded at both ends so that nothing clicks."""
    cut = piece[: round(seconds * PROGRAMME_RATE_HZ)]
    ramp = np.minimum(1.0, np.arange(len(cut)) / (0.02 * PROGRAMME_RATE_HZ))
    faded = cut * (ramp * ramp[::-1])[:, None]
    return (faded * (peak / (np.abs(faded).max() + 1e-12))).astype(np.float32)
