"""Kokoro-82M (ONNX): neural speech in English, Spanish, French, Italian and Portuguese, faster than real time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from gpu_handler import models
from gpu_handler.engines.base import EngineInfo, Line, Samples, Speech
from gpu_handler.engines.calibration import PaceCalibration
from gpu_handler.engines.phonemes import cached_phonemes
from gpu_handler.settings import StsSettings

SAMPLE_RATE_HZ = 24_000

_MODEL = "kokoro-82m"
_VOICES = "kokoro-voices"
_MAX_TOKENS = 480
"""The model's limit is 510 with its two edge marks; longer texts are spoken clause by clause."""

_CPU_LANES = 2
"""Sessions may run side by side, and two lines at once leave less of two cores idle than one after the other."""

_STYLES = 510
_STYLE_SIZE = 256
_PACES = (0.80, 0.925, 1.0, 1.05, 1.12)
_SPEED_INPUTS = (0.8, 0.9, 1.0, 1.1, 1.2)
"""Measured pace over four voices by the model's `speed` input.

The model rounds each phoneme to whole frames of 25 ms, so pace does not follow the input in a line: 1.3 gives 1.21, 1.4
already 1.53, with up to a quarter of the words no longer understood. Beyond 1.2 stretching sounds better.
"""

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_LANGUAGE_OF_PREFIX = {"a": "en", "b": "en", "e": "es", "f": "fr", "i": "it", "p": "pt"}
_FIRST_VOICES = ("af_heart", "em_alex", "ff_siwis", "if_sara", "pf_dora")
_MS_PER_SYMBOL = 53.0
_CLAUSE_END = re.compile(r"(?<=[.,;:!?…])\s+")


@dataclass(frozen=True, slots=True)
class _Voice:
    """A voice pack: one style vector per length of text, and the accent that its phonemes need."""

    accent: str
    styles: Samples


class KokoroSynthesizer:
    """Kokoro-82M on ONNX Runtime; a line a call, on every thread it is given."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._session: onnxruntime.InferenceSession | None = None
        self._symbols: dict[str, int] = {}
        self._voices: dict[str, _Voice] = {}
        self._by_language = _voices_by_language()
        self._pace = PaceCalibration(_MS_PER_SYMBOL)

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        licence = models.registry().model(_MODEL).licence
        return EngineInfo(
            "kokoro", _MODEL, licence, lanes=1 if self._settings.tts_device == "cuda" else _CPU_LANES
        )

    def load(self) -> None:
        """Load model and voices, checked against the registry, and speak a few words."""
        home = models.verify(_MODEL, self._settings.model_dir)
        voices = models.verify(_VOICES, self._settings.model_dir)
        self._symbols = json.loads((home / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        for language, names in self._by_language.items():
            for name in names:
                pack = name.split("/", 1)[1]
                styles = np.fromfile(voices / f"{pack}.bin", dtype="<f4").reshape(_STYLES, 1, _STYLE_SIZE)
                self._voices[name] = _Voice("en-gb" if pack.startswith("b") else language, styles)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._settings.threads
        options.inter_op_num_threads = 1
        # waiting threads would otherwise spin and take the core from the other stages
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(home / "model.onnx"), options, providers=self._providers()
        )
        self.synthesize([Line("1, 2, 3, 4, 5, 6.", self._by_language["en"][0])])

    def _providers(self) -> list[str]:
        """Where the model runs: on the GPU if that is wanted and this build of the runtime can."""
        on_gpu = self._settings.tts_device == "cuda" and _CUDA in onnxruntime.get_available_providers()
        return [_CUDA, _CPU] if on_gpu else [_CPU]

    def close(self) -> None:
        """Free the model."""
        self._session = None

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to voice ids, the default first."""
        return dict(self._by_language)

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimated duration at speed 1, from the number of phonemes and what this voice took before."""
        return self._pace.estimate_ms(voice, len(self._phonemes(text, voice)))

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """Speak one line after the other; a voice this engine lacks is a KeyError."""
        return [self._say(line) for line in batch]

    def _say(self, line: Line) -> Speech:
        pace = float(np.clip(line.speed, _PACES[0], _PACES[-1]))
        speed_input = float(np.interp(pace, _PACES, _SPEED_INPUTS))
        symbols = self._phonemes(line.text, line.voice)
        pieces = split_phonemes(symbols, _MAX_TOKENS)
        spoken = [self._speak(piece, self._voices[line.voice].styles, speed_input) for piece in pieces]
        samples = np.concatenate(spoken) if spoken else np.zeros(0, dtype=np.float32)
        self._pace.observe(line.voice, len(symbols), samples, SAMPLE_RATE_HZ, pace)
        return Speech(samples, SAMPLE_RATE_HZ, pace)

    def _phonemes(self, text: str, voice: str) -> str:
        symbols = cached_phonemes(text, self._voices[voice].accent)
        return "".join(symbol for symbol in symbols if symbol in self._symbols)

    def _speak(self, symbols: str, styles: Samples, speed: float) -> Samples:
        session = self._session
        if session is None:
            raise RuntimeError("the voice is not loaded: call load() first")
        tokens = [self._symbols[symbol] for symbol in symbols]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": styles[min(len(tokens), _STYLES - 1)],
            "speed": np.array([speed], dtype=np.float32),
        }
        return np.asarray(session.run(None, inputs)[0], dtype=np.float32).ravel()


def split_phonemes(symbols: str, limit: int) -> list[str]:
    """Cut a phoneme string into pieces of at most `limit` symbols: at pauses, else between words, else anywhere."""
    if len(symbols) <= limit:
        return [symbols] if symbols.strip() else []
    pieces: list[str] = []
    current = ""
    for clause in _CLAUSE_END.split(symbols):
        for piece in _fold(clause, limit):
            joined = f"{current} {piece}" if current else piece
            if len(joined) <= limit:
                current = joined
            else:
                pieces.append(current)
                current = piece
    return [*pieces, current] if current else pieces


def _fold(clause: str, limit: int) -> list[str]:
    """A clause in pieces of at most `limit` symbols, cut between words where there are any."""
    pieces = []
    while len(clause) > limit:
        cut = clause.rfind(" ", 1, limit + 1)
        cut = limit if cut < 1 else cut
        pieces.append(clause[:cut])
        clause = clause[cut:].lstrip()
    return [*pieces, clause] if clause else pieces


def _voices_by_language() -> dict[str, tuple[str, ...]]:
    packs = [file.path.removesuffix(".bin") for file in models.registry().model(_VOICES).files]
    packs.sort(key=lambda pack: (pack not in _FIRST_VOICES, pack))
    voices: dict[str, tuple[str, ...]] = {}
    for pack in packs:
        language = _LANGUAGE_OF_PREFIX[pack[0]]
        voices[language] = (*voices.get(language, ()), f"{language}/{pack}")
    return voices
