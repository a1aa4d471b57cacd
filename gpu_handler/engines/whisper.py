"""Whisper through CTranslate2: the encoder runs once, transcript and English translation decode from its output.

Whisper pads every clip to 30 s, which makes short clips cost as much as long ones. Its encoder takes fewer frames
almost as well, so a fragment is padded to `STS_WHISPER_CONTEXT_MS` only (`tests/bench/bench_sts.py --sweep` measures
accuracy and time by context).

On a GPU the fragments of many streams go through encoder and decoder as one batch; on a CPU that gains nothing.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpu_handler import models
from gpu_handler.engines.base import (
    ASR_SAMPLE_RATE_HZ,
    EngineInfo,
    Recognition,
    Samples,
    TimedText,
    Utterance,
)
from gpu_handler.engines.batches import in_groups
from gpu_handler.engines.ctranslate2_models import check_model
from gpu_handler.engines.word_times import word_times
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

_FRAMES_PER_SECOND = 100
_MAX_CONTEXT_FRAMES = 3_000
_TAIL_FRAMES = 200
"""Silence kept behind the clip: with one second of it, one of five sentences was translated over and over."""

_CONTEXT_TOKENS = 64
_TERM_TOKENS = 64
_PROMPT_LENGTHS = (128, 64, 32, 16, 8)
"""Earlier text is cut to one of these: one batch's prompts must be equally long, and few lengths make full batches."""

_TOKENS_PER_SECOND = 12
"""Generous bound of speech in text tokens; a decoder that needs more is repeating itself."""

_TOKENS_BASE = 24
_MOST_TOKENS = 448
_BATCH_ON_GPU = 16
_SHORTEST_ALIGNED_S = 0.3


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The model, and what prepares its input and reads its output."""

    ctranslate2: Any
    model: Any
    features: Any
    tokenizer: Any
    task_tokenizer: Any
    languages: frozenset[str]

    def for_task(self, task: str, language: str) -> Any:
        """faster-whisper's view of the tokenizer for one task in one language."""
        return self.task_tokenizer(self.tokenizer, multilingual=True, task=task, language=language)

    def text(self, tokens: Sequence[int]) -> str:
        """The words of decoded tokens."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True).strip()

    def view(self, array: np.ndarray[Any, Any]) -> Any:
        """An array as CTranslate2 takes it."""
        return self.ctranslate2.StorageView.from_array(array)

    def rows(self, encoded: Any, rows: Sequence[int]) -> Any:
        """Some rows of the encoder's output, in this order, a row as often as it is named."""
        if list(rows) == list(range(encoded.shape[0])):
            return encoded
        device = self.ctranslate2.Device.cpu
        on_cpu = np.array(encoded if encoded.device == "cpu" else encoded.to_device(device))
        return self.view(np.ascontiguousarray(on_cpu[list(rows)]))


@dataclass(frozen=True, slots=True)
class _Heard:
    """An utterance on its way: its language, and the tokens of what was said before it."""

    utterance: Utterance
    language: str
    probability: float | None
    before: list[int]

    @property
    def duration_s(self) -> float:
        return len(self.utterance.samples) / ASR_SAMPLE_RATE_HZ

    @property
    def translates(self) -> bool:
        return "en" in self.utterance.translate_to and self.language != "en"


