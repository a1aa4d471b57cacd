"""Onsets, background and words of a dubbed programme made here, so that each right answer is known."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from livedub.audio.clip import write_wav
from livedub.audio.pcm import Samples
from livedub.errors import MissingPrerequisiteError
from livedub.verify.dubs import first_sound_ns
from livedub.verify.events import read_events
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.heard import output_pieces
from livedub.verify.report import verify_recordings

from .conftest import DELAY_MS, SECONDS, Carry, programme_audio, with_audio

RATE_HZ = 48_000
KBPS = 320
"""High, so that what the encoder adds stays far under what is measured."""
PHRASES_MS = ((1_000, 1_800), (3_200, 1_500), (5_200, 2_000))
"""(start, length) of what the source says, clip time."""
TEXTS = ("good evening everybody", "the red team scores", "it rains on the coast")


def voice(milliseconds: int, seed: int) -> np.ndarray:
    """Noise in syllables, as unlike the music as speech is."""
    time_s = np.arange(milliseconds * 48) / RATE_HZ
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s)
    noise = np.random.default_rng(seed).standard_normal(time_s.size)
    return 0.12 * syllables * np.convolve(noise, np.ones(8) / 3, mode="same")


def background() -> np.ndarray:
    """Stereo noise without treble, over a bass note."""
    return np.apply_along_axis(
        lambda channel: np.convolve(channel, np.ones(6) / 3, mode="same"), 0, programme_audio()
    )


@dataclass
class Dubbed:
    """A dubbed programme on disk, and what may be wrong with it."""

    folder: Path
    pictures: Path
    carry: Carry
    dub_shift_ms: int = 0
    speech_left: float = 0.0
    music_gain: float = 1.0
    lose_dub: int | None = None
    texts: tuple[str, ...] = TEXTS
    background: str = "separated"
    dumps: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)

    def build(self) -> dict[str, Path]:
        music = background()
        speech, dubs = np.zeros(len(music)), np.zeros(len(music))
        self.folder.joinpath("dumps").mkdir()
        events: list[dict[str, object]] = [
            {"event": "session", "delay_ms": DELAY_MS, "background": self.background, "target_language": "en"}
        ]
        source = self.folder / "in.flv"
        with_audio(self.pictures, music, source, kbps=KBPS)
        shift_ms = round(Evidence.read(source, source, None).source.video[0].pts_ns / 1e6)
        for number, (start_ms, length_ms) in enumerate(PHRASES_MS):
            lay(speech, start_ms, voice(length_ms, number))
            dub = voice(length_ms - 200, 100 + number)
            if number != self.lose_dub:
                lay(dubs, start_ms + self.dub_shift_ms, 0.8 * dub)
            padded = np.concatenate((np.zeros(100 * 48), dub, np.zeros(100 * 48)))
            write_wav(self.folder / "dumps" / f"{number:06d}.dub.wav", padded.astype(np.float32), RATE_HZ)
            events.append(self._fragment(number, start_ms + shift_ms - 100, length_ms + 200, len(padded)))
        self.folder.joinpath("events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        mix = music + speech[:, None]
        with_audio(self.pictures, mix, source, kbps=KBPS)
        aired = self.music_gain * music + (dubs + self.speech_left * speech)[:, None]
        out = self.carry(with_audio(self.pictures, aired, self.folder / "aired.flv", kbps=KBPS))
        return {
            "in": source,
            "out": out,
            "events": self.folder / "events.jsonl",
            "reference": self._reference(music, speech),
        }

    def _fragment(self, number: int, start_ms: int, length_ms: int, dub_samples: int) -> dict[str, object]:
        return {
            "event": "fragment",
            "start_ns": start_ms * 1_000_000,
            "duration_ns": length_ms * 1_000_000,
            "rung": "dub",
            "reason": "aired",
            "gain": 0.8,
            "translated_text": self.texts[number],
            "target_language": "en",
            "clip_start_ns": start_ms * 1_000_000,
            "dub_start_ns": (start_ms + 100) * 1_000_000,
            "dub_duration_ns": dub_samples * 1_000_000 // 48,
            "dump": f"{number:06d}.dub.wav" if self.dumps else None,
        }

    def _reference(self, music: np.ndarray, speech: np.ndarray) -> Path:
        write_wav(self.folder / "music.wav", music.astype(np.float32), RATE_HZ)
        write_wav(
            self.folder / "speech.wav", np.repeat(speech[:, None], 2, axis=1).astype(np.float32), RATE_HZ
        )
        sentences = [
            {
                "voice": "es/x",
                "text": "hola",
                "translation": TEXTS[number],
                "start_ns": start_ms * 1_000_000,
                "end_ns": (start_ms + length_ms) * 1_000_000,
                "spans": [
                    {
                        "start_ns": start_ms * 1_000_000,
                        "end_ns": (start_ms + length_ms) * 1_000_000,
                        "text": "hola",
                    }
                ],
            }
            for number, (start_ms, length_ms) in enumerate(PHRASES_MS)
        ]
        path = self.folder / "clip.reference.json"
        path.write_text(
            json.dumps(
                {
                    "kind": "speech",
                    "seconds": SECONDS,
                    "source_language": "es",
                    "target_language": "en",
                    "speech_to_music_db": 4,
                    "speech_gain_db": 0,
                    "music_gain_db": 0,
                    "stems": {"speech": "speech.wav", "music": "music.wav"},
                    "sentences": sentences,
                }
            )
        )
        return path

    def report(self, heard: Callable[[int], str] | None = None) -> dict:
        files = self.build()

        def transcribe(language: str, pieces: Sequence[Samples]) -> list[str]:
            self.asked += [(language, len(piece)) for piece in pieces]
            assert heard is not None
            return [heard(number) for number in range(len(pieces))]

        return verify_recordings(
            files["in"],
            files["out"],
            files["events"],
            reference=files["reference"],
            transcribe=transcribe if heard else None,
        )


def lay(track: np.ndarray, start_ms: int, sound: np.ndarray) -> None:
    track[start_ms * 48 : start_ms * 48 + len(sound)] += sound


@pytest.fixture
def dubbed(tmp_path: Path, pictures: Path, carry: Carry) -> Dubbed:
    return Dubbed(tmp_path, pictures, carry)


def test_a_good_dub_reaches_every_speech_figure(dubbed: Dubbed):
    report = dubbed.report()

    assert report["onset_error"]["fragments"] == 3
    assert report["onset_error"]["p95_ms"] < 10
    assert report["background_si_sdr_db"] > 12
    assert report["audio"]["holes"] == 0
    assert abs(report["audio"]["lag_ms"]) < 0.5


@pytest.mark.parametrize("shift_ms", [60, -180])
def test_a_dub_that_sounds_elsewhere_than_logged_is_measured_where_it_sounds(dubbed: Dubbed, shift_ms: int):
    dubbed.dub_shift_ms = shift_ms

    report = dubbed.report()

    assert report["onset_error"]["p50_ms"] == pytest.approx(abs(shift_ms), abs=10)
    assert report["predicates"]["onset"] is (abs(shift_ms) < 150)


def test_a_dub_that_is_not_in_the_output_counts_as_half_a_second_wrong(dubbed: Dubbed):
    dubbed.lose_dub = 1

    report = dubbed.report()

    assert report["onset_error"]["p50_ms"] < 10
    assert report["onset_error"]["p95_ms"] > 400
    assert report["predicates"]["onset"] is False


def test_source_speech_left_in_the_background_lowers_its_figure_by_what_it_is(dubbed: Dubbed):
    dubbed.speech_left = 1.6

    report = dubbed.report()

    music = background()
    speech = np.zeros(len(music))
    for number, (start_ms, length_ms) in enumerate(PHRASES_MS):
        lay(speech, start_ms, voice(length_ms, number))
    spoken = speech != 0
    expected = 10 * np.log10(np.sum(music[spoken] ** 2) / (2 * np.sum((1.6 * speech[spoken]) ** 2)))
    assert report["background_si_sdr_db"] == pytest.approx(expected, abs=0.7)
    assert report["predicates"]["background_kept"] is False


def test_a_background_that_is_only_quieter_is_still_the_background(dubbed: Dubbed):
    dubbed.music_gain = 0.5

    assert dubbed.report()["background_si_sdr_db"] > 8


def test_a_background_that_is_gone_is_not_measured_as_kept(dubbed: Dubbed):
    dubbed.music_gain = 0.0

    report = dubbed.report()

    assert report["background_si_sdr_db"] is None
    assert report["reasons"]["background_si_sdr_db"] == "the music stem is not heard in the output"
    assert report["verified"] is False


def test_a_ducked_original_is_no_separated_background(dubbed: Dubbed):
    dubbed.background = "ducked"

    assert "ducked" in dubbed.report()["reasons"]["background_si_sdr_db"]


def test_without_dumps_what_needs_them_is_null_with_a_reason(dubbed: Dubbed):
    dubbed.dumps = False

    report = dubbed.report()

    for name in ("onset_error", "background_si_sdr_db", "back_wer"):
        assert report[name] is None
        assert "dumps" in report["reasons"][name]


def test_words_heard_in_the_output_are_held_against_reference_and_synthesis(dubbed: Dubbed):
    """The output is one piece of 11 words, of which the recogniser gets one wrong and misses one."""
    report = dubbed.report(
        lambda number: "good evening everybody the bread team it rains on the coast" if number == 0 else ""
    )

    assert report["mixed_wer"] == pytest.approx(2 / 12, abs=1e-3)
    # good, evening, everybody, red, team, scores, rains, coast
    assert report["translation_recall"] == pytest.approx(6 / 8)
    assert report["heard"]["output"].startswith("good evening")
    assert {language for language, _ in dubbed.asked} == {"en"}


def test_dry_dubs_are_held_against_their_own_text(dubbed: Dubbed):
    report = dubbed.report(lambda number: TEXTS[number] if number != 1 else "the red team")

    assert report["back_wer"] == pytest.approx(1 / 12, abs=1e-3)
    assert report["predicates"]["back_wer"] is True


def test_what_was_not_translated_well_is_not_recalled(dubbed: Dubbed):
    dubbed.texts = ("good evening everybody", "his tree is growing", "something else entirely")

    report = dubbed.report(lambda number: " ".join(dubbed.texts) if number == 0 else dubbed.texts[number])

    assert report["mixed_wer"] == 0
    assert report["translation_recall"] == pytest.approx(3 / 8)
    assert report["predicates"]["translation_recall"] is False


def test_a_recogniser_that_fails_costs_only_its_figures(dubbed: Dubbed):
    calls = []

    def fail(language: str, pieces: Sequence[Samples]) -> list[str]:
        calls.append(language)
        raise MissingPrerequisiteError("no model", remedy="Run `make setup`.")

    files = dubbed.build()
    report = verify_recordings(
        files["in"], files["out"], files["events"], reference=files["reference"], transcribe=fail
    )

    assert report["mixed_wer"] is report["back_wer"] is report["translation_recall"] is None
    assert "no model" in report["reasons"]["mixed_wer"]
    assert report["onset_error"] is not None
    assert len(calls) == 1


def test_without_a_reference_only_what_needs_it_is_missing(dubbed: Dubbed):
    files = dubbed.build()
    report = verify_recordings(
        files["in"], files["out"], files["events"], transcribe=lambda _, pieces: ["x"] * len(pieces)
    )

    assert report["mixed_wer"] is not None
    for name in ("onset_error", "background_si_sdr_db", "translation_recall"):
        assert "clip.reference.json" in report["reasons"][name]


def test_a_reference_of_another_clip_is_refused(dubbed: Dubbed):
    files = dubbed.build()
    other = np.random.default_rng(99).standard_normal((SECONDS * RATE_HZ, 2)).astype(np.float32) * 0.1
    for stem in ("music.wav", "speech.wav"):
        write_wav(dubbed.folder / stem, other, RATE_HZ)
    report = verify_recordings(files["in"], files["out"], files["events"], reference=files["reference"])

    assert report["onset_error"] is None
    assert "not the clip" in report["reasons"]["onset_error"]


def test_pieces_cover_the_dubs_and_stay_under_what_a_recogniser_takes(dubbed: Dubbed):
    files = dubbed.build()
    evidence = Evidence.read(files["in"], files["out"], read_events(files["events"]))

    pieces = output_pieces(evidence)

    assert [text for piece in pieces for text in piece.texts] == list(TEXTS)
    assert all(piece.span.duration_ns < 25_000_000_000 for piece in pieces)


def test_recordings_that_are_not_on_the_log_s_timeline_are_refused(dubbed: Dubbed):
    files = dubbed.build()
    shifted = dubbed.carry(files["in"], delay_ms=DELAY_MS + 700, name="shifted.flv")
    evidence = Evidence.read(files["in"], shifted, read_events(files["events"]))

    with pytest.raises(CannotTell, match="2700 ms in the files and 2000 ms in the log"):
        output_pieces(evidence)


@pytest.mark.parametrize("level", [0.3, 0.01])
def test_the_first_sound_is_found_whatever_the_level(level: float):
    samples = np.zeros(RATE_HZ, dtype=np.float32)
    samples[24_000:] = level * np.random.default_rng(5).standard_normal(24_000)
    samples[5_000:5_200] = level  # a click is no onset

    assert first_sound_ns(samples) == pytest.approx(500_000_000, abs=20_000_000)


def test_silence_has_no_first_sound():
    assert first_sound_ns(np.zeros(RATE_HZ, dtype=np.float32)) is None
