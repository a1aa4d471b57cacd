"""The default input of the demo: a minute of Spanish speech over music under a test picture with a timer.

`python -m local.demo_clip [--seconds 60] [--kind speech] [--cache DIR]` makes it and prints where it lies. Speech
comes from the packaged voices (`python -m gpu_handler speak` as a process), music from `local.demo_sound`; the
verifier knows script, reference translation and both stems through clip.reference.json.

The other kinds have no speech at all: `music`, `crowd`, `noise` and `silence` must come back without a dubbed word.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples, gain_from_db, rms_dbfs
from livedub.errors import ConfigurationError, LivedubError, MissingPrerequisiteError
from livedub.timeline.clock import samples_to_ns
from livedub.verify.reference import ClipReference, ReferenceSentence, ReferenceSpan, Stems
from local import demo_sound

SCRIPT_PATH = Path(__file__).with_name("demo_script.json")
DEFAULT_CACHE = Path("~/.cache/livedub/clips")
SPEECH = "speech"
KINDS = (SPEECH, *demo_sound.BACKGROUNDS)

_RECIPE = 1
"""Counts changes of what this module makes that neither script nor parameters show."""
_LEAD_MS = 1_500
_TAIL_MS = 1_500
_SPEECH_DBFS = -20.0
_EDGE_DB = 35.0
_PEAK_LIMIT = 0.9
_SPEAK_TIMEOUT_S = 600
_ENCODE_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class DemoClip:
    """The files of one clip."""

    clip: Path
    reference: Path
    speech: Path
    music: Path

    @classmethod
    def at(cls, folder: Path) -> DemoClip:
        """The names files have in a clip's folder."""
        return cls(
            folder / "clip.mp4",
            folder / "clip.reference.json",
            folder / "speech.flac",
            folder / "music.flac",
        )


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """What a clip is made of. `speech_to_music_db`: level of speech over the music under it."""

    seconds: int = 60
    kind: str = SPEECH
    speech_to_music_db: float = 4.0
    width: int = 1280
    height: int = 720
    video_kbps: int = 2_500
    audio_kbps: int = 160

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"kind is {self.kind!r}.", remedy=f"Take one of {', '.join(KINDS)}.")
        if self.seconds < 5:
            raise ConfigurationError(f"seconds is {self.seconds}.", remedy="A clip takes at least 5 seconds.")


class ScriptPhrase(BaseModel):
    """Words spoken in one breath, and the silence after them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str
    pause_ms: int


class ScriptSentence(BaseModel):
    """One sentence: who says it, in which phrases, and what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    voice: str
    phrases: tuple[ScriptPhrase, ...]
    translation: str


class Script(BaseModel):
    """demo_script.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source_language: str
    target_language: str
    sentences: tuple[ScriptSentence, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A text to speak with a voice into a WAV file."""

    text: str
    voice: str
    out: Path


Speak = Callable[[list[Line]], None]
"""Writes each line's file."""


def demo_clip(
    recipe: ClipRecipe,
    cache_dir: Path = DEFAULT_CACHE,
    *,
    script_path: Path = SCRIPT_PATH,
    speak: Speak | None = None,
) -> DemoClip:
    """Return the clip, from `cache_dir` where it has been made before.

    The folder's name carries a hash of everything the clip is made of, and appears only when it is complete.

    Raises:
        MissingPrerequisiteError: ffmpeg, or a voice that speaks the script, is not installed.
        LivedubError: a program failed; carries what it said.
    """
    script = _read_script(script_path)
    cache_dir = cache_dir.expanduser()
    folder = cache_dir / f"demo-{recipe.kind}-{recipe.seconds}s-{_key(recipe, script)}"
    if not folder.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".demo-") as scratch:
            unfinished = Path(scratch) / "clip"
            unfinished.mkdir()
            _make(recipe, script, speak or speak_with_packaged_voices, unfinished, Path(scratch))
            _publish(unfinished, folder)
    return DemoClip.at(folder)


def speak_with_packaged_voices(lines: list[Line]) -> None:
    """Speak lines with the voices that `make setup` fetched, in one process that loads the model once.

    Raises:
        MissingPrerequisiteError: the voices are not there; carries what the process said.
    """
    with tempfile.TemporaryDirectory(prefix="livedub-speak-") as scratch:
        batch = Path(scratch) / "lines.jsonl"
        entries = [{"text": line.text, "voice": line.voice, "out": str(line.out)} for line in lines]
        batch.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        _run(
            [sys.executable, "-m", "gpu_handler", "speak", "--batch", str(batch)],
            _SPEAK_TIMEOUT_S,
            MissingPrerequisiteError,
            "Run `make setup`: it fetches the voices.",
        )


