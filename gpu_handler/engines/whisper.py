"""Whisper through CTranslate2: the encoder runs once, transcript and English translation decode from its output.

Whisper pads every clip to 30 s, which makes short clips cost as much as long ones. Its encoder takes fewer frames
almost as well, so a fragment is padded to `STS_WHISPER_CONTEXT_MS` only (`tests/bench/bench_sts.py --sweep` measures
accuracy and time by context).
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import Tokenizer as TaskTokenizer
from tokenizers import Tokenizer

from gpu_handler import models
from gpu_handler.engines.base import (
    ASR_SAMPLE_RATE_HZ,
    EngineInfo,
    Recognition,
    Samples,
    TimedText,
    Utterance,
)
from gpu_handler.settings import StsSettings

_FRAMES_PER_SECOND = 100
_MAX_CONTEXT_FRAMES = 3_000
_TAIL_FRAMES = 200
"""Silence kept behind the clip: with one second of it, one of five sentences was translated over and over."""

_PROMPT_TOKENS = 64
_TOKENS_PER_SECOND = 12
"""Generous bound of speech in text tokens; a decoder that needs more is repeating itself."""

_TOKENS_BASE = 24


class WhisperTranscriber:
    """Multilingual speech recognition with translation into English."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._model: ctranslate2.models.Whisper | None = None
        self._features: FeatureExtractor | None = None
        self._tokenizer: Tokenizer | None = None
        self._languages: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        name = self._settings.whisper_model
        known = models.registry().models.get(name)
        return EngineInfo("whisper", name, known.licence if known else "unknown")

    def load(self) -> None:
        """Load the model, checked against the registry where it is from there, and run it once."""
        home = self._home()
        model = ctranslate2.models.Whisper(
            str(home),
            device=self._settings.whisper_device,
            compute_type=self._settings.whisper_compute_type,
            intra_threads=self._settings.threads,
        )
        self._tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
        self._model = model
        self._features = FeatureExtractor(feature_size=model.n_mels)
        self._languages = _languages_of(self._tokenizer)
        noise = np.random.default_rng(0).normal(0, 1e-3, ASR_SAMPLE_RATE_HZ).astype(np.float32)
        self.transcribe([Utterance(noise, "auto", frozenset({"en"}))])

    def close(self) -> None:
        """Free the model."""
        with self._lock:
            self._model = None

    def languages(self) -> frozenset[str]:
        """The languages the tokenizer has a token for."""
        return self._languages

    def translation_targets(self) -> frozenset[str]:
        """English alone: Whisper was trained to translate into no other language."""
        return frozenset({"en"})

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        """Recognise utterances of at most 30 s; `context` is earlier text that steers spelling."""
        with self._lock:
            return [self._transcribe(utterance) for utterance in batch]

    def _transcribe(self, utterance: Utterance) -> Recognition:
        model, tokenizer = self._loaded()
        samples, language = utterance.samples, utterance.language
        encoded = model.encode(ctranslate2.StorageView.from_array(self._log_mel(samples)))
        probability = None
        if language == "auto":
            token, probability = model.detect_language(encoded)[0][0]
            language = token.strip("<|>")
        tasks = ["transcribe"]
        if "en" in utterance.translate_to and language != "en":
            tasks.append("translate")
            encoded = _repeat(encoded, 2)
        duration_s = len(samples) / ASR_SAMPLE_RATE_HZ
        prompts = [self._prompt(tokenizer, task, language, utterance.context) for task in tasks]
        longest = max(len(prompt) for prompt in prompts)
        results = model.generate(
            encoded,
            prompts,
            beam_size=self._settings.whisper_beam_size,
            max_length=min(448, longest + _TOKENS_BASE + math.ceil(duration_s * _TOKENS_PER_SECOND)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1],
        )
        texts = [_text(tokenizer, result.sequences_ids[0]) for result in results]
        heard = results[0]
        return Recognition(
            text=texts[0],
            language=language,
            segments=(TimedText(0, round(duration_s * 1000), texts[0]),) if texts[0] else (),
            translations={"en": texts[1]} if len(texts) > 1 else {},
            no_speech_probability=heard.no_speech_prob,
            average_log_probability=heard.scores[0],
            compression_ratio=_compression_ratio(texts[0]),
            language_probability=probability,
        )

    def _home(self) -> Path:
        name = self._settings.whisper_model
        if name in models.registry().models:
            return models.verify(name, self._settings.model_dir)
        return Path(name).expanduser()

    def _loaded(self) -> tuple[ctranslate2.models.Whisper, Tokenizer]:
        if self._model is None or self._tokenizer is None:
            raise RuntimeError("the recogniser is not loaded: call load() first")
        return self._model, self._tokenizer

    def _log_mel(self, samples: Samples) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Log-mel features of the clip and the silence behind it, as (1, n_mels, frames)."""
        if self._features is None:
            raise RuntimeError("the recogniser is not loaded: call load() first")
        clip = math.ceil(len(samples) * _FRAMES_PER_SECOND / ASR_SAMPLE_RATE_HZ)
        wanted = max(self._settings.whisper_context_ms * _FRAMES_PER_SECOND // 1000, clip + _TAIL_FRAMES)
        frames = min(_MAX_CONTEXT_FRAMES, math.ceil(wanted / 100) * 100)
        count = frames * ASR_SAMPLE_RATE_HZ // _FRAMES_PER_SECOND
        padded = np.zeros(count, dtype=np.float32)
        padded[: min(len(samples), count)] = samples[:count]
        # the extractor's own padding adds one more frame: cut to the context
        mel = self._features(padded)[:, :frames]
        return np.ascontiguousarray(mel[None], dtype=np.float32)

    @staticmethod
    def _prompt(tokenizer: Tokenizer, task: str, language: str, context: str) -> list[int]:
        special = TaskTokenizer(tokenizer, multilingual=True, task=task, language=language)
        prompt: list[int] = []
        if context.strip():
            prompt += [special.sot_prev, *special.encode(" " + context.strip())[-_PROMPT_TOKENS:]]
        return [*prompt, *special.sot_sequence, special.no_timestamps]


def _repeat(encoded: ctranslate2.StorageView, times: int) -> ctranslate2.StorageView:
    """The encoder's output once per decoding task, so that all tasks decode as one batch."""
    on_cpu = np.array(encoded.to_device(ctranslate2.Device.cpu) if encoded.device != "cpu" else encoded)
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.repeat(on_cpu, times, axis=0)))


def _text(tokenizer: Tokenizer, tokens: list[int]) -> str:
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()


def _compression_ratio(text: str) -> float:
    """Size of the text over its deflated size: a text that repeats itself compresses well."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _languages_of(tokenizer: Tokenizer) -> frozenset[str]:
    """Language tokens are `<|xx|>` with two or three letters."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    bare = (token[2:-2] for token in vocabulary if token.startswith("<|") and token.endswith("|>"))
    return frozenset(code for code in bare if len(code) in (2, 3) and code.isalpha() and code.islower())
