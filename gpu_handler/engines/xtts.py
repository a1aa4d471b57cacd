"""Coqui's XTTS v2: speech in the voice of a recording. Off unless Coqui's terms and a non-commercial licence are accepted.

Two kinds of voice: the studio speakers that the model ships (`es/xtts-ana-florence`), and those of the voice registry
with engine `xtts`, each with the recording that it imitates. What is derived from a recording is kept while the
registry has the voice, and computed again when the recording changes. Whether a voice may speak is asked by the
pipeline, for every request.

The model writes speech token by token and sometimes does not stop; it is read as a stream and cut off then.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpu_handler.engines import licences
from gpu_handler.engines.base import EngineInfo, Line, Samples, Speech
from gpu_handler.engines.calibration import PaceCalibration
from gpu_handler.engines.coqui import checked, coqui_home, coqui_missing
from gpu_handler.engines.text_pieces import split_text
from gpu_handler.settings import StsSettings
from gpu_handler.voices import Voice, VoiceRegistry
from livedub.errors import ConfigurationError, MissingPrerequisiteError

ENGINE = "xtts"
MODEL = "xtts-v2"

_NOT_IN_AN_ID = re.compile(r"[^a-z0-9]+")
_MIN_SPEED = 0.75
_MAX_SPEED = 1.3
_MS_PER_CHARACTER = 70.0
_LONGEST_TIMES = 3.0
_LONGEST_EXTRA_MS = 2_000
"""Beyond three times the expected duration and two seconds, the model does not find the end."""

_CHUNK_TOKENS = 20
_DEFAULT_LIMIT_CHARACTERS = 180
_LANGUAGE_ALIASES = {"zh": "zh-cn"}


@dataclass(frozen=True, slots=True)
class _Speaker:
    """What XTTS knows of a voice: conditioning of its language model, and of its vocoder."""

    latent: Any
    embedding: Any


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recording as it was when a voice was derived from it."""

    path: Path
    modified_ns: int