def _key(recipe: ClipRecipe, script: Script) -> str:
    parts = [
        str(_RECIPE),
        json.dumps(asdict(recipe), sort_keys=True),
        script.model_dump_json(),
        Path(demo_sound.__file__).read_text(encoding="utf-8"),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _read_script(path: Path) -> Script:
    try:
        return Script.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"script {path} cannot be used: {error}", remedy="Compare it with local/demo_script.json."
        ) from error


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # else: another process made the same clip meanwhile
            raise


def _make(recipe: ClipRecipe, script: Script, speak: Speak, folder: Path, scratch: Path) -> None:
    files = DemoClip.at(folder)
    if recipe.kind == SPEECH:
        speech, sentences = _spoken(recipe, script, speak, scratch)
        background = demo_sound.music(recipe.seconds)
    else:
        speech, sentences = demo_sound.silence(recipe.seconds), []
        background = demo_sound.BACKGROUNDS[recipe.kind](recipe.seconds)
    levelled, gains_db = _levelled(speech, background, sentences, recipe.speech_to_music_db)
    for stem, path in zip(levelled, (files.speech, files.music), strict=True):
        _encode_flac(stem, path)
    _encode_clip(recipe, levelled[0] + levelled[1], files.clip, scratch)
    reference = ClipReference(
        kind=recipe.kind,
        seconds=recipe.seconds,
        source_language=script.source_language,
        target_language=script.target_language,
        speech_to_music_db=recipe.speech_to_music_db if sentences else None,
        speech_gain_db=round(gains_db[0], 2),
        music_gain_db=round(gains_db[1], 2),
        stems=Stems(speech=files.speech.name, music=files.music.name),
        sentences=tuple(sentences),
    )
    files.reference.write_text(reference.model_dump_json(indent=1), encoding="utf-8")


def _spoken(
    recipe: ClipRecipe, script: Script, speak: Speak, scratch: Path
) -> tuple[Samples, list[ReferenceSentence]]:
    """The speech stem, and where each sentence lies: whole sentences only, the script again when it ends."""
    voiced = _synthesised(script, speak, scratch)
    stem = demo_sound.silence(recipe.seconds)
    position = _LEAD_MS * PROGRAMME_RATE_HZ // 1000
    end = len(stem) - _TAIL_MS * PROGRAMME_RATE_HZ // 1000
    placed: list[ReferenceSentence] = []
    for sentence, sounds in cycle(zip(script.sentences, voiced, strict=True)):
        pauses = [phrase.pause_ms * PROGRAMME_RATE_HZ // 1000 for phrase in sentence.phrases]
        if position + sum(map(len, sounds)) + sum(pauses[:-1]) > end:
            break
        spans: list[ReferenceSpan] = []
        for phrase, sound, pause in zip(sentence.phrases, sounds, pauses, strict=True):
            stem[position : position + len(sound)] += sound[:, None]
            spans.append(
                ReferenceSpan(
                    start_ns=samples_to_ns(position, PROGRAMME_RATE_HZ),
                    end_ns=samples_to_ns(position + len(sound), PROGRAMME_RATE_HZ),
                    text=phrase.text,
                )
            )
            position += len(sound) + pause
        placed.append(
            ReferenceSentence(
                voice=sentence.voice,
                text=" ".join(phrase.text for phrase in sentence.phrases),
                translation=sentence.translation,
                start_ns=spans[0].start_ns,
                end_ns=spans[-1].end_ns,
                spans=tuple(spans),
            )
        )
    return stem, placed


def _synthesised(script: Script, speak: Speak, scratch: Path) -> list[list[Samples]]:
    """Each phrase as mono samples from its first to its last sound, all at one level."""
    lines = [
        [
            Line(phrase.text, sentence.voice, scratch / f"{row:03d}-{column}.wav")
            for column, phrase in enumerate(sentence.phrases)
        ]
        for row, sentence in enumerate(script.sentences)
    ]
    speak([line for row in lines for line in row])
    return [[_phrase_sound(line) for line in row] for row in lines]


def _phrase_sound(line: Line) -> Samples:
    sound = _trim(read_mono(line.out))
    if not sound.size:
        raise LivedubError(
            f"voice {line.voice} spoke {line.text!r} as silence.", remedy="Run `make setup` again."
        )
    return sound * np.float32(gain_from_db(_SPEECH_DBFS - rms_dbfs(sound)))


def _trim(sound: Samples) -> Samples:
    """Cut silence from both ends: 10 ms blocks that lie 35 dB under the loudest."""
    block = PROGRAMME_RATE_HZ // 100
    count = len(sound) // block
    if count == 0:
        return sound[:0]
    power = np.square(sound[: count * block]).reshape(count, block).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-_EDGE_DB / 10))
    return sound[int(loud[0]) * block : (int(loud[-1]) + 1) * block] if power.max() > 0 else sound[:0]


