"""The demo clip is what its reference says: stems sum to its sound, sentences lie where they are said to lie."""

import json
import wave
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from livedub.audio.pcm import rms_dbfs
from livedub.errors import ConfigurationError, LivedubError, MissingPrerequisiteError
from livedub.verify.holes import levels, steady
from livedub.verify.lag import find_lag
from livedub.verify.recording import read_audio, read_recording
from livedub.verify.reference import read_reference
from local import demo_clip as module
from local.demo_clip import ClipRecipe, DemoClip, Line, demo_clip

SMALL = ClipRecipe(seconds=14, width=320, height=180, video_kbps=300)
RATE_HZ = 24_000


class Speaker:
    """Speaks noise as long as the text, a voice's own level, silence around it as real voices leave."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __call__(self, lines: list[Line]) -> None:
        self.lines += lines
        for line in lines:
            generator = np.random.default_rng(len(line.text))
            sound = generator.standard_normal(round(0.03 * len(line.text) * RATE_HZ))
            sound *= 0.02 if line.voice.endswith("dora") else 0.1
            edge = np.zeros(RATE_HZ // 4)
            samples = np.concatenate((edge, sound, edge))
            with wave.open(str(line.out), "wb") as file:
                file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                file.writeframes((samples * 32_767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> DemoClip:
    return demo_clip(SMALL, tmp_path_factory.mktemp("clips"), speak=Speaker())


def stem(path: Path) -> np.ndarray:
    return read_audio(path)[0].samples


def test_the_stems_sum_to_the_clip_s_sound_sample_for_sample(clip: DemoClip):
    sound = read_audio(clip.clip)[0]
    stems = stem(clip.speech) + stem(clip.music)

    lag = find_lag(stems.mean(axis=1), sound.slice(0, len(stems)).mean(axis=1), 4_800)

    assert len(stem(clip.speech)) == len(stem(clip.music)) == 14 * 48_000
    assert lag is not None
    assert abs(lag.samples) < 0.5
    assert rms_dbfs(sound.slice(0, len(stems)) - stems) < rms_dbfs(stems) - 10


def test_every_sentence_sounds_where_the_reference_says_and_nowhere_else(clip: DemoClip):
    speech = stem(clip.speech)
    reference = read_reference(clip.reference)
    spoken = np.zeros(len(speech), dtype=bool)
    for sentence in reference.sentences:
        assert sentence.start_ns == sentence.spans[0].start_ns
        assert sentence.end_ns == sentence.spans[-1].end_ns
        for span in sentence.spans:
            spoken[span.start_ns * 48 // 1_000_000 : span.end_ns * 48 // 1_000_000] = True

    assert len(reference.sentences) >= 4
    assert rms_dbfs(speech[~spoken]) == -120
    sounding = levels(speech)[spoken[::48]] > -60
    assert sounding.mean() > 0.98


def test_pauses_between_and_inside_sentences_are_those_of_the_script(clip: DemoClip):
    script = json.loads(module.SCRIPT_PATH.read_text())["sentences"]
    reference = read_reference(clip.reference)
    phrases = [phrase for sentence in script for phrase in sentence["phrases"]]
    spans = [span for sentence in reference.sentences for span in sentence.spans]

    pauses_ms = [(b.start_ns - a.end_ns) / 1e6 for a, b in pairwise(spans)]

    expected = [phrase["pause_ms"] for phrase in phrases[: len(pauses_ms)]]
    assert pauses_ms == pytest.approx(expected, abs=0.1)
    assert all(500 <= phrase["pause_ms"] <= 1_000 for phrase in phrases)


def test_speech_lies_over_the_music_by_the_stated_level(clip: DemoClip):
    speech, music = stem(clip.speech), stem(clip.music)
    spoken = np.abs(speech).max(axis=1) > 0

    assert rms_dbfs(speech[spoken]) - rms_dbfs(music[spoken]) == pytest.approx(4.0, abs=0.2)
    assert read_reference(clip.reference).speech_to_music_db == 4.0
    assert np.abs(speech + music).max() <= 0.901


def test_quiet_and_loud_voices_come_out_alike(clip: DemoClip):
    speech = stem(clip.speech)
    reference = read_reference(clip.reference)
    by_voice = {
        sentence.voice: rms_dbfs(
            speech[sentence.spans[0].start_ns * 48 // 1_000_000 : sentence.spans[0].end_ns * 48 // 1_000_000]
        )
        for sentence in reference.sentences
    }

    assert set(by_voice) == {"es/ef_dora", "es/em_alex"}
    assert by_voice["es/ef_dora"] == pytest.approx(by_voice["es/em_alex"], abs=0.5)


def test_the_background_never_pauses(clip: DemoClip):
    music = steady(levels(stem(clip.music)))

    assert music[100:-100].min() > -45


def test_the_music_is_stereo(clip: DemoClip):
    music = stem(clip.music)
    side = music[:, 0] - music[:, 1]

    assert rms_dbfs(side) > rms_dbfs(music) - 15


def test_video_has_b_frames_and_a_keyframe_every_two_seconds(clip: DemoClip):
    video = read_recording(clip.clip).video
    keyframes_s = [unit.pts_ns / 1e9 for unit in video if unit.keyframe]

    assert len(video) == 14 * 30
    assert keyframes_s == pytest.approx([0, 2, 4, 6, 8, 10, 12], abs=0.001)
    assert any(unit.pts_ns > unit.dts_ns + 40_000_000 for unit in video)
    assert len({unit.nal_digests for unit in video}) == len(video)


def test_a_clip_is_made_once(tmp_path: Path):
    speaker = Speaker()
    recipe = replace(SMALL, seconds=6)
    first = demo_clip(recipe, tmp_path, speak=speaker)
    spoken = len(speaker.lines)
    made_ns = first.clip.stat().st_mtime_ns

    second = demo_clip(recipe, tmp_path, speak=speaker)

    assert second == first
    assert len(speaker.lines) == spoken > 0
    assert second.clip.stat().st_mtime_ns == made_ns


def test_another_script_is_another_clip(tmp_path: Path):
    script = json.loads(module.SCRIPT_PATH.read_text())
    script["sentences"][0]["phrases"][0]["text"] = "Otra frase."
    other = tmp_path / "script.json"
    other.write_text(json.dumps(script))
    recipe = replace(SMALL, seconds=6)

    one = demo_clip(recipe, tmp_path, speak=Speaker())
    two = demo_clip(recipe, tmp_path, speak=Speaker(), script_path=other)

    assert one.clip != two.clip
    assert read_reference(two.reference).sentences[0].text == "Otra frase."


def test_a_clip_that_could_not_be_made_leaves_nothing_behind(tmp_path: Path):
    def fail(lines: list[Line]) -> None:
        raise MissingPrerequisiteError("no voice", remedy="Run `make setup`.")

    with pytest.raises(MissingPrerequisiteError):
        demo_clip(SMALL, tmp_path, speak=fail)

    assert list(tmp_path.iterdir()) == []


def test_a_voice_that_says_nothing_is_named(tmp_path: Path):
    def mute(lines: list[Line]) -> None:
        for line in lines:
            with wave.open(str(line.out), "wb") as file:
                file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                file.writeframes(bytes(RATE_HZ))

    with pytest.raises(LivedubError, match="es/ef_dora"):
        demo_clip(SMALL, tmp_path, speak=mute)


@pytest.mark.parametrize("kind", ["music", "crowd", "noise", "silence"])
def test_the_kinds_without_speech_have_none(tmp_path: Path, kind: str):
    recipe = replace(SMALL, seconds=5, kind=kind)
    made = demo_clip(recipe, tmp_path, speak=Speaker())

    assert np.all(stem(made.speech) == 0)
    assert read_reference(made.reference).sentences == ()
    assert (rms_dbfs(stem(made.music)) > -40) is (kind != "silence")


def test_a_long_clip_says_the_script_again(tmp_path: Path):
    script = json.loads(module.SCRIPT_PATH.read_text())
    script["sentences"] = script["sentences"][:2]
    short = tmp_path / "script.json"
    short.write_text(json.dumps(script))
    speaker = Speaker()

    made = demo_clip(SMALL, tmp_path, speak=speaker, script_path=short)

    texts = [sentence.text for sentence in read_reference(made.reference).sentences]
    assert texts[:2] == texts[2:4]
    assert len(speaker.lines) == 2


@pytest.mark.parametrize(("field", "value"), [("kind", "opera"), ("seconds", 2)])
def test_an_impossible_recipe_is_named(field: str, value: object):
    with pytest.raises(ConfigurationError, match=field):
        ClipRecipe(**{field: value})  # pyright: ignore[reportArgumentType]


def test_lines_are_spoken_by_the_service_s_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_PROFILE", "mock")
    lines = [Line(text, "es/mock", tmp_path / f"{text}.wav") for text in ("hola", "adiós")]

    module.speak_with_packaged_voices(lines)

    assert all(module.read_mono(line.out).size for line in lines)


def test_a_voice_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_PROFILE", "mock")

    with pytest.raises(MissingPrerequisiteError, match="xx/nobody"):
        module.speak_with_packaged_voices([Line("hola", "xx/nobody", tmp_path / "a.wav")])