class XttsModel:
    """XTTS on its device, and the voices derived so far."""

    def __init__(self, folder: Path, settings: StsSettings) -> None:
        """Load it.

        Raises:
            MissingPrerequisiteError: a library or a file is missing, or coqui-tts cannot load it.
        """
        try:
            import torch  # pyright: ignore[reportMissingImports] - heavy
            from TTS.config import load_config  # pyright: ignore[reportMissingImports]
            from TTS.tts.models.xtts import Xtts  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise coqui_missing(error) from error
        missing = [
            name for name in ("config.json", "model.pth", "vocab.json") if not (folder / name).is_file()
        ]
        if missing:
            raise MissingPrerequisiteError(
                f"{folder} lacks {', '.join(missing)}.", remedy=f"Run `livedub models fetch {MODEL}`."
            )
        torch.set_num_threads(settings.threads)
        try:
            config = load_config(str(folder / "config.json"))
            network = Xtts.init_from_config(config)
            network.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
            network.to(settings.tts_device)
        except (
            OSError,
            pickle.UnpicklingError,
            RuntimeError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            raise MissingPrerequisiteError(
                f"{folder} holds no XTTS that coqui-tts loads on {settings.tts_device}: {error}.",
                remedy="Fetch the model again, or check STS_TTS_DEVICE.",
            ) from error
        self._torch: Any = torch
        self._network: Any = network
        self._config: Any = config
        self._derived: dict[_Recording, _Speaker] = {}

    @property
    def sample_rate_hz(self) -> int:
        """Of what it says: 24 kHz."""
        return int(self._config.audio.output_sample_rate)

    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes."""
        return tuple(dict.fromkeys(language.split("-")[0] for language in self._config.languages))

    def limit_characters(self, language: str) -> int:
        """The longest text that it says in one go."""
        return int(self._network.tokenizer.char_limits.get(language, _DEFAULT_LIMIT_CHARACTERS))

    def studio(self) -> dict[str, _Speaker]:
        """The speakers that the model ships, by name."""
        manager = self._network.speaker_manager
        if manager is None:
            return {}
        return {
            name: _Speaker(entry["gpt_cond_latent"], entry["speaker_embedding"])
            for name, entry in manager.speakers.items()
        }

    def imitate(self, path: Path) -> _Speaker:
        """The voice of a recording; derived once.

        Raises:
            MissingPrerequisiteError: it cannot be read.
        """
        try:
            recording = _Recording(path, path.stat().st_mtime_ns)
            if recording not in self._derived:
                # what other states of this recording gave is not needed any more
                self.keep_only({known.path for known in self._derived} - {path})
                latent, embedding = self._network.get_conditioning_latents(
                    str(path),
                    max_ref_length=self._config.max_ref_len,
                    gpt_cond_len=self._config.gpt_cond_len,
                    gpt_cond_chunk_len=self._config.gpt_cond_chunk_len,
                    sound_norm_refs=self._config.sound_norm_refs,
                )
                self._derived[recording] = _Speaker(latent, embedding)
        except (OSError, RuntimeError, ValueError) as error:
            raise MissingPrerequisiteError(
                f"{path.name}: no voice can be taken from this recording ({error}).",
                remedy="Give a WAV file of 6 to 30 s of one person's clean speech.",
            ) from error
        return self._derived[recording]

    def keep_only(self, paths: set[Path]) -> None:
        """Forget what was derived from any other recording."""
        self._derived = {known: speaker for known, speaker in self._derived.items() if known.path in paths}

    def stream(
        self, text: str, language: str, speaker: _Speaker, speed: float, seed: int
    ) -> Iterator[Samples]:
        """Speak `text` piece by piece."""
        self._torch.manual_seed(seed)
        chunks = self._network.inference_stream(
            text,
            _LANGUAGE_ALIASES.get(language, language),
            speaker.latent,
            speaker.embedding,
            stream_chunk_size=_CHUNK_TOKENS,
            temperature=self._config.temperature,
            length_penalty=self._config.length_penalty,
            repetition_penalty=self._config.repetition_penalty,
            top_k=self._config.top_k,
            top_p=self._config.top_p,
            speed=speed,
        )
        for chunk in chunks:
            yield np.atleast_1d(chunk.float().cpu().numpy())


class XttsSynthesizer:
    """XTTS v2: one line at a time, its language model is autoregressive."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._model: XttsModel | None = None
        self._studio: dict[str, _Speaker] = {}
        self._registry = VoiceRegistry(None)
        self._pace = PaceCalibration(_MS_PER_CHARACTER)
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        return EngineInfo(ENGINE, MODEL, licences.XTTS.name, commercial_use=licences.XTTS.commercial_use)

    def load(self) -> None:
        """Load the model and the voice registry.

        Raises:
            ConfigurationError: Coqui's terms or the non-commercial licence are not accepted.
            MissingPrerequisiteError: the model or a library is missing.
        """
        licences.permit(MODEL, licences.XTTS, self._settings)
        if not self._settings.coqui_tos_agreed:
            raise ConfigurationError(
                f"{MODEL}: Coqui asks for agreement to its terms (https://coqui.ai/cpml).",
                remedy="Set COQUI_TOS_AGREED=1 if you agree, or choose another voice.",
            )
        folder = coqui_home(self._settings) / MODEL
        if not folder.is_dir():
            raise MissingPrerequisiteError(
                f"{folder} is missing.", remedy=f"Run `livedub models fetch {MODEL}`."
            )
        self._registry = VoiceRegistry.load(self._settings.voice_registry)
        model = XttsModel(checked(folder, self._settings), self._settings)
        self._studio = {_slug(name): speaker for name, speaker in model.studio().items()}
        self._model = model
        for voice in next(iter(self.voices().values()), ()):
            self.synthesize([Line("1, 2, 3.", voice)])
            break

    def close(self) -> None:
        """Free the model and every derived voice."""
        with self._lock:
            self._model = None
            self._studio = {}

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to voice ids: the model's own speakers, then the registry's."""
        if self._model is None:
            return {}
        cloned = self._cloned()
        voices = {
            language: (
                *(f"{language}/{name}" for name in self._studio),
                *(name for name, voice in cloned.items() if voice.language == language),
            )
            for language in self._model.languages()
        }
        return {language: names for language, names in voices.items() if names}

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimated duration at speed 1, from the number of characters and what this voice took before."""
        return self._pace.estimate_ms(voice, len(text))

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """Speak one line after the other.

        Raises:
            KeyError: a voice is not in `voices()`.
            MissingPrerequisiteError: the recording behind a voice cannot be read.
        """
        with self._lock:
            if self._model is None:
                raise RuntimeError("the voice is not loaded: call load() first")
            return [self._say(self._model, line) for line in batch]

    def _say(self, model: XttsModel, line: Line) -> Speech:
        speaker = self._speaker(model, line.voice)
        language = line.voice.split("/", 1)[0]
        speed = float(np.clip(line.speed, _MIN_SPEED, _MAX_SPEED))
        pieces = split_text(line.text, model.limit_characters(language))
        said = [
            _bounded(
                model.stream(piece, language, speaker, speed, line.seed),
                self._longest(piece, line.voice, speed, model.sample_rate_hz),
            )
            for piece in pieces
        ]
        samples = np.concatenate(said) if said else np.zeros(0, dtype=np.float32)
        self._pace.observe(line.voice, len(line.text), samples, model.sample_rate_hz, speed)
        return Speech(samples, model.sample_rate_hz, speed)

    def _longest(self, text: str, voice: str, speed: float, rate_hz: int) -> int:
        """Samples that no sound rendering of `text` needs."""
        expected_ms = self._pace.estimate_ms(voice, len(text)) / speed
        return round((_LONGEST_TIMES * expected_ms + _LONGEST_EXTRA_MS) * rate_hz / 1000)

    def _speaker(self, model: XttsModel, voice: str) -> _Speaker:
        language, name = voice.split("/", 1)
        cloned = self._cloned()
        model.keep_only({known.speaker_reference for known in cloned.values() if known.speaker_reference})
        if voice in cloned:
            reference = cloned[voice].speaker_reference
            if reference is None:
                raise KeyError(voice)
            return model.imitate(reference)
        if language not in model.languages():
            raise KeyError(voice)
        return self._studio[name]

    def _cloned(self) -> dict[str, Voice]:
        """The registry's voices for this engine, as the file has them now."""
        return {
            voice.id: voice
            for voice in self._registry.all()
            if voice.engine == ENGINE and voice.speaker_reference is not None
        }


def _bounded(chunks: Iterator[Samples], most: int) -> Samples:
    """The chunks joined, cut off at `most` samples."""
    kept: list[Samples] = []
    total = 0
    for chunk in chunks:
        kept.append(chunk)
        total += len(chunk)
        if total >= most:
            break
    close: Callable[[], None] | None = getattr(chunks, "close", None)
    if close is not None:
        close()
    return np.concatenate(kept)[:most].astype(np.float32) if kept else np.zeros(0, dtype=np.float32)


def _slug(name: str) -> str:
    return f"xtts-{_NOT_IN_AN_ID.sub('-', name.lower()).strip('-')}"