def _levelled(
    speech: Samples, background: Samples, sentences: list[ReferenceSentence], speech_to_music_db: float
) -> tuple[tuple[Samples, Samples], tuple[float, float]]:
    """Both stems at their final gain: the background so far under the speech it lies under, peaks under full scale."""
    speech_gain_db = background_gain_db = 0.0
    if sentences:
        spoken = np.zeros(len(speech), dtype=np.bool_)
        for span in (span for sentence in sentences for span in sentence.spans):
            first, last = (ns * PROGRAMME_RATE_HZ // 1_000_000_000 for ns in (span.start_ns, span.end_ns))
            spoken[first:last] = True
        over_db = rms_dbfs(speech[spoken]) - rms_dbfs(background[spoken])
        background_gain_db = over_db - speech_to_music_db
    mix_peak = float(
        np.abs(speech + background * np.float32(gain_from_db(background_gain_db))).max(initial=0)
    )
    if mix_peak > _PEAK_LIMIT:
        down_db = 20 * float(np.log10(_PEAK_LIMIT / mix_peak))
        speech_gain_db += down_db
        background_gain_db += down_db
    return (
        (
            speech * np.float32(gain_from_db(speech_gain_db)),
            background * np.float32(gain_from_db(background_gain_db)),
        ),
        (speech_gain_db, background_gain_db),
    )


def read_mono(path: Path) -> Samples:
    """Any audio file as mono samples at 48 kHz."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=PROGRAMME_RATE_HZ)
    with av.open(str(path)) as container:
        blocks = [
            out.to_ndarray()[0]
            for frame in [*container.decode(audio=0), None]
            for out in resampler.resample(frame)
        ]
    return np.concatenate(blocks).astype(np.float32) if blocks else np.zeros(0, dtype=np.float32)


def _encode_flac(samples: Samples, path: Path) -> None:
    raw = path.with_suffix(".f32")
    raw.write_bytes(samples.astype("<f4").tobytes())
    _ffmpeg([*_raw_input(raw), "-sample_fmt", "s32", "-bits_per_raw_sample", "24", str(path)])
    raw.unlink()


def _encode_clip(recipe: ClipRecipe, mix: Samples, path: Path, scratch: Path) -> None:
    raw = scratch / "mix.f32"
    raw.write_bytes(mix.astype("<f4").tobytes())
    size = f"{recipe.width}x{recipe.height}"
    timer = (
        r"drawtext=font=monospace:text='%{pts\:hms}':x=(w-tw)/2:y=h*0.80:fontcolor=white:box=1"
        f":boxcolor=black@0.75:fontsize={recipe.height // 9}:boxborderw={recipe.height // 60}"
    )
    _ffmpeg(
        [
            *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30:duration={recipe.seconds},{timer}"),
            *_raw_input(raw),
            *("-map", "0:v", "-map", "1:a", "-t", str(recipe.seconds)),
            *("-c:v", "libx264", "-preset", "superfast", "-profile:v", "high", "-bf", "2"),
            *("-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-pix_fmt", "yuv420p"),
            *("-b:v", f"{recipe.video_kbps}k", "-maxrate", f"{recipe.video_kbps}k"),
            *("-bufsize", f"{2 * recipe.video_kbps}k"),
            *("-c:a", "aac", "-b:a", f"{recipe.audio_kbps}k", "-movflags", "+faststart", str(path)),
        ]
    )


def _raw_input(raw: Path) -> tuple[str, ...]:
    return ("-f", "f32le", "-ar", str(PROGRAMME_RATE_HZ), "-ac", str(PROGRAMME_CHANNELS), "-i", str(raw))


def _ffmpeg(arguments: list[str]) -> None:
    _run(
        ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *arguments],
        _ENCODE_TIMEOUT_S,
        LivedubError,
        "Run `make setup`: it installs ffmpeg with libx264 and drawtext.",
    )


def _run(argv: list[str], timeout_s: int, failure: type[LivedubError], remedy: str) -> None:
    name = " ".join(argv[1:4]) if argv[0] == sys.executable else argv[0]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise MissingPrerequisiteError(f"{name} is not on PATH.", remedy=remedy) from error
    except subprocess.TimeoutExpired as error:
        raise LivedubError(f"{name} did not end within {timeout_s} s.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise failure(f"{name} failed: {said[-1] if said else 'it said nothing'}.", remedy=remedy)


def main() -> int:
    """Make one clip and print the paths of its files as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m local.demo_clip", description="Make the demo's input clip."
    )
    parser.add_argument("--seconds", type=int, default=ClipRecipe().seconds)
    parser.add_argument("--kind", choices=KINDS, default=ClipRecipe().kind)
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder of made clips; safe to delete"
    )
    parser.add_argument("--out", type=Path, help="copy the files into this folder as well")
    arguments = parser.parse_args()
    try:
        made = demo_clip(ClipRecipe(seconds=arguments.seconds, kind=arguments.kind), arguments.cache)
        if arguments.out is not None:
            made = DemoClip.at(Path(shutil.copytree(made.clip.parent, arguments.out, dirs_exist_ok=True)))
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps({name: str(path) for name, path in asdict(made).items()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