class WhisperTranscriber:
    """Multilingual speech recognition with translation into English."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._model: _Loaded | None = None
        self._lock = threading.Lock()
        on_gpu = settings.whisper_device == "cuda"
        self._max_batch = settings.whisper_max_batch or (_BATCH_ON_GPU if on_gpu else 1)
        self._times_words = settings.whisper_word_times == "on" or (
            settings.whisper_word_times == "auto" and on_gpu
        )

    @property
    def info(self) -> EngineInfo:
        """Name, model, licence and how many utterances run at once."""
        name = self._settings.whisper_model
        known = models.registry().models.get(name)
        return EngineInfo("whisper", name, known.licence if known else "unknown", max_batch=self._max_batch)

    def load(self) -> None:
        """Load the model, checked against the registry where it is from there, and run it once.

        Raises:
            MissingPrerequisiteError: a library or the model is missing, or it does not run on this device.
        """
        try:
            import ctranslate2
            from faster_whisper.feature_extractor import FeatureExtractor
            from faster_whisper.tokenizer import Tokenizer as TaskTokenizer
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingPrerequisiteError(
                f"the recogniser needs a library that is not installed: {error}.",
                remedy="Install the `sts-cpu` extra.",
            ) from error
        home = self._home()
        device, compute_type = self._settings.whisper_device, self._settings.whisper_compute_type
        check_model(ctranslate2, home, device, compute_type, variables="STS_WHISPER")
        try:
            model = ctranslate2.models.Whisper(
                str(home),
                device=device,
                compute_type=compute_type,
                intra_threads=self._settings.threads,
            )
        except (RuntimeError, ValueError) as error:
            raise MissingPrerequisiteError(
                f"{home} cannot be loaded on {device} as {compute_type}: {error}.",
                remedy="Check STS_WHISPER_DEVICE and STS_WHISPER_COMPUTE_TYPE, or fetch the model again.",
            ) from error
        tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
        self._model = _Loaded(
            ctranslate2,
            model,
            FeatureExtractor(feature_size=model.n_mels),
            tokenizer,
            TaskTokenizer,
            _languages_of(tokenizer),
        )
        noise = np.random.default_rng(0).normal(0, 1e-3, ASR_SAMPLE_RATE_HZ).astype(np.float32)
        self.transcribe([Utterance(noise, "auto", frozenset({"en"}))] * self._max_batch)

    def close(self) -> None:
        """Free the model."""
        with self._lock:
            self._model = None

    def languages(self) -> frozenset[str]:
        """The languages the tokenizer has a token for."""
        return self._model.languages if self._model else frozenset()

    def translation_targets(self) -> frozenset[str]:
        """English alone: Whisper was trained to translate into no other language.

        Told that English speech is Spanish, it translates too, half of it and unreliably. So the language of an
        utterance is always that of its speech, never that of its translation.
        """
        return frozenset({"en"})

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        """Recognise utterances of at most 30 s; `context` and `terms` steer spelling and are not part of the answer."""
        with self._lock:
            model = self._model
            if model is None:
                raise RuntimeError("the recogniser is not loaded: call load() first")
            before = [_before(model, utterance) for utterance in batch]
            return in_groups(
                list(zip(batch, before, strict=True)),
                [len(tokens) for tokens in before],
                lambda group: self._transcribe(model, group),
            )

    def _transcribe(self, model: _Loaded, batch: Sequence[tuple[Utterance, list[int]]]) -> list[Recognition]:
        """One batch: prompts equally long, features padded to the longest, every task a row of the decoder."""
        encoded = model.model.encode(model.view(self._log_mel(model, batch)))
        heard = _with_languages(model, encoded, batch)
        translated = [row for row, item in enumerate(heard) if item.translates]
        rows = [*range(len(heard)), *translated]
        tasks = ["transcribe"] * len(heard) + ["translate"] * len(translated)
        prompts = [_prompt(model, task, heard[row]) for row, task in zip(rows, tasks, strict=True)]
        longest_s = max(item.duration_s for item in heard)
        results = model.model.generate(
            model.rows(encoded, rows),
            prompts,
            beam_size=self._settings.whisper_beam_size,
            max_length=min(
                _MOST_TOKENS, len(prompts[0]) + _TOKENS_BASE + math.ceil(longest_s * _TOKENS_PER_SECOND)
            ),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1],
        )
        spoken = results[: len(heard)]
        words = self._words(model, encoded, heard, [result.sequences_ids[0] for result in spoken])
        english = {
            row: model.text(result.sequences_ids[0])
            for row, result in zip(translated, results[len(heard) :], strict=True)
        }
        return [
            _recognition(model, item, spoken[row], words[row], english.get(row))
            for row, item in enumerate(heard)
        ]

    def _words(
        self, model: _Loaded, encoded: Any, heard: Sequence[_Heard], tokens: Sequence[Sequence[int]]
    ) -> list[tuple[TimedText, ...]]:
        """Word times of every utterance, none where they are not wanted; one alignment per language."""
        if not self._times_words:
            return [()] * len(heard)
        return in_groups(
            list(range(len(heard))),
            [item.language for item in heard],
            lambda rows: _aligned(model, encoded, rows, heard, tokens),
        )

    def _home(self) -> Path:
        name = self._settings.whisper_model
        if name in models.registry().models:
            return models.verify(name, self._settings.model_dir)
        home = Path(name).expanduser()
        if not (home / "tokenizer.json").is_file():
            raise MissingPrerequisiteError(
                f"STS_WHISPER_MODEL: {home} is neither a model of the registry nor a folder with one.",
                remedy="Name a fetched model, or a CTranslate2 Whisper folder with its tokenizer.json.",
            )
        return home

    def _log_mel(self, model: _Loaded, batch: Sequence[tuple[Utterance, list[int]]]) -> Any:
        """Log-mel features of clips and the silence behind them, as (clips, n_mels, frames)."""
        longest = max(len(utterance.samples) for utterance, _ in batch)
        clip = math.ceil(longest * _FRAMES_PER_SECOND / ASR_SAMPLE_RATE_HZ)
        wanted = max(self._settings.whisper_context_ms * _FRAMES_PER_SECOND // 1000, clip + _TAIL_FRAMES)
        frames = min(_MAX_CONTEXT_FRAMES, math.ceil(wanted / 100) * 100)
        # the extractor's own padding adds one more frame: cut to the context
        mels = [model.features(_padded(utterance.samples, frames))[:, :frames] for utterance, _ in batch]
        return np.ascontiguousarray(np.stack(mels), dtype=np.float32)


def _padded(samples: Samples, frames: int) -> Samples:
    count = frames * ASR_SAMPLE_RATE_HZ // _FRAMES_PER_SECOND
    padded = np.zeros(count, dtype=np.float32)
    padded[: min(len(samples), count)] = samples[:count]
    return padded


def _with_languages(
    model: _Loaded, encoded: Any, batch: Sequence[tuple[Utterance, list[int]]]
) -> list[_Heard]:
    """Each utterance with its language; those that do not know it are detected, from the same encoder output."""
    unknown = [row for row, (utterance, _) in enumerate(batch) if utterance.language == "auto"]
    detected: dict[int, tuple[str, float]] = {}
    if unknown:
        found = model.model.detect_language(model.rows(encoded, unknown))
        detected = {
            row: (best[0][0].strip("<|>"), best[0][1]) for row, best in zip(unknown, found, strict=True)
        }
    return [
        _Heard(utterance, *detected.get(row, (utterance.language, None)), tokens)
        for row, (utterance, tokens) in enumerate(batch)
    ]


def _before(model: _Loaded, utterance: Utterance) -> list[int]:
    """Tokens of what stands before the utterance: terms, then the newest context, cut to a length of few."""
    special = model.for_task("transcribe", "en")
    tokens: list[int] = []
    terms = ", ".join(" ".join(term.split()) for term in utterance.terms if term.strip())
    if terms:
        tokens += special.encode(f" {terms}.")[:_TERM_TOKENS]
    if utterance.context.strip():
        tokens += special.encode(" " + utterance.context.strip())[-_CONTEXT_TOKENS:]
    length = next((length for length in _PROMPT_LENGTHS if length <= len(tokens)), 0)
    # so short a text is kept whole: its batches are small, and half a name is no help
    return tokens[-length:] if length else tokens


def _prompt(model: _Loaded, task: str, heard: _Heard) -> list[int]:
    special = model.for_task(task, heard.language)
    before = [special.sot_prev, *heard.before] if heard.before else []
    return [*before, *special.sot_sequence, special.no_timestamps]


def _aligned(
    model: _Loaded,
    encoded: Any,
    rows: Sequence[int],
    heard: Sequence[_Heard],
    tokens: Sequence[Sequence[int]],
) -> list[tuple[TimedText, ...]]:
    special = model.for_task("transcribe", heard[rows[0]].language)
    texts = {row: [token for token in tokens[row] if token < special.eot] for row in rows}
    # the alignment is smoothed over seven steps of the encoder: in less there is none
    worded = [row for row in rows if texts[row] and heard[row].duration_s >= _SHORTEST_ALIGNED_S]
    words: dict[int, tuple[TimedText, ...]] = {}
    if worded:
        frames = [round(heard[row].duration_s * _FRAMES_PER_SECOND) for row in worded]
        found = model.model.align(
            model.rows(encoded, worded), special.sot_sequence, [texts[row] for row in worded], frames
        )
        words = {
            row: word_times(special, texts[row], alignment, round(heard[row].duration_s * 1000))
            for row, alignment in zip(worded, found, strict=True)
        }
    return [words.get(row, ()) for row in rows]


def _recognition(
    model: _Loaded, heard: _Heard, result: Any, words: tuple[TimedText, ...], english: str | None
) -> Recognition:
    text = model.text(result.sequences_ids[0])
    end_ms = round(heard.duration_s * 1000)
    return Recognition(
        text=text,
        language=heard.language,
        segments=(TimedText(0, end_ms, text, words),) if text else (),
        translations={} if english is None else {"en": english},
        no_speech_probability=result.no_speech_prob,
        average_log_probability=result.scores[0],
        compression_ratio=_compression_ratio(text),
        language_probability=heard.probability,
    )


def _compression_ratio(text: str) -> float:
    """Size of the text over its deflated size: a text that repeats itself compresses well."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _languages_of(tokenizer: Any) -> frozenset[str]:
    """Language tokens are `<|xx|>` with two or three letters."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    bare = (token[2:-2] for token in vocabulary if token.startswith("<|") and token.endswith("|>"))
    return frozenset(code for code in bare if len(code) in (2, 3) and code.isalpha() and code.islower())
